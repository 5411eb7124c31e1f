"""The result of `faceclr benchmark`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from faceclr_cli.core.configs.templates import TemplateMethod
from faceclr_cli.core.evaluation.benchmark.encoder_comparisons import EncoderComparison
from faceclr_cli.core.evaluation.differentials.group_report import GroupReport
from faceclr_cli.core.evaluation.verification.pairs_result import TarAtFar

Spread = Literal["folds", "people", "pairs", "deviation"]


@dataclass(frozen=True, kw_only=True)
class BenchmarkedSet:
    """A set of pairs.

    Attributes:
        name: Its name in the table.
        source: The file or folder.
        pictures: Number of pictures, without copies; None for a store.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        people: Number of people, from the names of the folders; None if unknown.
    """

    name: str
    source: str
    pictures: int | None
    genuine: int
    impostor: int
    people: int | None

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.genuine + self.impostor


@dataclass(frozen=True, kw_only=True)
class BenchmarkedEncoder:
    """An encoder.

    Attributes:
        name: Its name in the table.
        model: The encoder as given by the user; the store if its embeddings were read from one.
        digest: SHA-256 of its weights.
        dim: Length of an embedding.
        parameters: Number of weights of a run or encoder folder; None for other encoders.
        training_seconds: Time of all epochs of a run without validation; None if it was not recorded.
        flip: How each face was combined with its mirror image: `none`, `mean` or `sum`.
        embedded: Number of pictures that this run embedded; the embeddings of the others were cached.
        faces_per_second: Throughput of this run with loading and alignment, or None if it embedded nothing.
    """

    name: str
    model: str
    digest: str
    dim: int
    parameters: int | None
    training_seconds: float | None
    flip: str
    embedded: int
    faces_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class TrainingOverlap:
    """The part of a set that an encoder has seen in training, and the result without it.

    Attributes:
        people: People of the set who are in the training set, by name; None if the people of the set are unknown.
        pictures: Number of pictures that are near-duplicates of training pictures; None without `--trained-on`.
        examples: The first of them, each with its training picture.
        pairs: Number of pairs with one of these people or pictures.
        accuracy: Accuracy on the other pairs, or None if there are too few.
        spread: As in the cell, or None.
        auc: Area under the ROC on the other pairs, or None.
    """

    people: tuple[str, ...] | None
    pictures: int | None
    examples: tuple[tuple[str, str], ...]
    pairs: int
    accuracy: float | None = None
    spread: float | None = None
    auc: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self) | {
            "people": None if self.people is None else list(self.people),
            "examples": [list(two) for two in self.examples],
        }


@dataclass(frozen=True, kw_only=True)
class BenchmarkCell:
    """The metrics of an encoder on a set. Pairs that could not be compared count as wrong; see `PairsResult`.

    Attributes:
        set: Name of the set.
        encoder: Name of the encoder.
        accuracy: Mean accuracy over the folds, or None with templates, or if the encoder could not be measured on the
            set.
        spread: Standard error of the accuracy, or with insightface's rule its standard deviation; or None.
        spread_over: The unit of the standard error; `deviation` for a standard deviation over folds.
        fold_accuracies: Accuracy of each fold.
        fold_thresholds: Threshold of each fold: a minimum cosine similarity, or with insightface's rule a maximum
            squared Euclidean distance.
        auc: Area under the ROC, or None.
        eer: Equal error rate, or None.
        tar_at_far: One row for each false accept rate.
        not_enrolled: Number of pictures without a face; 0 for a store.
        missing: Number of pairs that could not be compared.
        failures: The first reasons why, without repetitions.
        overlap: The part of the set that the encoder has seen in training; None if its training set is unknown.
        group_reports: The error rates of groups of people, one report for each attribute.
        reason: Why the encoder could not be measured on the set, or None.
    """

    set: str
    encoder: str
    accuracy: float | None = None
    spread: float | None = None
    spread_over: Spread | None = None
    fold_accuracies: tuple[float, ...] = ()
    fold_thresholds: tuple[float, ...] = ()
    auc: float | None = None
    eer: float | None = None
    tar_at_far: tuple[TarAtFar, ...] = ()
    not_enrolled: int = 0
    missing: int = 0
    failures: tuple[str, ...] = ()
    overlap: TrainingOverlap | None = None
    group_reports: tuple[GroupReport, ...] = ()
    reason: str | None = None

    def tar(self, far: float) -> float | None:
        """Returns the TAR at a FAR, or None if it was not measured."""
        return next((point.tar for point in self.tar_at_far if point.far == far), None)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self) | {
            "fold_accuracies": list(self.fold_accuracies),
            "fold_thresholds": list(self.fold_thresholds),
            "tar_at_far": [asdict(point) for point in self.tar_at_far],
            "failures": list(self.failures),
            "overlap": None if self.overlap is None else self.overlap.to_json(),
            "group_reports": [report.to_json() for report in self.group_reports],
        }


@dataclass(frozen=True, kw_only=True)
class BenchmarkMean:
    """Means of an encoder over all sets; each is None if it could not be measured on one of them.

    Attributes:
        encoder: Name of the encoder.
        accuracy: Mean accuracy.
        auc: Mean area under the ROC.
        tar_at_far: Mean TAR for each false accept rate, in the order of the cells.
        not_enrolled: Number of pictures without a face in all sets.
    """

    encoder: str
    accuracy: float | None
    auc: float | None
    tar_at_far: tuple[float | None, ...]
    not_enrolled: int

    @classmethod
    def of(cls, encoder: str, cells: Sequence[BenchmarkCell], fars: Sequence[float]) -> BenchmarkMean:
        """Computes the means of the cells of an encoder."""
        return cls(
            encoder=encoder,
            accuracy=_mean([cell.accuracy for cell in cells]),
            auc=_mean([cell.auc for cell in cells]),
            tar_at_far=tuple(_mean([cell.tar(far) for cell in cells]) for far in fars),
            not_enrolled=sum(cell.not_enrolled for cell in cells),
        )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


@dataclass(frozen=True, kw_only=True)
class GroupCell:
    """Means of the runs of a recipe on a set, with standard deviations over runs.

    Attributes:
        set: Name of the set, or `mean` for the means over all sets.
        accuracy: Mean accuracy, or None if a run could not be measured.
        accuracy_deviation: Standard deviation of the accuracy (ddof=1), or None.
        auc: Mean area under the ROC, or None.
        auc_deviation: Its standard deviation, or None.
        tar_at_far: Mean TAR for each false accept rate, or None.
    """

    set: str
    accuracy: float | None
    accuracy_deviation: float | None
    auc: float | None
    auc_deviation: float | None
    tar_at_far: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class RecipeGroup:
    """Runs of one recipe.

    Attributes:
        name: The pattern that selected the runs, or their common name.
        encoders: Names of the encoders.
        cells: One for each set, and one for all sets if there are several.
    """

    name: str
    encoders: tuple[str, ...]
    cells: tuple[GroupCell, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        cells = [asdict(cell) | {"tar_at_far": list(cell.tar_at_far)} for cell in self.cells]
        return asdict(self) | {"encoders": list(self.encoders), "cells": cells}


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """The result of `faceclr benchmark`.

    Attributes:
        rule: How folds and thresholds were chosen: `faceclr` or `insightface`.
        folds: Number of folds.
        template: How the pictures of templates were combined; None if pictures were compared. With templates, there is
            no accuracy, since the pairs are counted and not held in memory.
        fars: The false accept rates.
        sets: The sets, as given.
        encoders: The encoders, as given, and those of stores.
        cells: One for each set and encoder, set by set. A store has a cell for its own encoder only.
        means: One for each encoder if there are several sets.
        comparisons: One for each set and two encoders.
        groups: Runs of one recipe with different seeds.
    """

    rule: str
    folds: int
    template: TemplateMethod | None
    fars: tuple[float, ...]
    sets: tuple[BenchmarkedSet, ...]
    encoders: tuple[BenchmarkedEncoder, ...]
    cells: tuple[BenchmarkCell, ...]
    means: tuple[BenchmarkMean, ...]
    comparisons: tuple[EncoderComparison, ...]
    groups: tuple[RecipeGroup, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "rule": self.rule,
            "folds": self.folds,
            "template": self.template,
            "fars": list(self.fars),
            "sets": [asdict(each) for each in self.sets],
            "encoders": [asdict(each) for each in self.encoders],
            "cells": [cell.to_json() for cell in self.cells],
            "means": [asdict(mean) | {"tar_at_far": list(mean.tar_at_far)} for mean in self.means],
            "comparisons": [asdict(each) for each in self.comparisons],
            "groups": [group.to_json() for group in self.groups],
        }
