"""Verification metrics: ROC, AUC, EER, TAR at FAR, and accuracy, from one score for each pair.

A pair is accepted if its score is at least the threshold. FAR is the share of impostor pairs accepted, TAR the share of
genuine pairs accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Roc:
    """All operating points of a set of scores, from the strictest to the laxest.

    Attributes:
        far: False accept rates. Shape: (points,).
        tar: True accept rates. Shape: (points,).
        thresholds: A value above all scores, then the distinct scores in descending order. Shape: (points,).
    """

    far: Floats
    tar: Floats
    thresholds: Floats


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and its measured rates."""

    threshold: float
    far: float
    tar: float


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


def cosine_scores(left: ArrayLike, right: ArrayLike) -> Floats:
    """Cosine similarities of corresponding rows.

    Args:
        left: Shape: (pairs, dim).
        right: Shape: (pairs, dim).

    Returns:
        Values from -1 to 1; 0 for rows of zeros. Shape: (pairs,).

    Examples:
        >>> cosine_scores([[1, 0], [1, 1]], [[2, 0], [1, -1]])
        array([1., 0.])
    """
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"left and right must have the same two-dimensional shape, not {a.shape} and {b.shape}")
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Floats = np.einsum("nd,nd->n", a, b) / np.where(lengths == 0, 1, lengths)
    return np.clip(cosines, -1, 1)


def roc(scores: ArrayLike, same: ArrayLike) -> Roc:
    """Computes the receiver operating characteristic with all its points.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).

    Raises:
        ValueError: The shapes differ, a score is not finite, or one kind of pair is missing.

    Examples:
        >>> curve = roc([0.75, 0.5, 0.25, 0.0], [True, False, True, False])
        >>> curve.far
        array([0. , 0. , 0.5, 0.5, 1. ])
        >>> curve.tar
        array([0. , 0.5, 0.5, 1. , 1. ])
        >>> curve.thresholds[1:]
        array([0.75, 0.5 , 0.25, 0.  ])
    """
    values, genuine = _validate(scores, same)
    order = np.argsort(-values, kind="stable")
    values, genuine = values[order], genuine[order]
    # Pairs with equal scores are accepted together.
    last_of_tie = np.append(values[1:] != values[:-1], True)
    accepted_genuine = np.cumsum(genuine)[last_of_tie]
    accepted_impostor = np.cumsum(~genuine)[last_of_tie]
    return Roc(
        far=np.append(0.0, accepted_impostor / (~genuine).sum()),
        tar=np.append(0.0, accepted_genuine / genuine.sum()),
        thresholds=np.append(np.nextafter(values[0], np.inf), values[last_of_tie]),
    )


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the ROC: the probability that a genuine pair scores higher than an impostor pair. Ties count half.

    Raises:
        ValueError: As for `roc`.

    Examples:
        >>> auc([0.75, 0.5, 0.25, 0.0], [True, False, True, False])
        0.75
    """
    curve = roc(scores, same)
    return float(np.sum(np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2))


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Equal error rate, at which FAR equals 1 - TAR, with linear interpolation between points.

    Raises:
        ValueError: As for `roc`.

    Examples:
        >>> eer([0.75, 0.5, 0.25, 0.0], [True, False, True, False])
        0.5
    """
    curve = roc(scores, same)
    # Increases monotonically from -1 at the strictest point to 1 at the laxest.
    gap = curve.far - (1 - curve.tar)
    after = int(np.argmax(gap >= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(curve.far[after - 1] + share * (curve.far[after] - curve.far[after - 1]))


def tar_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> OperatingPoint:
    """Finds the laxest threshold that does not exceed a false accept rate.

    The threshold is determined by the order of the impostor scores, without interpolation. With ties, the actual rate
    that is returned can be well below the requested one.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        far: False accept rate, from 0 to 1. Below 1 / (number of impostor pairs) it allows no impostor pair.

    Raises:
        ValueError: As for `roc`, or `far` is not from 0 to 1.

    Examples:
        >>> scores, same = [0.9, 0.7, 0.4, 0.6, 0.3], [True, True, True, False, False]
        >>> tar_at_far(scores, same, far=0.5)
        OperatingPoint(threshold=0.4, far=0.5, tar=1.0)
        >>> tar_at_far(scores, same, far=0.1).threshold
        0.7
    """
    if not 0 <= far <= 1:
        raise ValueError(f"the false accept rate must be from 0 to 1, not {far}")
    values, genuine = _validate(scores, same)
    impostors = np.sort(values[~genuine])[::-1]
    # 0.29 * 100 is 28.999999999999996.
    allowed = int(np.floor(far * len(impostors) + 1e-9))
    if allowed >= len(impostors):
        threshold = values.min()
    else:
        refused = impostors[allowed]
        threshold = np.min(values[values > refused], initial=np.inf)
        if np.isinf(threshold):
            threshold = np.nextafter(refused, np.inf)
    return OperatingPoint(
        threshold=float(threshold),
        far=float(np.mean(impostors >= threshold)),
        tar=float(np.mean(values[genuine] >= threshold)),
    )


def best_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """Finds the threshold with the highest accuracy, halfway between the two scores that it separates.

    Among equally accurate thresholds, the strictest is returned.

    Raises:
        ValueError: As for `roc`.

    Examples:
        >>> best_threshold([0.75, 0.5, 0.25, 0.0], [True, True, False, False])
        0.375
    """
    curve = roc(scores, same)
    genuine = np.asarray(same, bool)
    right = curve.tar * genuine.sum() - curve.far * (~genuine).sum()
    # Rounded to whole pairs, so that equal counts tie despite the rounding of rates.
    best = int(np.argmax(np.rint(right)))
    if best in (0, len(right) - 1):
        return float(curve.thresholds[best])
    low, high = curve.thresholds[best + 1], curve.thresholds[best]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


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
        raise ValueError(f"{folds} folds need {folds} or more pairs of each kind, but there are {fewest} {rare} pairs")
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
    values, genuine = _validate(np.where(failures, 0.0, given), same)
    fold_of = fold_numbers(genuine, folds)
    thresholds, accuracies, accepted = np.empty(folds), np.empty(folds), np.zeros(len(values), bool)
    for number in range(folds):
        inside, others = fold_of == number, (fold_of != number) & ~failures
        thresholds[number] = best_threshold(values[others], genuine[others])
        accepted[inside] = (values[inside] >= thresholds[number]) & ~failures[inside]
        right = (accepted[inside] == genuine[inside]) & ~failures[inside]
        accuracies[number] = right.mean()
    return FoldAccuracy(accuracies=accuracies, thresholds=thresholds, accepted=accepted)


def _validate(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Flags]:
    values, genuine = np.asarray(scores, np.float64), np.asarray(same, bool)
    if values.ndim != 1 or values.shape != genuine.shape:
        raise ValueError(f"scores of shape {values.shape} and labels of shape {genuine.shape} do not match")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite")
    if genuine.all() or not genuine.any():
        raise ValueError("verification needs both genuine and impostor pairs")
    return values, genuine


def every_pair(embeddings: ArrayLike, labels: ArrayLike) -> tuple[Floats, Flags]:
    """Computes the cosine similarity of all pairs of rows. All pairs are held in memory.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).

    Returns:
        Scores, and True for genuine pairs. Shape of each: (N * (N - 1) / 2,).

    Examples:
        >>> scores, same = every_pair([[1, 0], [3, 0], [0, 1]], ["ann", "ann", "bob"])
        >>> scores
        array([1., 0., 0.])
        >>> same
        array([ True, False, False])
    """
    rows, people = np.asarray(embeddings, np.float64), np.asarray(labels)
    rows = normalize_rows(rows)
    above = np.triu_indices(len(rows), 1)
    return np.clip((rows @ rows.T)[above], -1, 1), people[above[0]] == people[above[1]]


def balanced_threshold(scores: ArrayLike, same: ArrayLike) -> tuple[float, float]:
    """Finds the threshold with the highest balanced accuracy.

    Among equally accurate thresholds, the strictest is returned.

    Returns:
        The threshold, and the balanced accuracy (TAR + 1 - FAR) / 2.

    Raises:
        ValueError: As for `roc`.
    """
    curve = roc(scores, same)
    right = (curve.tar + 1 - curve.far) / 2
    best = int(np.argmax(np.round(right, 12)))
    low = curve.thresholds[best + 1] if best + 1 < len(right) else curve.thresholds[best]
    return float((low + curve.thresholds[best]) / 2), float(right[best])
