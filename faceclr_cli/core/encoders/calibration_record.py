"""The calibration of an encoder: thresholds for false accept rates, and the match probability by similarity."""

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
"""Default false accept rate of verdicts."""
LAX_FAR = 0.05
"""False accept rate above which a verdict of "same person" is not meaningful."""

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
        threshold: Minimum cosine similarity at which two faces count as the same person.
        tar: Share of genuine pairs accepted.
        low: Lower end of the threshold's 95% confidence interval (bootstrap over people), or None if not measured.
        high: Upper end of the interval, or None if not measured.
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
            raise ValueError("a threshold is not finite, or a rate is not between 0 and 1")

    @property
    def is_lax(self) -> bool:
        """True if the rate is above `LAX_FAR`, so that verdicts with this threshold are not meaningful."""
        return self.far > LAX_FAR

    @property
    def meaning(self) -> str:
        """The rates in words, for messages."""
        impostors = f"1 in {1 / self.far:,.0f} pairs" if self.far > 0 else "no pair"
        return f"accepts {impostors} of different people, {self.tar:.1%} of pairs of the same"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The calibration of an encoder.

    Attributes:
        points: Thresholds, one for each false accept rate, from the laxest to the strictest; at least one.
        probability: Probability that two faces show the same person by their similarity, for equal prior odds; None if
            not measured.
        source: Description of the pairs that the calibration was measured on.
    """

    points: tuple[FarPoint, ...]
    probability: Logistic | None = None
    source: str

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("the calibration has no threshold")
        curve = self.probability
        if curve is not None and not (math.isfinite(curve.slope) and math.isfinite(curve.offset)):
            raise ValueError("the slope or offset of the probability is not finite")

    @property
    def default_point(self) -> FarPoint:
        """The point for verdicts without a requested rate: the one nearest to `DEFAULT_FAR`."""
        return min(self.points, key=lambda point: abs(math.log10(max(point.far, 1e-12) / DEFAULT_FAR)))

    def default_point_at_most(self, highest_far: float) -> FarPoint:
        """Returns the default point, or a stricter one for verdicts that compare a face with many others.

        Args:
            highest_far: Highest acceptable rate. If no rate this low was measured, the lowest measured rate is used.
        """
        default = self.default_point
        falling = sorted((point for point in self.points if 0 < point.far <= default.far), key=lambda point: -point.far)
        # 0.001 / 10 can be less than 0.0001 by rounding.
        allowed = (point for point in falling if point.far <= highest_far * (1 + 1e-9))
        return next(allowed, falling[-1] if falling else default)

    def threshold_beyond(self, far: float) -> float | None:
        """Estimates the threshold of a rate below those that were measured.

        The threshold is taken to rise with the logarithm of the rate as it does between the two lowest rates.

        Args:
            far: The rate.

        Returns:
            The threshold, at least the highest measured one; None with fewer than two rates above 0.
        """
        rising = sorted((point for point in self.points if point.far > 0), key=lambda point: -point.far)[-2:]
        if len(rising) < 2 or rising[0].far == rising[1].far:
            return None
        before, last = rising
        slope = (last.threshold - before.threshold) / math.log(before.far / last.far)
        return last.threshold + max(0.0, slope * math.log(last.far / far))

    def at(self, far: float) -> FarPoint:
        """Returns the point for a false accept rate.

        Raises:
            ValueError: No threshold was measured for this rate.
        """
        for point in self.points:
            if math.isclose(point.far, far, rel_tol=1e-6):
                return point
        known = ", ".join(f"{point.far:g}" for point in self.points)
        raise ValueError(f"this encoder has no threshold for a FAR of {far:g}, only for {known}")

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self) | {"points": [asdict(point) for point in self.points]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Reads the result of `to_json`.

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
    """Writes a calibration file atomically.

    Args:
        path: The file.
        calibration: The calibration.
        encoder: The calibrated encoder.
        config: The resolved config of the calibration run.
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
    """Reads a calibration file.

    Raises:
        DataError: The file is missing, damaged, or not a calibration.
        FingerprintError: It was measured on crops with a different fingerprint.
        ModelError: It belongs to another encoder.
    """
    try:
        content = read_json(path)
    except RecursionError:
        raise DataError(f"{display_path(path)}: damaged: nested too deeply") from None
    if content.get("kind") != _KIND:
        raise DataError(f"{display_path(path)}: not a calibration file; faceclr calibrate -o writes one")
    try:
        digest, name = str(content["encoder_digest"]), str(content["encoder"])
        fingerprint = Fingerprint.from_json(content["fingerprint"], display_path(path))
        calibration = Calibration.from_json(content["calibration"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{display_path(path)}: damaged or of another version of faceclr ({error})") from error
    if digest != encoder.digest:
        raise ModelError(
            f"{display_path(path)}: is the calibration of the encoder {display_path(name)}, not of {encoder.name}; "
            "run faceclr calibrate for this encoder"
        )
    fingerprint.require_same_crops(encoder.fingerprint, display_path(path), f"the encoder {encoder.name}")
    return calibration
