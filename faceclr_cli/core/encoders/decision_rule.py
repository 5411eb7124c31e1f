"""Where the line between one person and two is drawn, and what that means."""

from __future__ import annotations

from dataclasses import dataclass

from faceclr_cli.core.configs.judging import JudgingConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.calibration_record import read_calibration
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.metrics.probability import Logistic

DEFAULT_FALSE_ALARM_RATE = 1e-3
"""The share of strangers that may be taken for somebody of a gallery where the user chooses no rate."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A threshold and what is known of it.

    Attributes:
        threshold: Least similarity of the same person.
        far: Share of impostor pairs that it was measured to accept, or None where the user chose it.
        meaning: What it accepts, in words.
        logistic: From similarity to probability, or None where nobody measured it.
        source: The pairs that it was measured on, in words; None where the user chose it.
    """

    threshold: float
    far: float | None
    meaning: str
    logistic: Logistic | None
    source: str | None = None

    def probability(self, similarity: float) -> float | None:
        """The chance that it is one person, if that is as likely as not beforehand; None where nobody measured it."""
        return None if self.logistic is None else float(self.logistic(similarity))


def choose_rule(encoder: Encoder, config: JudgingConfig, highest_far: float = 1.0) -> Rule:
    """The rule that the options ask for.

    Args:
        encoder: Whose similarities are judged.
        config: The options.
        highest_far: Of a face that is compared with many. Where the user chose neither a threshold nor a rate, the rule
            has the highest rate that was measured, is at most the usual one and at most this; or else the lowest.

    Raises:
        ConfigError: The encoder has no threshold and none was given, none for this rate, or only one that accepts so
            many impostor pairs that no verdict can rest on it.
        DataError, ModelError, FingerprintError: As `read_calibration`.
    """
    threshold, far, calibration = config.threshold, config.far, config.calibration
    measured = encoder.calibration if calibration is None else read_calibration(calibration, encoder)
    logistic = None if measured is None else measured.probability
    if threshold is not None:
        return Rule(threshold=threshold, far=None, meaning="chosen by --threshold", logistic=logistic)
    if measured is None:
        raise ConfigError(
            f"--model {config.model}: its threshold has not been measured; faceclr calibrate measures it, or give one "
            "with --threshold"
        )
    try:
        point = measured.default_point_at_most(highest_far) if far is None else measured.at(far)
    except ValueError as error:
        raise ConfigError(f"--far {far:g}: {error}; faceclr calibrate --far {far:g} measures it") from error
    if far is None and point.is_lax:
        raise ConfigError(
            f"--model {config.model}: too weak for a verdict: its threshold {point.threshold:.3f} {point.meaning} (FAR "
            f"{point.far:.1%}); faceclr calibrate measures a stricter one, or give --threshold"
        )
    return Rule(
        threshold=point.threshold, far=point.far, meaning=point.meaning, source=measured.source, logistic=logistic
    )
