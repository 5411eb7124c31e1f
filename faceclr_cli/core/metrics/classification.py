"""How well people are named, and how far chance could have moved that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, precision_recall_fscore_support

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassScores:
    """Accuracy over the pictures, and means over the people, each of whom counts the same.

    Attributes:
        accuracy: Share of pictures that are named right.
        jaccard: Mean over people of intersection / union of their pictures and those named as theirs.
        precision: Mean over people.
        recall: Mean over people.
        f1: Mean over people.
    """

    accuracy: float
    jaccard: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonScores:
    """How well each person is named.

    Attributes:
        precision: Of the pictures named as theirs, the share that are; 0 where there are none. Shape: (people,).
        recall: Of their pictures, the share named as theirs; 0 where there are none. Shape: (people,).
        f1: Harmonic mean of the two; 0 where both are. Shape: (people,).
        jaccard: Of the pictures that are theirs or named as theirs, the share that are both. Shape: (people,).
        support: How many pictures they have. Shape: (people,).
    """

    precision: Floats
    recall: Floats
    f1: Floats
    jaccard: Floats
    support: NDArray[np.int64]


def class_scores(labels: ArrayLike, predicted: ArrayLike) -> ClassScores:
    """Compares names with those that were guessed.

    A person whom nobody was taken for has precision 0.

    Args:
        labels: Shape: (pictures,).
        predicted: Shape: (pictures,).

    Raises:
        ValueError: The shapes differ, or there are no pictures.

    Examples:
        >>> scores = class_scores(["ann", "ann", "bob", "bob"], ["ann", "ann", "ann", "bob"])
        >>> scores.accuracy
        0.75
        >>> round(scores.jaccard, 3)  # ann 2/3, bob 1/2
        0.583
    """
    true, guessed = _read(labels, predicted)
    precision, recall, f1, _ = precision_recall_fscore_support(true, guessed, average="macro", zero_division=0)
    return ClassScores(
        accuracy=float(accuracy_score(true, guessed)),
        jaccard=float(jaccard_score(true, guessed, average="macro", zero_division=0)),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
    )


def person_scores(labels: ArrayLike, predicted: ArrayLike, people: int) -> PersonScores:
    """The scores of which `class_scores` has the means, of each person.

    Args:
        labels: Numbers of people, from 0. Shape: (pictures,).
        predicted: Likewise. Shape: (pictures,).
        people: How many there are.

    Raises:
        ValueError: As for `class_scores`.
    """
    true, guessed = _read(labels, predicted)
    numbers = np.arange(people)
    precision, recall, f1, support = precision_recall_fscore_support(true, guessed, labels=numbers, zero_division=0)
    jaccard = jaccard_score(true, guessed, labels=numbers, average=None, zero_division=0)
    return PersonScores(precision=precision, recall=recall, f1=f1, jaccard=jaccard, support=support)


def count_confusions(labels: ArrayLike, predicted: ArrayLike, people: int) -> NDArray[np.int64]:
    """How often each person was taken for each.

    Args:
        labels: Numbers of people, from 0. Shape: (pictures,).
        predicted: Likewise. Shape: (pictures,).
        people: How many there are.

    Returns:
        A row for each true person, a column for each that was guessed. Shape: (people, people).

    Raises:
        ValueError: As for `class_scores`.
    """
    matrix: NDArray[np.int64] = confusion_matrix(*_read(labels, predicted), labels=np.arange(people))
    return matrix


def top_k_accuracy(scores: ArrayLike, labels: NDArray[np.int_], k: int) -> float:
    """Share of pictures whose person is among the `k` with the highest scores.

    A tie counts against: a classifier that gives everybody one score knows nothing.

    Args:
        scores: Shape: (pictures, people).
        labels: Index of the right column. Shape: (pictures,).
        k: At least 1.

    Raises:
        ValueError: The shapes differ, `k` is below 1, or there are no pictures.

    Examples:
        >>> scores = [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]
        >>> top_k_accuracy(scores, np.array([0, 1]), k=1), top_k_accuracy(scores, np.array([0, 1]), k=2)
        (0.5, 1.0)
    """
    return float(np.mean(in_top_k(scores, labels, k)))


def in_top_k(scores: ArrayLike, labels: NDArray[np.int_], k: int) -> NDArray[np.bool_]:
    """As `top_k_accuracy`, of each picture. Shape: (pictures,).

    Raises:
        ValueError: As for `top_k_accuracy`.
    """
    table, people = np.asarray(scores), np.asarray(labels)
    if table.ndim != 2 or len(table) != len(people) or not len(people):
        raise ValueError(f"scores of {table.shape} and labels of {people.shape} don't go together")
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    of_the_right = np.take_along_axis(table, people[:, None], axis=1)
    above: NDArray[np.bool_] = (table >= of_the_right).sum(axis=1) <= k
    return above


def intervals_over_people(
    measures: Mapping[str, tuple[ArrayLike, ArrayLike]], *, rounds: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95% intervals of shares and means by bootstrap over people: each draw has all pictures of whom it drew.

    People are drawn, not pictures: pictures of one person are alike, and who is hard to tell apart mostly is so in all
    of them, so an interval that took pictures for independent would be too narrow (Field and Welsh 2007, "Bootstrapping
    clustered data"). It answers how the measure would differ for other people of this kind; what was learned stays the
    same in all draws.

    Args:
        measures: By name, the numerators and the denominators that each person adds: right pictures and pictures for an
            accuracy, a person's score and 1 for a mean over people. Both of shape (people,), of the same people.
        rounds: Resamples.
        seed: Of the draws, which are the same for all measures.

    Returns:
        By name, the 2.5% and 97.5% quantiles over the draws.

    Raises:
        ValueError: The shapes differ.
    """
    chance, found = np.random.default_rng(seed), {}
    times: NDArray[np.int64] | None = None
    for name, (given, wholes) in measures.items():
        parts, bases = np.asarray(given, np.float64), np.asarray(wholes, np.float64)
        if times is None:
            times = chance.multinomial(len(parts), np.full(len(parts), 1 / max(1, len(parts))), size=rounds)
        if parts.ndim != 1 or parts.shape != bases.shape or len(parts) != times.shape[1]:
            raise ValueError(f"{name}: {parts.shape} and {bases.shape} don't go together")
        sums = times @ bases
        drawn = (times @ parts)[sums > 0] / sums[sums > 0]
        low, high = np.quantile(drawn, (0.025, 0.975))
        found[name] = (float(low), float(high))
    return found


def _read(labels: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    true, guessed = np.asarray(labels), np.asarray(predicted)
    if true.ndim != 1 or true.shape != guessed.shape or not len(true):
        raise ValueError(f"labels of {true.shape} and predictions of {guessed.shape} don't go together")
    return true, guessed
