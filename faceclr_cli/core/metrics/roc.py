"""Verification metrics: ROC, AUC, EER, TAR at FAR, and accuracy, from one score for each pair.

A pair is accepted if its score is at least the threshold. FAR is the share of impostor pairs accepted, TAR the share of
genuine pairs accepted.
"""

from __future__ import annotations

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


def cosine_scores(left: ArrayLike, right: ArrayLike) -> Floats:
    """Cosine similarities of corresponding rows.

    Args:
        left: Shape: (pairs, dim).
        right: Shape: (pairs, dim).

    Returns:
        Values from -1 to 1; 0 for rows of zeros. Shape: (pairs,).

    Raises:
        ValueError: The shapes differ.

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
    values, genuine = require_comparable(scores, same)
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

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).

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

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).

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
    values, genuine = require_comparable(scores, same)
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

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).

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


def require_comparable(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Flags]:
    """Returns scores and labels of pairs as arrays.

    Raises:
        ValueError: Their shapes differ, a score is not finite, or there are not both genuine and impostor pairs.
    """
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

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).

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
