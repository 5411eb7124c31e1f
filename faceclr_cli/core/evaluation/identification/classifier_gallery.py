"""A classifier as a gallery: the linear layer predicts the person, and the centroids reject strangers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.decision_rule import DEFAULT_FALSE_ALARM_RATE, Rule
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.evaluation.identification.people_classifier import PeopleClassifier, read_classifier
from faceclr_cli.core.metrics.open_set import FalseAlarms, bounded_false_alarms
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifierGallery:
    """A gallery backed by a classifier.

    Attributes:
        classifier: Names the most probable person.
        rule: The minimum similarity to a person's centroid.
    """

    classifier: PeopleClassifier
    rule: Rule

    @property
    def names(self) -> Sequence[str]:
        """Names of the people."""
        return self.classifier.people

    @property
    def content_hashes(self) -> None:
        """None: a classifier does not store pictures."""
        return

    @property
    def false_alarms(self) -> FalseAlarms | None:
        """An upper bound: the FAR times the number of centroids that a stranger is compared with."""
        return None if self.rule.far is None else bounded_false_alarms(len(self.names), self.rule.far)

    @property
    def flip(self) -> bool:
        """True if it was trained on means of faces and their mirror images."""
        return self.classifier.flip

    def find(self, embeddings: NDArray[np.float32], count: int) -> list[tuple[Match, ...]]:
        """Finds the most probable people for each face.

        Args:
            embeddings: L2-normalized. Shape: (faces, dim).
            count: Maximum number of people per face.
        """
        chances = self.classifier.probabilities(embeddings)
        similarities = np.clip(embeddings @ self.classifier.centroids.T, -1, 1)
        return [
            tuple(
                Match(
                    name=self.names[person],
                    similarity=float(similarities[face, person]),
                    probability=float(chances[face, person]),
                    picture=None,
                )
                for person in np.argsort(-chances[face], kind="stable")[:count]
            )
            for face in range(len(embeddings))
        ]


def load_classifier_gallery(path: Path, encoder: Encoder, config: IdentifyConfig) -> ClassifierGallery:
    """Reads a classifier and checks that it was trained on embeddings of the given encoder.

    Raises:
        DataError: The classifier cannot be read.
        ModelError: The classifier was trained on embeddings of another encoder.
        FingerprintError: The training faces were prepared differently from what the encoder needs.
        ConfigError: The classifier has no threshold for this rate, or a separate calibration was given.
    """
    classifier = read_classifier(path)
    if classifier.encoder_digest != encoder.digest:
        text = f"was trained on embeddings of {display_path(classifier.encoder)}, not of --model {config.model}"
        raise ModelError(f"{display_path(path)}: {text}")
    classifier.fingerprint.require_same_crops(encoder.fingerprint, display_path(path), f"the encoder {config.model}")
    if classifier.dim != encoder.dim:
        raise DataError(
            f"{display_path(path)}: damaged: embeddings have {encoder.dim} dimensions, not {classifier.dim}"
        )
    return ClassifierGallery(classifier=classifier, rule=_rule(classifier, config, display_path(path)))


def _rule(classifier: PeopleClassifier, config: IdentifyConfig, origin: str) -> Rule:
    calibration, highest_far = classifier.calibration, DEFAULT_FALSE_ALARM_RATE / len(classifier.people)
    if config.calibration is not None:
        raise ConfigError(f"--calibration: {origin} has its own calibration; use --threshold to override it")
    if config.threshold is not None:
        return Rule(threshold=config.threshold, far=None, meaning="chosen by --threshold", logistic=None)
    try:
        point = calibration.default_point_at_most(highest_far) if config.far is None else calibration.at(config.far)
    except ValueError:
        known = ", ".join(f"{point.far:g}" for point in calibration.points)
        raise ConfigError(f"--far {config.far:g}: not measured for {origin}; available: {known}") from None
    return Rule(threshold=point.threshold, far=point.far, meaning=calibration.source, logistic=None)
