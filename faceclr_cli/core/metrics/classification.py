"""How well people are named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, jaccard_score, precision_recall_fscore_support


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


def class_scores(labels: ArrayLike, predicted: ArrayLike) -> ClassScores:
    """Compares names with those that were guessed.

    A person whom nobody was taken for has precision 0.

    Args:
        labels: Shape: (pictures,).
        predicted: Shape: (pictures,).

    Raises:
        ValueError: The shapes differ, or there are no pictures.
    """
    true, guessed = np.asarray(labels), np.asarray(predicted)
    if true.ndim != 1 or true.shape != guessed.shape or not len(true):
        raise ValueError(f"labels of {true.shape} and predictions of {guessed.shape} don't go together")
    precision, recall, f1, _ = precision_recall_fscore_support(true, guessed, average="macro", zero_division=0)
    return ClassScores(
        accuracy=float(accuracy_score(true, guessed)),
        jaccard=float(jaccard_score(true, guessed, average="macro", zero_division=0)),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
    )


def top_k_accuracy(scores: ArrayLike, labels: NDArray[np.int_], k: int) -> float:
    """Share of pictures whose person is among the `k` with the highest scores.

    A tie counts against: a classifier that gives everybody one score knows nothing.

    Args:
        scores: Shape: (pictures, people).
        labels: Index of the right column. Shape: (pictures,).
        k: At least 1.

    Raises:
        ValueError: The shapes differ, `k` is below 1, or there are no pictures.
    """
    table, people = np.asarray(scores), np.asarray(labels)
    if table.ndim != 2 or len(table) != len(people) or not len(people):
        raise ValueError(f"scores of {table.shape} and labels of {people.shape} don't go together")
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    of_the_right = np.take_along_axis(table, people[:, None], axis=1)
    not_below = (table >= of_the_right).sum(axis=1)
    return float(np.mean(not_below <= k))
