"""Few-shot curves: probe accuracy by the number of training pictures per person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceclr_cli.core.configs.linear_eval import Probe
from faceclr_cli.core.embeddings.store import Store
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.probing.labeled_split import LabeledRows, LabeledSplit, Numbers, SplitRows
from faceclr_cli.core.evaluation.probing.probe_models import fit_probe
from faceclr_cli.core.events import Notice, Reporter


@dataclass(frozen=True, kw_only=True)
class Shots:
    """One point of a few-shot curve.

    Attributes:
        shots: Training pictures per person.
        top1: Accuracy on the test pictures, averaged over random draws of the training pictures.
        deviation: Sample standard deviation over the draws.
        draws: The accuracy of each draw.
    """

    shots: int
    top1: float
    deviation: float
    draws: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShotPlan:
    """The pictures of a few-shot curve; the same for all encoders.

    Attributes:
        counts: Numbers of training pictures per person, ascending.
        labels: The labels of the split, with included people numbered from 0 and all others -1.
        people: Number of included people: those with enough training pictures for the largest count.
        parts: The rows of the included people.
        draws: A random permutation of the training rows for each draw.
    """

    counts: tuple[int, ...]
    labels: Numbers
    people: int
    parts: SplitRows
    draws: tuple[Numbers, ...]


def plan_shots(
    found: LabeledSplit, counts: Sequence[int], draws: int, seed: int, reporter: Reporter
) -> ShotPlan | None:
    """Selects the people and draws their training pictures.

    Every count uses the same people, so that the points of the curve are comparable: those with enough training
    pictures for the largest count. The others are excluded with a warning. Within a draw, the pictures of a smaller
    count are a subset of those of a larger count.

    Returns:
        The plan, or None if no counts were requested.

    Raises:
        DataError: Fewer than two people have enough training pictures.
    """
    if not counts:
        return None
    most, owned = max(counts), np.bincount(found.labels[found.parts.train], minlength=len(found.people))
    enough = np.flatnonzero(owned >= most)
    if len(enough) < 2:
        raise DataError(
            f"--shots {most}: only {len(enough)} of {len(found.people)} people have {most} training pictures (maximum: "
            f"{owned.max()}); at least two people are needed"
        )
    if left_out := len(found.people) - len(enough):
        text = f"{left_out} of {len(found.people)} people have fewer than {most} training pictures"
        reporter.report(Notice(text=f"{text} and are excluded from the few-shot curve", level="warning"))
    number_of = np.full(len(found.people), -1)
    number_of[enough] = np.arange(len(enough))
    labels = number_of[found.labels]
    train, val, test = (rows[labels[rows] >= 0] for rows in (found.parts.train, found.parts.val, found.parts.test))
    return ShotPlan(
        counts=tuple(counts),
        labels=labels,
        people=len(enough),
        parts=SplitRows(train=train, val=val, test=test),
        draws=tuple(np.random.default_rng([seed, draw]).permutation(train) for draw in range(draws)),
    )


def few_shot_curve(probe: Probe, store: Store, plan: ShotPlan) -> tuple[Shots, ...]:
    """Trains a probe on the first pictures of each person in every draw.

    All validation pictures choose the regularization, and all test pictures measure the accuracy.

    Args:
        probe: The kind of probe.
        store: The embeddings.
        plan: The pictures.
    """
    val, test = (_labeled(store, plan, rows) for rows in (plan.parts.val, plan.parts.test))
    points = []
    for count in plan.counts:
        accuracies = []
        for drawn in plan.draws:
            learned = fit_probe(probe, _labeled(store, plan, _first(drawn, plan.labels, count)), val)
            accuracies.append(float((learned.score(test.embeddings).argmax(axis=1) == test.labels).mean()))
        deviation = float(np.std(accuracies, ddof=1))
        point = Shots(shots=count, top1=float(np.mean(accuracies)), deviation=deviation, draws=tuple(accuracies))
        points.append(point)
    return tuple(points)


def _first(rows: Numbers, labels: Numbers, count: int) -> Numbers:
    """Returns the first `count` rows of each person."""
    order = np.argsort(labels[rows], kind="stable")
    sizes = np.bincount(labels[rows])
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rows[order[place < count]]


def _labeled(store: Store, plan: ShotPlan, rows: Numbers) -> LabeledRows:
    return LabeledRows(embeddings=store.embeddings[rows], labels=plan.labels[rows])
