"""A classifier as a gallery: the layer says who it would be, the centroids whether it is anybody known."""

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
    """A classifier, ready to be asked.

    Attributes:
        classifier: Who it is, if it is one of its people.
        rule: From which similarity to a centroid on it is.
    """

    classifier: PeopleClassifier
    rule: Rule

    @property
    def names(self) -> Sequence[str]:
        """Of the people."""
        return self.classifier.people

    @property
    def content_hashes(self) -> None:
        """Unknown: a classifier keeps no pictures."""
        return

    @property
    def false_alarms(self) -> FalseAlarms | None:
        """At most the FAR for each of the people, whose centroids a stranger is compared with."""
        return None if self.rule.far is None else bounded_false_alarms(len(self.names), self.rule.far)

    @property
    def flip(self) -> bool:
        """Whether it learned from means of faces and their mirror images."""
        return self.classifier.flip

    def find(self, embeddings: NDArray[np.float32], count: int) -> list[tuple[Match, ...]]:
        """The likeliest people of each face. Shape: (faces, dim)."""
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
    """Reads a classifier that can judge the embeddings that an encoder makes now.

    Raises:
        DataError: It cannot be read.
        ModelError: It learned from another encoder's embeddings.
        FingerprintError: It learned from faces that were prepared in another way than the encoder needs.
        ConfigError: Nobody measured its threshold for this rate, or another calibration was given.
    """
    classifier = read_classifier(path)
    if classifier.encoder_digest != encoder.digest:
        text = f"learned from embeddings of {display_path(classifier.encoder)}, not of --model {config.model}"
        raise ModelError(f"{display_path(path)}: {text}")
    classifier.fingerprint.require_same_crops(encoder.fingerprint, display_path(path), f"the encoder {config.model}")
    if classifier.dim != encoder.dim:
        raise DataError(f"{display_path(path)}: damaged: made for {classifier.dim} numbers a face, not {encoder.dim}")
    return ClassifierGallery(classifier=classifier, rule=_rule(classifier, config, display_path(path)))


def _rule(classifier: PeopleClassifier, config: IdentifyConfig, origin: str) -> Rule:
    calibration, highest_far = classifier.calibration, DEFAULT_FALSE_ALARM_RATE / len(classifier.people)
    if config.calibration is not None:
        raise ConfigError(f"--calibration: {origin} has its own, of faces and centroids; --threshold overrules it")
    if config.threshold is not None:
        return Rule(threshold=config.threshold, far=None, meaning="chosen by --threshold", logistic=None)
    try:
        point = calibration.default_point_at_most(highest_far) if config.far is None else calibration.at(config.far)
    except ValueError:
        known = ", ".join(f"{point.far:g}" for point in calibration.points)
        raise ConfigError(f"--far {config.far:g}: of {origin} nobody measured it, but {known}") from None
    return Rule(threshold=point.threshold, far=point.far, meaning=calibration.source, logistic=None)
