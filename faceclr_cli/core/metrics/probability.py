"""From the similarity of two faces to the chance that they are one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from faceclr_cli.core.metrics.roc import Floats

_STEPS = 1000
"""Of the fit: tens are usual, and hundreds where few pairs lie between the kinds."""

_LONGEST = 3.0
"""Step in log odds, lest the first ones overshoot to where every chance is 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """The chance that two faces are one person, where genuine and impostor pairs are equally likely beforehand.

    Where genuine pairs have odds of o to 1 beforehand, log(o) is added to the offset.

    Attributes:
        slope: Log odds for each unit of similarity. Never negative.
        offset: Log odds at a similarity of 0.
    """

    slope: float
    offset: float

    def among(self, people: int) -> Logistic:
        """The chance that a face is a certain one of several people, where any of them is as likely as a stranger.

        The even odds beforehand are divided among the people: each has odds of 1 to `people`.
        """
        return Logistic(slope=self.slope, offset=self.offset - float(np.log(people)))

    def __call__(self, similarity: ArrayLike) -> Floats:
        """1 / (1 + exp(-(slope * similarity + offset))).

        Args:
            similarity: Of any shape.

        Returns:
            From 0 to 1, of the same shape.
        """
        # exp() of the log odds themselves would overflow below -709.
        return np.exp(-np.logaddexp(0, -(self.slope * np.asarray(similarity, np.float64) + self.offset)))


def fit_logistic(scores: ArrayLike, same: ArrayLike) -> Logistic:
    """Fits the chance to scores; genuine and impostor pairs have half of the weight each.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).

    Raises:
        ValueError: The shapes differ, a score is not finite, or one kind of pair is missing.

    Examples:
        >>> chance = fit_logistic([0.7, 0.6, 0.3, 0.1, 0.0, 0.4], [True, True, True, False, False, False])
        >>> chance([0.0, 0.35, 0.7]).round(2)
        array([0.14, 0.5 , 0.86])
    """
    genuine = np.asarray(same, bool)
    return fit_logistic_counts(scores, genuine, ~genuine)


def fit_logistic_counts(centers: ArrayLike, genuine_counts: ArrayLike, impostor_counts: ArrayLike) -> Logistic:
    """As `fit_logistic`, of pairs that are counted by their score.

    The curve of the largest likelihood is infinitely steep where the scores part the kinds perfectly, and too steep
    where they nearly do. So this is the largest likelihood times Jeffreys' prior (Firth 1993, "Bias reduction of
    maximum likelihood estimates"; Heinze and Schemper 2002, "A solution to the problem of separation in logistic
    regression"): always finite, with nothing to tune, the same on any scale of scores, and of no effect where pairs are
    many. n pairs of each kind, all alike, give a chance of (n + 1/2) / (n + 1). Platt's softened labels (1999) would be
    finite too, but make curves far too flat where the kinds hardly overlap, as those of a good encoder do.

    Each kind weighs as much as the kind with fewer pairs has pairs, so that more of the other add no certainty.

    Args:
        centers: The score of each bin. Shape: (bins,).
        genuine_counts: Genuine pairs in each bin. Shape: (bins,).
        impostor_counts: Impostor pairs in each bin. Shape: (bins,).

    Raises:
        ValueError: As for `fit_logistic`, or a count is negative or not finite.
    """
    values, genuine, impostor = (np.asarray(given, np.float64) for given in (centers, genuine_counts, impostor_counts))
    _check(values, genuine, impostor)
    used = genuine + impostor > 0
    values, genuine, impostor = values[used], genuine[used], impostor[used]
    if np.ptp(values) == 0:
        return Logistic(slope=0.0, offset=0.0)
    fewest = min(genuine.sum(), impostor.sum())
    genuine, impostor = genuine * (fewest / genuine.sum()), impostor * (fewest / impostor.sum())
    # Values of mean 0 and deviation 1 make a well-conditioned problem of any scale of scores.
    center = np.average(values, weights=genuine + impostor)
    spread = np.sqrt(np.average((values - center) ** 2, weights=genuine + impostor))
    slope, offset = _firth((values - center) / spread, genuine, impostor)
    if slope <= 0:  # Of the curves that don't fall, the flat one is then the most likely.
        return Logistic(slope=0.0, offset=0.0)
    return Logistic(slope=float(slope / spread), offset=float(offset - slope * center / spread))


def _firth(values: Floats, genuine: Floats, impostor: Floats) -> Floats:
    """Slope and offset of Firth's logistic regression, by Newton's method.

    Its score equations are those of plain logistic regression in which each bin has, beside its pairs, half a pair of
    each kind times its leverage.
    """
    rows, pairs, found = np.stack([values, np.ones_like(values)]), genuine + impostor, np.zeros(2)
    for _ in range(_STEPS):
        chances = Logistic(slope=found[0], offset=found[1])(values)
        variance = chances * (1 - chances)
        information = (rows * (pairs * variance)) @ rows.T
        leverage = pairs * variance * np.sum(rows * np.linalg.solve(information, rows), axis=0)
        excess = rows @ (genuine + leverage / 2 - (pairs + leverage) * chances)
        step = np.linalg.solve((rows * ((pairs + leverage) * variance)) @ rows.T, excess)
        length = np.abs(step).max()
        found += step * min(1.0, _LONGEST / length) if length else 0.0
        if length <= 1e-10 * max(1.0, np.abs(found).max()):
            return found
    raise ValueError("no curve fits these scores: are some of them far away from all others?")


def _check(values: Floats, genuine: Floats, impostor: Floats) -> None:
    if values.ndim != 1 or not values.shape == genuine.shape == impostor.shape:
        raise ValueError(f"scores of {values.shape} and labels of {genuine.shape} don't go together")
    if not np.isfinite(values).all():
        raise ValueError("a score is not a finite number")
    for counts in (genuine, impostor):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError("a count of pairs is negative or not finite")
        if not counts.any():
            raise ValueError("a probability needs both genuine and impostor pairs")


def fit_temperature(scores: ArrayLike, labels: ArrayLike) -> float:
    """What to divide a classifier's scores by, so that the softmax of them is how often it is right.

    By maximum likelihood on pictures that it did not learn from (Guo et al., On Calibration of Modern Neural Networks,
    2017). As Platt (1999) does, each of the n pictures counts as its person with (n + 1) / (n + 2), and as any other
    with an equal share of the rest: where all are named right, no finite temperature would be cold enough otherwise.

    Args:
        scores: Shape: (pictures, people).
        labels: The person of each, as a number. Shape: (pictures,).

    Raises:
        ValueError: The shapes differ, there are no pictures, or fewer than two people.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows, own = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if rows.ndim != 2 or own.shape != rows.shape[:1] or not len(rows) or rows.shape[1] < 2:
        raise ValueError(f"scores of {rows.shape} and labels of {own.shape} don't go together")
    pictures, people = rows.shape
    targets = np.full(rows.shape, 1 / (pictures + 2) / (people - 1))
    targets[np.arange(pictures), own] = (pictures + 1) / (pictures + 2)
    spread = max(float(np.ptp(rows, axis=1).mean()), np.finfo(np.float32).tiny)

    def unlikelihood(logarithm: float) -> float:
        return -float((targets * log_softmax(rows / (spread * np.exp(logarithm)), axis=1)).sum())

    found = minimize_scalar(unlikelihood, bounds=(-9.0, 9.0), method="bounded", options={"xatol": 1e-6})
    return float(spread * np.exp(found.x))
