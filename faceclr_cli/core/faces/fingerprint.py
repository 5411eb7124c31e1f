"""What was done to a photograph before an encoder saw it, and the refusal to compare unlike with unlike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from faceclr_cli.core.errors import DataError, FingerprintError

UNKNOWN = "unknown"
"""What a fingerprint says of a step that was done elsewhere, before faceclr saw the crops."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The preprocessing of a crop.

    Crops carry what concerns pictures; `channels` and `normalisation` say how the values are to be
    read. An encoder carries the same with the channel order and normalization that its network sees.

    Attributes:
        detector: Name of the face detector, or `unknown` for crops that were made elsewhere.
        detector_digest: SHA-256 of its weights, shortened to 16 digits, or `unknown`.
        template: Name of the alignment: the landmark template, or the way and its margin.
        size: Side of the square crop in pixels.
        interpolation: How the warp samples, or `unknown`.
        padding: What fills a crop beyond its photograph, or `unknown`.
        channels: `rgb` or `bgr`.
        normalization: What became of the values 0-255.

    Examples:
        >>> mine = Fingerprint(
        ...     detector="haar",
        ...     detector_digest="0" * 16,
        ...     template="eyes",
        ...     size=112,
        ...     interpolation="linear",
        ...     padding="black",
        ... )
        >>> mine.require_same(mine, "a.h5", "b.h5")
        >>> from dataclasses import replace
        >>> mine.require_same(replace(mine, size=160), "a.h5", "b.h5")
        Traceback (most recent call last):
            ...
        faceclr_cli.core.errors.FingerprintError: a.h5 and b.h5 were preprocessed differently: size is 112 and 160; ...
    """

    detector: str
    detector_digest: str
    template: str
    size: int
    interpolation: str
    padding: str
    channels: str = "rgb"
    normalization: str = "none"

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object; artifacts keep the key `normalisation` of earlier releases."""
        return {_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], origin: str) -> Fingerprint:
        """Reads what `to_json` gave; `origin` names the artifact in errors.

        Raises:
            DataError: A field is missing, unknown or of the wrong type.
        """
        names = {_KEYS.get(f.name, f.name): f.name for f in fields(cls)}
        if set(content) != set(names) or not isinstance(content.get("size"), int):
            raise DataError(f"{origin}: its preprocessing fingerprint is damaged or of another version")
        return cls(**{names[key]: value for key, value in content.items()})

    def require_same(self, other: Fingerprint, this_origin: str, other_origin: str) -> None:
        """Refuses two artifacts that differ in any field.

        Raises:
            FingerprintError: They differ; the message names the first field that does.
        """
        self._require([f.name for f in fields(self)], other, this_origin, other_origin)

    def require_same_crops(self, other: Fingerprint, this_origin: str, other_origin: str) -> None:
        """Refuses crops for an encoder that was made for others.

        Channel order and normalization don't count, since encoders apply them to crops themselves. Neither
        does what is unknown of crops that were made elsewhere, except for the template: who prepared them
        has named it.

        Raises:
            FingerprintError: They differ; the message names the first field that does.
        """
        known = [name for name in _MAY_BE_UNKNOWN if UNKNOWN not in (getattr(self, name), getattr(other, name))]
        self._require([*known, "template", "size"], other, this_origin, other_origin)

    def _require(self, names: list[str], other: Fingerprint, this_origin: str, other_origin: str) -> None:
        for name in names:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise FingerprintError(
                    f"{this_origin} and {other_origin} were preprocessed differently: "
                    f"{name} is {mine!r} and {theirs!r}; prepare both the same way"
                )


_KEYS = {"normalization": "normalisation"}
_MAY_BE_UNKNOWN = ("detector", "detector_digest", "interpolation", "padding")
