"""What similarities of an encoder mean: thresholds for false accept rates, and probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from faceclr_cli.core.artifacts import read_json, stamp, write_json
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.metrics.probability import Logistic
from faceclr_cli.core.text import display_path

DEFAULT_FAR = 1e-3
"""The false accept rate of a verdict where nobody asks for another."""
LAX_FAR = 0.05
"""The false accept rate above which a verdict of "same person" says little."""

_KIND = "calibration"


class EncoderIdentity(Protocol):
    """The properties of an encoder that tie a calibration to it."""

    @property
    def name(self) -> str:
        """See `Encoder.name`."""
        ...

    @property
    def digest(self) -> str:
        """See `Encoder.digest`."""
        ...

    @property
    def fingerprint(self) -> Fingerprint:
        """See `Encoder.fingerprint`."""
        ...


@dataclass(frozen=True, kw_only=True)
class FarPoint:
    """A threshold for a false accept rate.

    Attributes:
        far: Share of impostor pairs accepted.
        threshold: Least cosine similarity at which two faces count as the same person.
        tar: Share of genuine pairs accepted.
        low: Lower end of the threshold's 95% interval by bootstrap over people, or None where nobody measured it.
        high: Its upper end, likewise.
    """

    far: float
    threshold: float
    tar: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        ends = [end for end in (self.low, self.high) if end is not None]
        numbers = (self.far, self.threshold, self.tar, *ends)
        if not all(map(math.isfinite, numbers)) or not (0 <= self.far <= 1 and 0 <= self.tar <= 1):
            raise ValueError("a false accept rate, threshold or true accept rate is none")

    @property
    def is_lax(self) -> bool:
        """Whether it accepts so many impostor pairs that a verdict by it says little."""
        return self.far > LAX_FAR

    @property
    def meaning(self) -> str:
        """What it accepts, in words."""
        impostors = f"1 in {1 / self.far:,.0f} pairs" if self.far > 0 else "no pair"
        return f"accepts {impostors} of different people, {self.tar:.1%} of pairs of the same"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured of an encoder's similarities.

    Attributes:
        points: One for each false accept rate, from the laxest to the strictest; at least one.
        probability: From similarity to the chance that it is one person, if that is as likely as not beforehand; or
            None where nobody measured it.
        source: The pairs that it was measured on, for people.
    """

    points: tuple[FarPoint, ...]
    probability: Logistic | None = None
    source: str

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a calibration without a threshold")
        curve = self.probability
        if curve is not None and not (math.isfinite(curve.slope) and math.isfinite(curve.offset)):
            raise ValueError("a probability of no similarity")

    @property
    def default_point(self) -> FarPoint:
        """The point for verdicts where nobody asks for a rate: the one nearest to `DEFAULT_FAR`."""
        return min(self.points, key=lambda point: abs(math.log10(max(point.far, 1e-12) / DEFAULT_FAR)))

    def default_point_at_most(self, highest_far: float) -> FarPoint:
        """The point for verdicts where a face is compared with many: the usual one, or one of a lower rate.

        Args:
            highest_far: The highest rate wanted. Where none as low was measured, the lowest one that was is taken.
        """
        usual = self.default_point
        falling = sorted((point for point in self.points if 0 < point.far <= usual.far), key=lambda point: -point.far)
        # 0.001 / 10 may be less than 0.0001 by rounding.
        allowed = (point for point in falling if point.far <= highest_far * (1 + 1e-9))
        return next(allowed, falling[-1] if falling else usual)

    def at(self, far: float) -> FarPoint:
        """The point for a false accept rate.

        Raises:
            ValueError: It has not been measured.
        """
        for point in self.points:
            if math.isclose(point.far, far, rel_tol=1e-6):
                return point
        known = ", ".join(f"{point.far:g}" for point in self.points)
        raise ValueError(f"a FAR of {far:g} has not been measured for this encoder, only {known}")

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self) | {"points": [asdict(point) for point in self.points]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Reads what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError: A field is missing, unknown or not a number.
        """
        probability = content["probability"]
        return cls(
            points=tuple(FarPoint(**_numbers(point)) for point in content["points"]),
            probability=None if probability is None else Logistic(**_numbers(probability)),
            source=str(content["source"]),
        )


def _numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else float(value) for name, value in fields.items()}


def write_calibration(
    path: Path, calibration: Calibration, encoder: EncoderIdentity, config: Mapping[str, Any]
) -> None:
    """Writes a calibration as a file of its own, atomically.

    Args:
        path: Where to.
        calibration: What was measured.
        encoder: Of whom.
        config: The resolved config of the run that measured it.
    """
    write_json(
        path,
        stamp(_KIND, config)
        | {
            "encoder": encoder.name,
            "encoder_digest": encoder.digest,
            "fingerprint": encoder.fingerprint.to_json(),
            "calibration": calibration.to_json(),
        },
    )


def read_calibration(path: Path, encoder: EncoderIdentity) -> Calibration:
    """Reads what `write_calibration` wrote.

    Raises:
        DataError: It is missing, damaged or no calibration.
        FingerprintError: It was measured on faces that were cut out in another way.
        ModelError: It was measured of another encoder.
    """
    try:
        content = read_json(path)
    except RecursionError:
        raise DataError(f"{display_path(path)}: damaged: nested too deeply") from None
    if content.get("kind") != _KIND:
        raise DataError(f"{display_path(path)}: no calibration; faceclr calibrate -o writes one")
    try:
        digest, name = str(content["encoder_digest"]), str(content["encoder"])
        fingerprint = Fingerprint.from_json(content["fingerprint"], display_path(path))
        calibration = Calibration.from_json(content["calibration"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{display_path(path)}: damaged or of another version of faceclr ({error})") from error
    if digest != encoder.digest:
        raise ModelError(
            f"{display_path(path)}: was measured of the encoder {display_path(name)}, not of {encoder.name}"
        )
    fingerprint.require_same_crops(encoder.fingerprint, display_path(path), f"the encoder {encoder.name}")
    return calibration
