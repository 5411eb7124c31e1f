"""The gallery: the people that `faceclr identify` can name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.embeddings.embedding_rows import Rows, select_named_rows
from faceclr_cli.core.embeddings.gallery_rows import read_gallery_rows
from faceclr_cli.core.embeddings.quality_columns import find_low_quality, required_level
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.decision_rule import DEFAULT_FALSE_ALARM_RATE, Rule, choose_rule
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.identification.classifier_gallery import ClassifierGallery, load_classifier_gallery
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.evaluation.identification.people_classifier import is_classifier
from faceclr_cli.core.evaluation.identification.template_faces import build_template_gallery
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.gallery_search import PeopleIndex
from faceclr_cli.core.metrics.open_set import FalseAlarms, bounded_false_alarms, gallery_false_alarms
from faceclr_cli.core.text import display_path

_LEAST_PEOPLE = 10
"""With fewer people, a bound on the false alarm rate is more informative than a measurement."""


class KnownPeople(Protocol):
    """A searchable set of people with names."""

    @property
    def names(self) -> Sequence[str]:
        """Sorted, unique names of the people."""
        ...

    @property
    def content_hashes(self) -> frozenset[str] | None:
        """SHA-256 of the pictures, or None if unknown."""
        ...

    @property
    def rule(self) -> Rule:
        """The minimum similarity of a match."""
        ...

    @property
    def false_alarms(self) -> FalseAlarms | None:
        """The share of strangers that would be mistaken for one of the people; None if unknown."""
        ...

    @property
    def flip(self) -> bool:
        """True if embeddings must be the mean of a face and its mirror image."""
        ...

    def find(self, embeddings: NDArray[np.float32], count: int) -> list[tuple[Match, ...]]:
        """Finds the best matches of each face, best first.

        Args:
            embeddings: L2-normalized. Shape: (faces, dim).
            count: Maximum number of people per face.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """A gallery of embedded faces.

    Attributes:
        index: The search index.
        names: Names of the people, by their number in the index.
        paths: Paths of the pictures, by row.
        content_hashes: SHA-256 of the pictures.
        rule: The minimum similarity of a match.
        flip: True if embeddings are means of faces and their mirror images.
    """

    index: PeopleIndex
    names: Sequence[str]
    paths: Sequence[str]
    content_hashes: frozenset[str]
    rule: Rule
    flip: bool = False

    @property
    def false_alarms(self) -> FalseAlarms | None:
        """The false alarm rate: measured on the gallery, or bounded by the FAR if it has too few people."""
        people, rule = len(self.names), self.rule
        if rule.far is not None and people < _LEAST_PEOPLE:
            return bounded_false_alarms(len(self.paths), rule.far)
        return gallery_false_alarms(*self.index.similarities_to_others(), rule.threshold) if people > 1 else None

    def find(self, embeddings: NDArray[np.float32], count: int) -> list[tuple[Match, ...]]:
        """Finds the best matches of each face; a person's similarity is that of their most similar picture.

        Args:
            embeddings: L2-normalized. Shape: (faces, dim).
            count: Maximum number of people per face.
        """
        found = self.index.search(embeddings, count)
        chances = None if self.rule.logistic is None else self.rule.logistic.among(len(self.paths))
        return [
            tuple(
                Match(
                    name=self.names[person],
                    similarity=float(similarity),
                    probability=None if chances is None else float(chances(similarity)),
                    picture=self.paths[row],
                )
                for person, similarity, row in zip(*columns, strict=True)
            )
            for columns in zip(found.people, found.similarities, found.rows, strict=True)
        ]


def load_gallery(config: IdentifyConfig, path: Path, encoder: Encoder, reporter: Reporter) -> KnownPeople:
    """Reads a gallery from a store or a classifier, or embeds a folder.

    Args:
        config: The options.
        path: The store, the classifier, prepared faces, or a folder, archive or list of photographs. If a photograph
            has several faces, one is used, by default the largest.
        encoder: The encoder.
        reporter: Receives warnings about skipped faces.

    Raises:
        DataError: The file does not exist, or has no faces with a name.
        ModelError: The store or the classifier was made by another encoder.
        FingerprintError: The faces were prepared differently from what the encoder needs.
        ConfigError: The encoder has no threshold and none was given.
    """
    if is_classifier(path):
        if config.gallery_face is not None:
            raise ConfigError(f"--gallery-face: {display_path(path)} is a classifier; omit the option")
        if config.gallery_templates is not None:
            raise ConfigError(f"--gallery-templates: {display_path(path)} is a classifier; omit the option")
        layer: ClassifierGallery = load_classifier_gallery(path, encoder, config)
        return layer
    choose_rule(encoder, config)  # An encoder without a threshold is reported before the gallery is embedded.
    quality = required_level(config.quality_limits)
    rows = read_gallery_rows(path, config.gallery_face, config.model, encoder, reporter, quality=quality)
    rows = _without_low_quality(rows, config, display_path(path), reporter)
    if config.template is not None:
        index, people, templates, hashes = build_template_gallery(rows, config, path, reporter)
        rule = choose_rule(encoder, config, highest_far=DEFAULT_FALSE_ALARM_RATE / len(templates))
        return Gallery(index=index, names=people, paths=templates, content_hashes=hashes, rule=rule)
    known = select_named_rows(rows, display_path(path), reporter)
    # Each face is compared with every picture, so the false alarm rate grows with the number of pictures.
    rule = choose_rule(encoder, config, highest_far=DEFAULT_FALSE_ALARM_RATE / len(known))
    names, numbers = np.unique([str(name) for name in known.identities], return_inverse=True)
    return Gallery(
        index=PeopleIndex(known.embeddings, numbers),
        names=[str(name) for name in names],
        paths=known.paths,
        content_hashes=frozenset(known.content_hashes),
        rule=rule,
    )


def _without_low_quality(rows: Rows, config: IdentifyConfig, origin: str, reporter: Reporter) -> Rows:
    low = find_low_quality(rows, config.quality_limits, origin)
    if low.all():
        raise DataError(f"{origin}: all {len(rows)} faces are below --min-quality; lower it")
    if low.any():
        text = f"{origin}: {low.sum()} of {len(rows)} faces are below --min-quality and are skipped"
        reporter.report(Notice(text=text, level="warning"))
    return rows.take(np.flatnonzero(~low)) if low.any() else rows
