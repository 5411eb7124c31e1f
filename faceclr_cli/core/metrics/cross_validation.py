"""Thresholds chosen on some pairs and judged on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from faceclr_cli.core.metrics.roc import (
    Flags,
    Floats,
    FoldAccuracy,
    best_threshold,
    fold_numbers,
    tar_at_far,
)


@dataclass(frozen=True)
class FoldTar:
    """TAR at a FAR where each fold is judged by a threshold that the other folds chose.

    Attributes:
        tars: Shape: (folds,).
        fars: Those that the folds reached, on either side of the one asked for. Shape: (folds,).
    """

    tars: Floats
    fars: Floats

    @property
    def mean(self) -> float:
        """Mean TAR over the folds."""
        return float(self.tars.mean())

    @property
    def standard_deviation(self) -> float:
        """Of the TAR over the folds, with their number and not one less below, as FaceNet's `evaluate` reports it."""
        return float(self.tars.std())

    @property
    def mean_far(self) -> float:
        """Mean over the folds of the FAR that was reached."""
        return float(self.fars.mean())


def tar_over_folds(
    scores: ArrayLike, same: ArrayLike, far: float, folds: int = 10, failed: Sequence[bool] | Flags | None = None
) -> FoldTar:
    """The validation rate of FaceNet (Schroff et al. 2015) over the folds of LFW's protocol (Huang et al. 2007).

    The threshold of each fold is the one that `tar_at_far` finds on the other folds; both rates are those that the fold
    itself reaches with it.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        far: Above 0, to 1.
        folds: As `fold_numbers` divides the pairs.
        failed: True for pairs that could not be compared: the genuine ones are rejected, the impostor ones don't count.
            Shape: (pairs,).

    Raises:
        ValueError: As for `roc` and `fold_numbers`, the folds without one of them have fewer than 1 / far impostor
            pairs, or a fold has none that could be compared.
    """
    if not 0 < far <= 1:
        raise ValueError(f"a false accept rate over folds is above 0 and at most 1, not {far}")
    values, genuine, failures = _read(scores, same, failed)
    fold_of, needed = fold_numbers(genuine, folds), int(np.ceil(1 / far - 1e-9))
    tars, fars = np.empty(folds), np.empty(folds)
    for number in range(folds):
        inside, others = fold_of == number, (fold_of != number) & ~failures
        impostors, left = inside & ~genuine & ~failures, int((others & ~genuine).sum())
        if left < needed:
            raise ValueError(f"a FAR of {far:g} needs {needed:,} impostor pairs beside each fold, there are {left:,}")
        if not impostors.any():
            raise ValueError(f"no impostor pair of fold {number + 1} of {folds} could be compared")
        threshold = tar_at_far(values[others], genuine[others], far).threshold
        accepted = (values >= threshold) & ~failures
        tars[number], fars[number] = accepted[inside & genuine].mean(), accepted[impostors].mean()
    return FoldTar(tars=tars, fars=fars)


def folds_share_people(fold_of: ArrayLike, first: ArrayLike, second: ArrayLike) -> bool:
    """Whether a person is in two folds, so that the folds are not independent of each other. In LFW's, none is.

    Args:
        fold_of: The fold of each pair. Shape: (pairs,).
        first: The person on the first picture of each pair, as a number. Shape: (pairs,).
        second: And on the second. Shape: (pairs,).
    """
    folds, people = np.tile(np.asarray(fold_of), 2), np.append(first, second)
    return len(np.unique(np.stack([folds, people]), axis=1).T) > len(np.unique(people))


def standard_error_by_people(right: ArrayLike, first: ArrayLike, second: ArrayLike) -> float:
    """The standard error of a share of right verdicts on pairs that share people.

    The variance of the mean, where two verdicts may depend on each other if their pairs share a person (Aronow, Samii
    and Assenova 2015, "Cluster-robust variance estimation for dyadic data"). It is never taken to be less than that of
    independent pairs. That the threshold was chosen on other pairs changes it little, since the share hardly depends on
    the threshold where it is largest.

    Args:
        right: Whether each verdict is right. Shape: (pairs,).
        first: The person on the first picture of each pair, as a number from 0. Shape: (pairs,).
        second: And on the second. Shape: (pairs,).

    Raises:
        ValueError: The shapes differ, or there are no pairs.
    """
    values = np.asarray(right, np.float64)
    people = np.sort(np.stack([np.asarray(first, np.int64), np.asarray(second, np.int64)]), axis=0)
    if values.ndim != 1 or people.shape != (2, len(values)) or not len(values):
        raise ValueError(f"verdicts of {values.shape} and people of {people.shape[1:]} don't go together")
    off, two = values - values.mean(), people[0] != people[1]
    of_person = np.bincount(np.append(people[0], people[1, two]), np.append(off, off[two]))
    # Pairs of the same two people were counted with each of them.
    twice = np.bincount(np.unique(people[:, two], axis=1, return_inverse=True)[1].ravel(), off[two])
    variance = max(float(np.square(of_person).sum() - np.square(twice).sum()), float(np.square(off).sum()))
    return float(np.sqrt(variance)) / len(values)


def transfer_threshold(
    scores: ArrayLike,
    same: ArrayLike,
    other_scores: ArrayLike,
    other_same: ArrayLike,
    failed: Sequence[bool] | Flags | None = None,
    other_failed: Sequence[bool] | Flags | None = None,
) -> FoldAccuracy:
    """Two lists of pairs, each judged by the best threshold of the other.

    Args:
        scores: Of the first list. Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        other_scores: Of the second list. Shape: (other_pairs,).
        other_same: Shape: (other_pairs,).
        failed: True for pairs that could not be compared: their scores don't count, and their verdict is wrong.
            Shape: (pairs,).
        other_failed: Likewise. Shape: (other_pairs,).

    Returns:
        `accuracies` of the first list and of the second, the `thresholds` that each was judged by (the first list by
        the second's), and what was `accepted` of the first list. Shapes: (2,), (2,), (pairs,).

    Raises:
        ValueError: As for `roc`, of either list.
    """
    lists = (_read(scores, same, failed), _read(other_scores, other_same, other_failed))
    own = [best_threshold(values[~failures], genuine[~failures]) for values, genuine, failures in lists]
    thresholds = np.array(own[::-1])
    verdicts, accuracies = [], np.empty(2)
    for number, (values, genuine, failures) in enumerate(lists):
        verdicts.append((values >= thresholds[number]) & ~failures)
        accuracies[number] = np.mean((verdicts[number] == genuine) & ~failures)
    return FoldAccuracy(accuracies=accuracies, thresholds=thresholds, accepted=verdicts[0])


def _read(scores: ArrayLike, same: ArrayLike, failed: Sequence[bool] | Flags | None) -> tuple[Floats, Flags, Flags]:
    """As arrays that go together. Whoever chooses a threshold looks at the scores themselves."""
    values, genuine = np.asarray(scores, np.float64), np.asarray(same, bool)
    failures = np.zeros(values.shape, bool) if failed is None else np.asarray(failed, bool)
    if values.ndim != 1 or not values.shape == genuine.shape == failures.shape:
        shapes = f"scores of {values.shape}, labels of {genuine.shape} and failures of {failures.shape}"
        raise ValueError(f"{shapes} don't go together")
    return values, genuine, failures
