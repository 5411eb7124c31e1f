"""Cross-validation of verification thresholds: chosen on some pairs, evaluated on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.roc import Flags, Floats, best_threshold, require_comparable, tar_at_far


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy by cross-validation: the threshold of each fold is chosen on the other folds.

    Attributes:
        accuracies: Accuracy of each fold. Shape: (folds,).
        thresholds: Threshold applied to each fold. Shape: (folds,).
        accepted: True for pairs accepted by the threshold of their fold. Shape: (pairs,).
    """

    accuracies: Floats
    thresholds: Floats
    accepted: Flags

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds."""
        return float(self.accuracies.mean())

    @property
    def standard_error(self) -> float:
        """Standard deviation over the folds divided by the square root of their number, as LFW reports it."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))


def fold_numbers(same: ArrayLike, folds: int) -> NDArray[np.int64]:
    """Divides pairs into folds of consecutive pairs, stratified by genuine and impostor pairs.

    For LFW's `pairs.txt`, ten folds are those of the file.

    Args:
        same: True for genuine pairs. Shape: (pairs,).
        folds: Number of folds, at least 2.

    Returns:
        Fold of each pair, from 0. Shape: (pairs,).

    Raises:
        ValueError: There are fewer genuine or impostor pairs than folds, or fewer than 2 folds.
    """
    genuine = np.asarray(same, bool)
    fewest = int(min(genuine.sum(), (~genuine).sum()))
    if folds < 2:
        raise ValueError(f"cross-validation needs 2 or more folds, not {folds}")
    if folds > fewest:
        rare = "genuine" if genuine.sum() == fewest else "impostor"
        exist = f"there is 1 {rare} pair" if fewest == 1 else f"there are {fewest} {rare} pairs"
        raise ValueError(f"{folds} folds need {folds} or more pairs of each kind, but {exist}")
    fold_of = np.empty(len(genuine), np.int64)
    for kind in (genuine, ~genuine):
        for number, members in enumerate(np.array_split(np.flatnonzero(kind), folds)):
            fold_of[members] = number
    return fold_of


def k_fold_accuracy(
    scores: ArrayLike, same: ArrayLike, folds: int = 10, failed: Sequence[bool] | Flags | None = None
) -> FoldAccuracy:
    """Accuracy by LFW's protocol (Huang et al. 2007): each fold is evaluated with the best threshold of the others.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        folds: Number of folds; see `fold_numbers`.
        failed: True for pairs that could not be compared. Their scores are ignored, and they count as wrong. Shape:
            (pairs,).

    Raises:
        ValueError: As for `roc` and `fold_numbers`.

    Examples:
        >>> scores = [0.9, 0.7, 0.8, 0.6, 0.3, 0.1, 0.2, 0.65]
        >>> same = [True, True, True, True, False, False, False, False]
        >>> found = k_fold_accuracy(scores, same, folds=2)
        >>> found.mean
        0.75
        >>> found.accepted  # the second pair is rejected, and the last one accepted, by mistake
        array([ True, False,  True,  True, False, False, False,  True])
    """
    given = np.asarray(scores, np.float64)
    failures = np.zeros(given.shape, bool) if failed is None else np.asarray(failed, bool)
    values, genuine = require_comparable(np.where(failures, 0.0, given), same)
    fold_of = fold_numbers(genuine, folds)
    thresholds, accuracies, accepted = np.empty(folds), np.empty(folds), np.zeros(len(values), bool)
    for number in range(folds):
        inside, others = fold_of == number, (fold_of != number) & ~failures
        thresholds[number] = best_threshold(values[others], genuine[others])
        accepted[inside] = (values[inside] >= thresholds[number]) & ~failures[inside]
        right = (accepted[inside] == genuine[inside]) & ~failures[inside]
        accuracies[number] = right.mean()
    return FoldAccuracy(accuracies=accuracies, thresholds=thresholds, accepted=accepted)


@dataclass(frozen=True)
class FoldTar:
    """TAR at a FAR, where the threshold of each fold is chosen on the other folds.

    Attributes:
        tars: TAR of each fold. Shape: (folds,).
        fars: Actual FAR of each fold, which can be above or below the requested one. Shape: (folds,).
    """

    tars: Floats
    fars: Floats

    @property
    def mean(self) -> float:
        """Mean TAR over the folds."""
        return float(self.tars.mean())

    @property
    def standard_deviation(self) -> float:
        """Population standard deviation (ddof=0) of the TAR over the folds, as FaceNet's `evaluate` reports it."""
        return float(self.tars.std())

    @property
    def mean_far(self) -> float:
        """Mean actual FAR over the folds."""
        return float(self.fars.mean())


def tar_over_folds(
    scores: ArrayLike, same: ArrayLike, far: float, folds: int = 10, failed: Sequence[bool] | Flags | None = None
) -> FoldTar:
    """Validation rate of FaceNet (Schroff et al. 2015) over the folds of LFW's protocol (Huang et al. 2007).

    The threshold of each fold is chosen by `tar_at_far` on the other folds, and evaluated on the fold itself.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        far: False accept rate, above 0 and at most 1.
        folds: Number of folds; see `fold_numbers`.
        failed: True for pairs that could not be compared. Genuine ones count as rejected, impostor ones are ignored.
            Shape: (pairs,).

    Raises:
        ValueError: As for `roc` and `fold_numbers`, or the other folds have fewer than 1 / far impostor pairs, or no
            impostor pair of a fold could be compared.
    """
    if not 0 < far <= 1:
        raise ValueError(f"the false accept rate must be above 0 and at most 1, not {far}")
    values, genuine, failures = _read(scores, same, failed)
    fold_of, needed = fold_numbers(genuine, folds), int(np.ceil(1 / far - 1e-9))
    tars, fars = np.empty(folds), np.empty(folds)
    for number in range(folds):
        inside, others = fold_of == number, (fold_of != number) & ~failures
        impostors, left = inside & ~genuine & ~failures, int((others & ~genuine).sum())
        if left < needed:
            raise ValueError(
                f"a FAR of {far:g} needs {needed:,} impostor pairs outside each fold, but there are {left:,}"
            )
        if not impostors.any():
            raise ValueError(f"no impostor pair of fold {number + 1} of {folds} could be compared")
        threshold = tar_at_far(values[others], genuine[others], far).threshold
        accepted = (values >= threshold) & ~failures
        tars[number], fars[number] = accepted[inside & genuine].mean(), accepted[impostors].mean()
    return FoldTar(tars=tars, fars=fars)


def folds_share_people(fold_of: ArrayLike, first: ArrayLike, second: ArrayLike) -> bool:
    """Returns True if a person is in two folds, so that the folds are not independent. LFW's folds share no people.

    Args:
        fold_of: The fold of each pair. Shape: (pairs,).
        first: Index of the person in the first picture of each pair. Shape: (pairs,).
        second: Index of the person in the second picture of each pair. Shape: (pairs,).
    """
    folds, people = np.tile(np.asarray(fold_of), 2), np.append(first, second)
    return len(np.unique(np.stack([folds, people]), axis=1).T) > len(np.unique(people))


def standard_error_by_people(right: ArrayLike, first: ArrayLike, second: ArrayLike) -> float:
    """Standard error of verification accuracy on pairs that share people.

    The variance of the mean accounts for the dependence of pairs that share a person (Aronow, Samii and Assenova 2015,
    "Cluster-robust variance estimation for dyadic data"), with the variance for independent pairs as a lower bound. It
    ignores the variance of a threshold chosen on other pairs, which is small since accuracy is flat at its maximum.

    Args:
        right: True for pairs with a correct verdict. Shape: (pairs,).
        first: Index of the person in the first picture of each pair, from 0. Shape: (pairs,).
        second: Index of the person in the second picture of each pair, from 0. Shape: (pairs,).

    Raises:
        ValueError: The shapes differ, or there are no pairs.
    """
    values = np.asarray(right, np.float64)
    people = np.sort(np.stack([np.asarray(first, np.int64), np.asarray(second, np.int64)]), axis=0)
    if values.ndim != 1 or people.shape != (2, len(values)) or not len(values):
        raise ValueError(f"verdicts of shape {values.shape} and people of shape {people.shape[1:]} do not match")
    off, two = values - values.mean(), people[0] != people[1]
    of_person = np.bincount(np.append(people[0], people[1, two]), np.append(off, off[two]))
    # Pairs of the same two people are counted once for each of the two.
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
    """Evaluates two lists of pairs, each with the best threshold of the other.

    Args:
        scores: Scores of the first list. Shape: (pairs,).
        same: True for genuine pairs of the first list. Shape: (pairs,).
        other_scores: Scores of the second list. Shape: (other_pairs,).
        other_same: True for genuine pairs of the second list. Shape: (other_pairs,).
        failed: True for pairs of the first list that could not be compared. Their scores are ignored, and they count as
            wrong. Shape: (pairs,).
        other_failed: The same for the second list. Shape: (other_pairs,).

    Returns:
        `accuracies` of the first and second list, `thresholds` applied to them (each from the other list), and the
        pairs of the first list that were `accepted`. Shapes: (2,), (2,), (pairs,).

    Raises:
        ValueError: As for `roc`, for either list.
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
    """Converts to arrays and checks their shapes. `roc` checks the values."""
    values, genuine = np.asarray(scores, np.float64), np.asarray(same, bool)
    failures = np.zeros(values.shape, bool) if failed is None else np.asarray(failed, bool)
    if values.ndim != 1 or not values.shape == genuine.shape == failures.shape:
        shapes = f"scores of shape {values.shape}, labels of {genuine.shape} and failures of {failures.shape}"
        raise ValueError(f"{shapes} do not match")
    return values, genuine, failures
