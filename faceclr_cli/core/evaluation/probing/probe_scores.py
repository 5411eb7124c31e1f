"""The scores of a probe on the test pictures of one encoder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.embeddings.store import Store
from faceclr_cli.core.evaluation.probing.few_shot import Shots
from faceclr_cli.core.evaluation.probing.labeled_split import LabeledSplit
from faceclr_cli.core.evaluation.probing.probe_models import FittedProbe
from faceclr_cli.core.evaluation.probing.probe_verification import ProbeVerification, verify_rows
from faceclr_cli.core.metrics.classification import (
    PersonScores,
    class_scores,
    count_confusions,
    in_top_k,
    intervals_over_people,
    person_scores,
)
from faceclr_cli.core.metrics.knn import knn_correct


@dataclass(frozen=True, kw_only=True)
class PersonRow:
    """The scores for one person on the test pictures.

    Attributes:
        name: Name of the person.
        precision: Share of the pictures predicted as the person that show them.
        recall: Share of the person's pictures that are predicted as them.
        f1: Harmonic mean of precision and recall.
        jaccard: Intersection over union of the predicted and the actual pictures of the person.
        support: Number of test pictures of the person.
    """

    name: str
    precision: float
    recall: float
    f1: float
    jaccard: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Means:
    """Means over people, weighted by their test pictures."""

    precision: float
    recall: float
    f1: float
    jaccard: float


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """The number of times that one person was predicted as another."""

    true: str
    taken_for: str
    times: int


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """The probe scores of one store on the test pictures.

    Attributes:
        store: The store.
        encoder: Name of the encoder.
        dim: Embedding dimension.
        top1: Accuracy.
        top3: Share of pictures with the correct person among the top three; None for three people or fewer.
        top5: The same for the top five; None for five people or fewer.
        jaccard: Macro mean over people.
        precision: Macro mean over people.
        recall: Macro mean over people.
        f1: Macro mean over people.
        knn: Leave-one-out 1-nearest-neighbor accuracy over all pictures, with no layer trained.
        verification: Verification metrics over all pairs of test pictures, with no layer trained; None if no person has
            two test pictures.
        c: Inverse regularization strength that was best on the validation pictures; None without a linear layer.
        k: Number of neighbors that was best on the validation pictures; None without kNN.
        weighted: Means over people, weighted by their number of test pictures.
        intervals: 95% intervals by bootstrap over people (see `intervals_over_people`), by field name.
        per_person: The scores of each person, sorted by name.
        shots: The few-shot curve; empty if not requested.
        matrix: Confusion matrix; rows are true people, columns predictions. Shape: (people, people).
    """

    store: str
    encoder: str
    dim: int
    top1: float
    top3: float | None
    top5: float | None
    jaccard: float
    precision: float
    recall: float
    f1: float
    knn: float
    verification: ProbeVerification | None
    c: float | None
    k: int | None
    weighted: Means
    intervals: dict[str, tuple[float, float]]
    per_person: tuple[PersonRow, ...]
    shots: tuple[Shots, ...]
    matrix: NDArray[np.int64] = field(repr=False, compare=False)

    @property
    def confusions(self) -> tuple[Confusion, ...]:
        """The confusions, most frequent first; ties are sorted by name."""
        names = [person.name for person in self.per_person]
        wrong = np.argwhere((self.matrix > 0) & ~np.eye(len(names), dtype=bool))
        order = np.argsort(-self.matrix[tuple(wrong.T)], kind="stable")
        return tuple(
            Confusion(true=names[true], taken_for=names[guess], times=int(self.matrix[true, guess]))
            for true, guess in wrong[order]
        )

    def to_json(self) -> dict[str, Any]:
        """The row as a JSON object, with the matrix as a list of rows."""
        return asdict(self) | {
            "verification": None if self.verification is None else self.verification.to_json(),
            "matrix": self.matrix.tolist(),
            "confusions": [asdict(confusion) for confusion in self.confusions],
        }


def measure_probe(
    name: str,
    store: Store,
    learned: FittedProbe,
    found: LabeledSplit,
    shots: tuple[Shots, ...],
    config: LinearEvalConfig,
) -> ProbeRow:
    """Measures a trained probe on the test pictures.

    Args:
        name: Name of the store.
        store: One of the stores of the split.
        learned: The trained probe.
        found: The split and its labels.
        shots: The few-shot curve to include in the result.
        config: The number of bootstrap rounds and their seed.
    """
    test, people = found.part(store, found.parts.test), len(found.people)
    scores = learned.score(test.embeddings)
    guessed = scores.argmax(axis=1)
    means, each = class_scores(test.labels, guessed), person_scores(test.labels, guessed, people)
    asked, recognized = knn_correct(store.embeddings, found.labels)
    tops = {k: in_top_k(scores, test.labels, k) for k in (3, 5) if people > k}
    shares = {"top1": (guessed == test.labels, test.labels)}
    shares |= {f"top{k}": (right, test.labels) for k, right in tops.items()}
    shares |= {"knn": (recognized[asked], found.labels[asked])}
    return ProbeRow(
        store=name,
        encoder=store.encoder,
        dim=store.dim,
        top1=means.accuracy,
        top3=float(tops[3].mean()) if 3 in tops else None,
        top5=float(tops[5].mean()) if 5 in tops else None,
        jaccard=means.jaccard,
        precision=means.precision,
        recall=means.recall,
        f1=means.f1,
        knn=float(recognized[asked].mean()),
        verification=verify_rows(test, config.seed),
        c=learned.c,
        k=learned.k,
        weighted=_weighted(each),
        intervals=_intervals(shares, each, config),
        per_person=_people(found.people, each),
        shots=shots,
        matrix=count_confusions(test.labels, guessed, people),
    )


def _weighted(each: PersonScores) -> Means:
    columns = (each.precision, each.recall, each.f1, each.jaccard)
    precision, recall, f1, jaccard = (float(np.average(column, weights=each.support)) for column in columns)
    return Means(precision=precision, recall=recall, f1=f1, jaccard=jaccard)


def _intervals(
    shares: dict[str, tuple[NDArray[np.bool_], NDArray[np.int_]]], each: PersonScores, config: LinearEvalConfig
) -> dict[str, tuple[float, float]]:
    """Computes bootstrap intervals of the accuracies and of the means over people."""
    people = len(each.support)
    measures: dict[str, tuple[ArrayLike, ArrayLike]] = {
        name: (np.bincount(labels, weights=right, minlength=people), np.bincount(labels, minlength=people))
        for name, (right, labels) in shares.items()
    }
    for name in ("jaccard", "precision", "recall", "f1"):
        measures[name] = getattr(each, name), np.ones(people)
    return intervals_over_people(measures, rounds=config.rounds, seed=config.seed)


def _people(names: tuple[str, ...], each: PersonScores) -> tuple[PersonRow, ...]:
    return tuple(
        PersonRow(
            name=name,
            precision=float(each.precision[number]),
            recall=float(each.recall[number]),
            f1=float(each.f1[number]),
            jaccard=float(each.jaccard[number]),
            support=int(each.support[number]),
        )
        for number, name in enumerate(names)
    )
