"""How well one number per pair tells genuine pairs from impostor pairs.

A pair is accepted where its score is at least the threshold. FAR is the share of impostor pairs
accepted, TAR the share of genuine pairs accepted.
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
    """Every operating point of a set of scores, from the strictest to the laxest.

    Attributes:
        far: Shape: (points,).
        tar: Shape: (points,).
        thresholds: One above every score, then each distinct score, falling. Shape: (points,).
    """

    far: Floats
    tar: Floats
    thresholds: Floats


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it measured."""

    threshold: float
    far: float
    tar: float


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy where each fold is judged by a threshold that the other folds chose.

    Attributes:
        accuracies: Shape: (folds,).
        thresholds: Shape: (folds,).
        accepted: Verdict on each pair by its fold's threshold. Shape: (pairs,).
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
        """Standard deviation over the folds divided by the root of their number, as LFW reports it."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))


def cosine_scores(left: ArrayLike, right: ArrayLike) -> Floats:
    """Cosine similarity of each row with the row across from it.

    Args:
        left: Shape: (pairs, dim).
        right: Shape: (pairs, dim).

    Returns:
        Values from -1 to 1; 0 where a row is all zeros. Shape: (pairs,).

    Examples:
        >>> cosine_scores([[1, 0], [1, 1]], [[2, 0], [1, -1]])
        array([1., 0.])
    """
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"rows of {a.shape} and {b.shape} don't make pairs")
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Floats = np.einsum("nd,nd->n", a, b) / np.where(lengths == 0, 1, lengths)
    return np.clip(cosines, -1, 1)


def roc(scores: ArrayLike, same: ArrayLike) -> Roc:
    """The receiver operating characteristic with no point left out.

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
    values, genuine = _checked(scores, same)
    order = np.argsort(-values, kind="stable")
    values, genuine = values[order], genuine[order]
    # Pairs with one score are accepted together.
    last_of_tie = np.append(values[1:] != values[:-1], True)
    accepted_genuine = np.cumsum(genuine)[last_of_tie]
    accepted_impostor = np.cumsum(~genuine)[last_of_tie]
    return Roc(
        far=np.append(0.0, accepted_impostor / (~genuine).sum()),
        tar=np.append(0.0, accepted_genuine / genuine.sum()),
        thresholds=np.append(np.nextafter(values[0], np.inf), values[last_of_tie]),
    )


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the ROC: the chance that a genuine pair scores above an impostor pair, ties counting half.

    Raises:
        ValueError: As for `roc`.

    Examples:
        >>> auc([0.75, 0.5, 0.25, 0.0], [True, False, True, False])
        0.75
    """
    curve = roc(scores, same)
    return float(np.sum(np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2))


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Equal error rate: where FAR equals the share of genuine pairs rejected, between points on a straight line.

    Raises:
        ValueError: As for `roc`.

    Examples:
        >>> eer([0.75, 0.5, 0.25, 0.0], [True, False, True, False])
        0.5
    """
    curve = roc(scores, same)
    # From -1 at the strictest point to 1 at the laxest, never falling.
    gap = curve.far - (1 - curve.tar)
    after = int(np.argmax(gap >= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(curve.far[after - 1] + share * (curve.far[after] - curve.far[after - 1]))


def tar_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> OperatingPoint:
    """The laxest threshold that accepts at most the share `far` of the impostor pairs.

    Exact: decided by the order of the impostor scores, never interpolated. The FAR returned is the one
    that was reached, which ties can hold well below the one asked for.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        far: From 0 to 1. Below 1 / impostor pairs it allows not a single one, and measures little.

    Raises:
        ValueError: As for `roc`, or `far` is no share.

    Examples:
        >>> scores, same = [0.9, 0.7, 0.4, 0.6, 0.3], [True, True, True, False, False]
        >>> tar_at_far(scores, same, far=0.5)
        OperatingPoint(threshold=0.4, far=0.5, tar=1.0)
        >>> tar_at_far(scores, same, far=0.1).threshold
        0.7
    """
    if not 0 <= far <= 1:
        raise ValueError(f"a false accept rate is from 0 to 1, not {far}")
    values, genuine = _checked(scores, same)
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
    """The threshold with the most right verdicts, halfway between the scores that it parts.

    Where several are equally right, the strictest.

    Raises:
        ValueError: As for `roc`.

    Examples:
        >>> best_threshold([0.75, 0.5, 0.25, 0.0], [True, True, False, False])
        0.375
    """
    curve = roc(scores, same)
    genuine = np.asarray(same, bool)
    right = curve.tar * genuine.sum() - curve.far * (~genuine).sum()
    # Rounded, since shares of pairs are not exact and equal counts must tie.
    best = int(np.argmax(np.rint(right)))
    if best in (0, len(right) - 1):
        return float(curve.thresholds[best])
    low, high = curve.thresholds[best + 1], curve.thresholds[best]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


def fold_numbers(same: ArrayLike, folds: int) -> NDArray[np.int64]:
    """Divides pairs into folds: runs of consecutive pairs, each with its share of genuine and of impostor pairs.

    On LFW's `pairs.txt` with ten folds they are its own.

    Args:
        same: True for genuine pairs. Shape: (pairs,).
        folds: At least 2.

    Returns:
        The fold of each pair, from 0. Shape: (pairs,).

    Raises:
        ValueError: There are fewer genuine or impostor pairs than folds, or fewer than 2 folds.
    """
    genuine = np.asarray(same, bool)
    fewest = int(min(genuine.sum(), (~genuine).sum()))
    if not 2 <= folds <= fewest:
        raise ValueError(f"{folds} folds need at least 2 folds and as many pairs of each kind; there are {fewest}")
    fold_of = np.empty(len(genuine), np.int64)
    for kind in (genuine, ~genuine):
        for number, members in enumerate(np.array_split(np.flatnonzero(kind), folds)):
            fold_of[members] = number
    return fold_of


def k_fold_accuracy(
    scores: ArrayLike, same: ArrayLike, folds: int = 10, failed: Sequence[bool] | Flags | None = None
) -> FoldAccuracy:
    """LFW's protocol (Huang et al. 2007): each fold is judged by the best threshold of the others.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        folds: As `fold_numbers` divides the pairs.
        failed: True for pairs that could not be compared: their scores don't count, and their verdict is
            wrong. Shape: (pairs,).

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
    values, genuine = _checked(np.where(failures, 0.0, given), same)
    fold_of = fold_numbers(genuine, folds)
    thresholds, accuracies, accepted = np.empty(folds), np.empty(folds), np.zeros(len(values), bool)
    for number in range(folds):
        inside, others = fold_of == number, (fold_of != number) & ~failures
        thresholds[number] = best_threshold(values[others], genuine[others])
        accepted[inside] = (values[inside] >= thresholds[number]) & ~failures[inside]
        right = (accepted[inside] == genuine[inside]) & ~failures[inside]
        accuracies[number] = right.mean()
    return FoldAccuracy(accuracies=accuracies, thresholds=thresholds, accepted=accepted)


def _checked(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Flags]:
    values, genuine = np.asarray(scores, np.float64), np.asarray(same, bool)
    if values.ndim != 1 or values.shape != genuine.shape:
        raise ValueError(f"scores of {values.shape} and labels of {genuine.shape} don't go together")
    if not np.isfinite(values).all():
        raise ValueError("a score is not a finite number")
    if genuine.all() or not genuine.any():
        raise ValueError("verification needs both genuine and impostor pairs")
    return values, genuine


def every_pair(embeddings: ArrayLike, labels: ArrayLike) -> tuple[Floats, Flags]:
    """The cosine similarity of every two rows, each pair once, and whether it is genuine.

    Holds all pairs in memory: for some thousand rows.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).

    Returns:
        Shape of each: (N * (N - 1) / 2,).

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
    """The threshold at which most pairs are judged right if genuine and impostor pairs count the same in all.

    Returns:
        The threshold, and the mean of the shares of genuine pairs accepted and of impostor pairs refused. Of several
        equally good thresholds the strictest.

    Raises:
        ValueError: As for `roc`.
    """
    curve = roc(scores, same)
    right = (curve.tar + 1 - curve.far) / 2
    best = int(np.argmax(np.round(right, 12)))
    low = curve.thresholds[best + 1] if best + 1 < len(right) else curve.thresholds[best]
    return float((low + curve.thresholds[best]) / 2), float(right[best])
