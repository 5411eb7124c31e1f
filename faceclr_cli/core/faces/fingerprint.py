"""The fingerprint of a crop's preprocessing, and the check that refuses to mix different ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from faceclr_cli.core.errors import DataError, FingerprintError

UNKNOWN = "unknown"
"""Value of a field for crops that were made elsewhere."""

LANDMARKS = "landmarks"
"""Value of `detector` for crops that were aligned by landmarks from a file. The detector that found them is not known,
and the digest is `unknown`."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The preprocessing of a crop.

    The fingerprint of crops describes the pictures; its `channels` and `normalization` say how the values are stored.
    The fingerprint of an encoder has the channel order and normalization of the network's input instead.

    Attributes:
        detector: Name of the face detector, `landmarks` for crops aligned by landmarks from a file, or `unknown` for
            crops made elsewhere.
        detector_digest: First 16 digits of the SHA-256 of the detector's weights, or `unknown`.
        template: Name of the alignment: the landmark template, or the method and its margin.
        size: Side of the square crop in pixels.
        interpolation: Interpolation of the warp, or `unknown`.
        padding: Fill for the area beyond the photo, or `unknown`.
        channels: `rgb` or `bgr`.
        normalization: Normalization of the values 0-255.

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

    @property
    def has_known_detector(self) -> bool:
        """True if the detector is known, so that this version can find the same faces in a photo."""
        return self.detector not in (UNKNOWN, LANDMARKS)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object. Artifacts keep the key `normalisation` of earlier releases."""
        return {_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], origin: str) -> Fingerprint:
        """Reads the output of `to_json`; `origin` names the artifact in errors.

        Raises:
            DataError: A field is missing, unknown or of the wrong type.
        """
        names = {_KEYS.get(f.name, f.name): f.name for f in fields(cls)}
        if set(content) != set(names) or not isinstance(content.get("size"), int):
            raise DataError(f"{origin}: the preprocessing fingerprint is damaged or of another version")
        return cls(**{names[key]: value for key, value in content.items()})

    def require_same(self, other: Fingerprint, this_origin: str, other_origin: str) -> None:
        """Checks that two artifacts have the same fingerprint.

        Raises:
            FingerprintError: They differ; the message names the first field that differs.
        """
        self._require([f.name for f in fields(self)], other, this_origin, other_origin)

    def require_same_crops(self, other: Fingerprint, this_origin: str, other_origin: str) -> None:
        """Checks that an encoder and crops, or two sets of crops, have the same preprocessing.

        Channel order and normalization are ignored, because encoders apply them to crops themselves. Unknown fields of
        crops made elsewhere are ignored too, except for the template, which the user declares in `prepare`, and so is
        the detector of crops that were aligned by landmarks from a file.

        Raises:
            FingerprintError: They differ; the message names the first field that differs.
        """
        known = [name for name in _MAY_BE_UNKNOWN if UNKNOWN not in (getattr(self, name), getattr(other, name))]
        if "detector" in known and not (self.has_known_detector and other.has_known_detector):
            known.remove("detector")
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
