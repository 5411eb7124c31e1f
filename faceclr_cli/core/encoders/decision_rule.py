"""The decision rule of verdicts: a threshold, its false accept rate, and the match probability."""

from __future__ import annotations

from dataclasses import dataclass

from faceclr_cli.core.configs.threshold_options import ThresholdConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.calibration_record import Calibration, read_calibration
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.metrics.probability import Logistic

DEFAULT_FALSE_ALARM_RATE = 1e-3
"""Default share of faces of unknown people that may be identified as someone in a gallery."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A threshold and its measured properties.

    Attributes:
        threshold: Minimum similarity of two faces of the same person.
        far: Share of impostor pairs that it accepts, or None if the user chose the threshold.
        meaning: Description of the threshold for users.
        logistic: Match probability by similarity, or None if not measured.
        source: Description of the pairs that it was measured on, or None if the user chose the threshold.
        calibration: All thresholds that were measured for the encoder, or None if the user chose the threshold.
    """

    threshold: float
    far: float | None
    meaning: str
    logistic: Logistic | None
    source: str | None = None
    calibration: Calibration | None = None

    def probability(self, similarity: float) -> float | None:
        """Returns the probability of the same person for equal prior odds, or None if it was not measured."""
        return None if self.logistic is None else float(self.logistic(similarity))


def choose_rule(encoder: Encoder, config: ThresholdConfig, highest_far: float = 1.0) -> Rule:
    """Chooses the decision rule for an encoder and the options of a command.

    Args:
        encoder: The encoder that computes the similarities.
        config: The options.
        highest_far: Highest acceptable rate if a face is compared with many others. Applies if the user chose neither a
            threshold nor a rate; see `Calibration.default_point_at_most`.

    Raises:
        ConfigError: The encoder has no calibrated threshold and none was given, has none for the requested rate, or has
            only thresholds that accept too many impostor pairs.
        DataError, ModelError, FingerprintError: As for `read_calibration`.
    """
    threshold, far, calibration = config.threshold, config.far, config.calibration
    measured = encoder.calibration if calibration is None else read_calibration(calibration, encoder)
    logistic = None if measured is None else measured.probability
    if threshold is not None:
        return Rule(threshold=threshold, far=None, meaning="chosen by --threshold", logistic=logistic)
    if measured is None:
        raise ConfigError(
            f"--model {config.model}: this encoder has no calibrated threshold; run faceclr calibrate, or give "
            "--threshold"
        )
    try:
        point = measured.default_point_at_most(highest_far) if far is None else measured.at(far)
    except ValueError as error:
        raise ConfigError(f"--far {far:g}: {error}; run faceclr calibrate --far {far:g}") from error
    if far is None and point.is_lax:
        raise ConfigError(
            f"--model {config.model}: too weak for verdicts: its threshold {point.threshold:.3f} {point.meaning} (FAR "
            f"{point.far:.1%}); run faceclr calibrate to measure a stricter one, or give --threshold"
        )
    return Rule(
        threshold=point.threshold,
        far=point.far,
        meaning=point.meaning,
        source=measured.source,
        logistic=logistic,
        calibration=measured,
    )
