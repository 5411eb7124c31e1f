"""Verification accuracy by the rule of insightface's `evaluate` function, to compare with published figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.cross_validation import FoldAccuracy
from faceclr_cli.core.metrics.roc import Flags

_GRID = np.arange(0, 4, 0.01)
"""Thresholds of the squared Euclidean distance of normalized embeddings."""


def grid_accuracy(
    cosines: ArrayLike, same: ArrayLike, folds: int = 10, failed: Sequence[bool] | Flags | None = None
) -> FoldAccuracy:
    """Accuracy by cross-validation over consecutive folds, with thresholds on a grid of squared distances.

    Folds are consecutive pairs in the order of the file, regardless of their labels. The threshold of a fold is the
    first of the best ones on the other folds. A pair is accepted if its squared distance is below the threshold.

    Args:
        cosines: Cosine similarities. Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        folds: Number of folds.
        failed: True for pairs that could not be compared. They do not affect the thresholds, and count as wrong. Shape:
            (pairs,).

    Returns:
        The accuracies, the thresholds in squared distance, and the accepted pairs.

    Raises:
        ValueError: The shapes differ, or there are fewer pairs than folds, or fewer than 2 folds.

    Examples:
        >>> found = grid_accuracy([0.875, 0.25, 0.75, 0.125], [True, False, True, False], folds=2)
        >>> found.thresholds, found.accuracies
        (array([0.51, 0.26]), array([1. , 0.5]))
    """
    values, genuine = np.asarray(cosines, np.float64), np.asarray(same, bool)
    failures = np.zeros(values.shape, bool) if failed is None else np.asarray(failed, bool)
    if values.ndim != 1 or not values.shape == genuine.shape == failures.shape:
        raise ValueError(f"scores of shape {values.shape} and labels of shape {genuine.shape} do not match")
    if not 2 <= folds <= len(values):
        text = f"{folds} folds of {len(values)} pairs are not possible"
        raise ValueError(f"{text}; cross-validation needs 2 or more folds with a pair in each")
    distances = 2 - 2 * values
    # Cumulative counts of correct verdicts would be faster, but 400 thresholds take milliseconds.
    right = _verdicts(distances, _GRID) == genuine[None]
    fold_of = np.repeat(np.arange(folds), [len(part) for part in np.array_split(values, folds)])
    thresholds, accuracies, accepted = np.empty(folds), np.empty(folds), np.zeros(len(values), bool)
    for number in range(folds):
        inside, others = fold_of == number, (fold_of != number) & ~failures
        thresholds[number] = _GRID[np.argmax(right[:, others].mean(axis=1))]
        accepted[inside] = (distances[inside] < thresholds[number]) & ~failures[inside]
        accuracies[number] = ((accepted[inside] == genuine[inside]) & ~failures[inside]).mean()
    return FoldAccuracy(accuracies=accuracies, thresholds=thresholds, accepted=accepted)


def _verdicts(distances: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Shape: (thresholds, pairs)."""
    return distances[None] < thresholds[:, None]
