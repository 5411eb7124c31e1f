"""Classification metrics by picture and by person, with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, precision_recall_fscore_support

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassScores:
    """Accuracy over pictures, and macro averages over people.

    Attributes:
        accuracy: Share of correctly classified pictures.
        jaccard: Macro average of the Jaccard index (intersection over union).
        precision: Macro average of precision.
        recall: Macro average of recall.
        f1: Macro average of F1.
    """

    accuracy: float
    jaccard: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonScores:
    """Classification metrics of each person. All shapes: (people,).

    Attributes:
        precision: Share of the pictures classified as the person that show the person; 0 if there are none.
        recall: Share of the person's pictures that are classified as the person; 0 if there are none.
        f1: Harmonic mean of precision and recall; 0 if both are 0.
        jaccard: Intersection over union of the person's pictures and those classified as the person.
        support: Number of pictures of the person.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    jaccard: Floats
    support: NDArray[np.int64]


def class_scores(labels: ArrayLike, predicted: ArrayLike) -> ClassScores:
    """Computes accuracy and macro averages.

    A person that no picture is classified as has precision 0.

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
    true, predictions = _read(labels, predicted)
    precision, recall, f1, _ = precision_recall_fscore_support(true, predictions, average="macro", zero_division=0)
    return ClassScores(
        accuracy=float(accuracy_score(true, predictions)),
        jaccard=float(jaccard_score(true, predictions, average="macro", zero_division=0)),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
    )


def person_scores(labels: ArrayLike, predicted: ArrayLike, people: int) -> PersonScores:
    """Computes the metrics of each person that `class_scores` averages.

    Args:
        labels: Indices of people, from 0. Shape: (pictures,).
        predicted: Predicted indices of people. Shape: (pictures,).
        people: Number of people.

    Raises:
        ValueError: As for `class_scores`.
    """
    true, predictions = _read(labels, predicted)
    numbers = np.arange(people)
    precision, recall, f1, support = precision_recall_fscore_support(true, predictions, labels=numbers, zero_division=0)
    jaccard = jaccard_score(true, predictions, labels=numbers, average=None, zero_division=0)
    return PersonScores(precision=precision, recall=recall, f1=f1, jaccard=jaccard, support=support)


def count_confusions(labels: ArrayLike, predicted: ArrayLike, people: int) -> NDArray[np.int64]:
    """Computes the confusion matrix.

    Args:
        labels: Indices of people, from 0. Shape: (pictures,).
        predicted: Predicted indices of people. Shape: (pictures,).
        people: Number of people.

    Returns:
        Counts, with a row for each true and a column for each predicted person. Shape: (people, people).

    Raises:
        ValueError: As for `class_scores`.
    """
    matrix: NDArray[np.int64] = confusion_matrix(*_read(labels, predicted), labels=np.arange(people))
    return matrix


def top_k_accuracy(scores: ArrayLike, labels: NDArray[np.int_], k: int) -> float:
    """Share of pictures whose person is among the `k` highest scores.

    Ties count as errors, so a classifier that gives all people the same score has an accuracy of 0 for small `k`.

    Args:
        scores: Shape: (pictures, people).
        labels: Index of the correct column. Shape: (pictures,).
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
    """Returns for each picture whether its person is among the `k` highest scores; see `top_k_accuracy`.

    Returns:
        Shape: (pictures,).

    Raises:
        ValueError: As for `top_k_accuracy`.
    """
    table, people = np.asarray(scores), np.asarray(labels)
    if table.ndim != 2 or len(table) != len(people) or not len(people):
        raise ValueError(f"scores of shape {table.shape} and labels of shape {people.shape} do not match")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    own_scores = np.take_along_axis(table, people[:, None], axis=1)
    found: NDArray[np.bool_] = (table >= own_scores).sum(axis=1) <= k
    return found


def intervals_over_people(
    measures: Mapping[str, tuple[ArrayLike, ArrayLike]], *, rounds: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95% confidence intervals of ratios and means by bootstrap over people.

    People are resampled with all their pictures. The pictures of one person are correlated, so a bootstrap over
    pictures would give intervals that are too narrow (Field and Welsh 2007, "Bootstrapping clustered data"). The
    intervals cover the variation over test people for a fixed classifier.

    Args:
        measures: By name, the numerator and denominator of each person: for an accuracy, the number of correct pictures
            and of pictures; for a mean over people, the person's score and 1. Shapes: (people,), (people,).
        rounds: Number of resamples.
        seed: Seed of the resamples, which all measures share.

    Returns:
        By name, the 2.5% and 97.5% quantiles over the resamples.

    Raises:
        ValueError: The shapes differ.
    """
    generator, found = np.random.default_rng(seed), {}
    times: NDArray[np.int64] | None = None
    for name, (given, wholes) in measures.items():
        parts, bases = np.asarray(given, np.float64), np.asarray(wholes, np.float64)
        if times is None:
            times = generator.multinomial(len(parts), np.full(len(parts), 1 / max(1, len(parts))), size=rounds)
        if parts.ndim != 1 or parts.shape != bases.shape or len(parts) != times.shape[1]:
            raise ValueError(f"{name}: shapes {parts.shape} and {bases.shape} do not match")
        sums = times @ bases
        drawn = (times @ parts)[sums > 0] / sums[sums > 0]
        low, high = np.quantile(drawn, (0.025, 0.975))
        found[name] = (float(low), float(high))
    return found


def _read(labels: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    true, predictions = np.asarray(labels), np.asarray(predicted)
    if true.ndim != 1 or true.shape != predictions.shape or not len(true):
        raise ValueError(f"labels of shape {true.shape} and predictions of shape {predictions.shape} do not match")
    return true, predictions
