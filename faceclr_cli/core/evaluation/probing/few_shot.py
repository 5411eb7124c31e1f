"""How much few training pictures of each person are worth."""

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
        shots: Training pictures of each person.
        top1: Accuracy on the test pictures, the mean over draws of the training pictures.
        deviation: Standard deviation over the draws (with n - 1).
        draws: The accuracy of each draw.
    """

    shots: int
    top1: float
    deviation: float
    draws: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShotPlan:
    """Which pictures a few-shot curve is made of, for all encoders alike.

    Attributes:
        counts: Numbers of training pictures of each person, rising.
        labels: As in what was divided, with the people that count numbered from 0 and all others -1.
        people: How many count: those with as many training pictures as the largest count takes.
        parts: Their rows.
        draws: The training rows of each draw, every person's in an order of their own.
    """

    counts: tuple[int, ...]
    labels: Numbers
    people: int
    parts: SplitRows
    draws: tuple[Numbers, ...]


def plan_shots(
    found: LabeledSplit, counts: Sequence[int], draws: int, seed: int, reporter: Reporter
) -> ShotPlan | None:
    """Chooses the people, and draws their training pictures.

    The same people are told apart at every count, or the points of a curve could not be compared: those who have the
    most pictures that any count takes in the training part. The others are said aloud and left out. In one draw, the
    pictures of a smaller count are among those of a larger one.

    Returns:
        None where no count was asked for.

    Raises:
        DataError: Fewer than two people have enough.
    """
    if not counts:
        return None
    most, owned = max(counts), np.bincount(found.labels[found.parts.train], minlength=len(found.people))
    enough = np.flatnonzero(owned >= most)
    if len(enough) < 2:
        raise DataError(
            f"--shots {most}: {len(enough)} of {len(found.people)} people have {most} training pictures, of at most "
            f"{owned.max()}; a comparison needs two"
        )
    if left_out := len(found.people) - len(enough):
        text = f"{left_out} of {len(found.people)} people have fewer than {most} training pictures"
        reporter.report(Notice(text=f"{text} and are left out of the few-shot curve", level="warning"))
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
    """Trains on the first few pictures of each person of every draw.

    All validation pictures choose the regularization, and all test pictures measure the accuracy.

    Args:
        probe: What is trained.
        store: Its embeddings.
        plan: Which pictures.
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
    """Of each person, the first rows in this order."""
    order = np.argsort(labels[rows], kind="stable")
    sizes = np.bincount(labels[rows])
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rows[order[place < count]]


def _labeled(store: Store, plan: ShotPlan, rows: Numbers) -> LabeledRows:
    return LabeledRows(embeddings=store.embeddings[rows], labels=plan.labels[rows])
