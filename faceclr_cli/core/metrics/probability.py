"""Match probabilities by similarity, and temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from faceclr_cli.core.metrics.roc import Floats

_STEPS = 1000
"""Maximum number of Newton steps. Usually tens are needed, or hundreds if the two kinds of pairs overlap little."""

_LONGEST = 3.0
"""Maximum step in log odds, so that early steps do not overshoot to probabilities of 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """The probability that two faces show the same person, for equal prior odds.

    For prior odds of o to 1, add log(o) to the offset.

    Attributes:
        slope: Log odds per unit of similarity; never negative.
        offset: Log odds at a similarity of 0.
    """

    slope: float
    offset: float

    def among(self, pictures: int) -> Logistic:
        """Returns the probability that a face shows the person of the most similar of several pictures.

        The prior odds of 1 to 1 that it shows anyone in the pictures are divided by their number, since each is another
        chance for a stranger to be similar. With several pictures of each person, dividing by the number of people
        would overstate the probability: it would be 70% where 18% (5 pictures each) or 1% (20 each) are right.
        """
        return Logistic(slope=self.slope, offset=self.offset - float(np.log(pictures)))

    def __call__(self, similarity: ArrayLike) -> Floats:
        """1 / (1 + exp(-(slope * similarity + offset))).

        Args:
            similarity: Similarities, of any shape.

        Returns:
            Probabilities, of the same shape.
        """
        # exp() of the negated log odds would overflow for log odds below -709.
        return np.exp(-np.logaddexp(0, -(self.slope * np.asarray(similarity, np.float64) + self.offset)))


def fit_logistic(scores: ArrayLike, same: ArrayLike) -> Logistic:
    """Fits the probability to scores. Genuine and impostor pairs have half of the total weight each.

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
    """Fits the probability to a histogram of scores; see `fit_logistic`.

    The maximum likelihood curve is infinitely steep if the scores separate the two kinds of pairs perfectly, and too
    steep if they nearly do. This fit therefore maximizes the likelihood times Jeffreys' prior (Firth 1993, "Bias
    reduction of maximum likelihood estimates"; Heinze and Schemper 2002, "A solution to the problem of separation in
    logistic regression"). It is always finite, has no parameters, is invariant to the scale of the scores, and the
    effect of the prior vanishes for many pairs: n equal scores of each kind give a probability of (n + 1/2) / (n + 1).
    Platt's smoothed labels (1999) are finite too, but give curves that are far too flat if the kinds overlap little,
    as for a good encoder.

    The weight of each kind is the number of pairs of the rarer kind, so surplus pairs of the other add no certainty.

    Args:
        centers: Score of each bin. Shape: (bins,).
        genuine_counts: Number of genuine pairs in each bin. Shape: (bins,).
        impostor_counts: Number of impostor pairs in each bin. Shape: (bins,).

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
    # Standardized scores are well-conditioned, regardless of their original scale.
    center = np.average(values, weights=genuine + impostor)
    spread = np.sqrt(np.average((values - center) ** 2, weights=genuine + impostor))
    slope, offset = _firth((values - center) / spread, genuine, impostor)
    if slope <= 0:  # Among the curves that do not decrease, the flat one is then the most likely.
        return Logistic(slope=0.0, offset=0.0)
    return Logistic(slope=float(slope / spread), offset=float(offset - slope * center / spread))


def _firth(values: Floats, genuine: Floats, impostor: Floats) -> Floats:
    """Computes slope and offset of Firth's logistic regression by Newton's method.

    Its score equations are those of ordinary logistic regression in which each bin has additional pairs: half its
    leverage of each kind.
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
    raise ValueError("the logistic fit does not converge; some scores may be extreme outliers")


def _check(values: Floats, genuine: Floats, impostor: Floats) -> None:
    if values.ndim != 1 or not values.shape == genuine.shape == impostor.shape:
        raise ValueError(f"scores of shape {values.shape} and labels of shape {genuine.shape} do not match")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite")
    for counts in (genuine, impostor):
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError("a count of pairs is negative or not finite")
        if not counts.any():
            raise ValueError("a probability needs both genuine and impostor pairs")


def fit_temperature(scores: ArrayLike, labels: ArrayLike) -> float:
    """Fits the temperature that calibrates the softmax of a classifier's scores.

    The fit maximizes the likelihood on held-out pictures (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    With Platt's smoothed labels (1999), the person of each of the n pictures has a target of (n + 1) / (n + 2), and the
    other people share the rest equally. Without smoothing, the temperature would be 0 if all pictures are classified
    correctly.

    Args:
        scores: Shape: (pictures, people).
        labels: Index of the person in each picture. Shape: (pictures,).

    Returns:
        The temperature to divide scores by.

    Raises:
        ValueError: The shapes differ, there are no pictures, or fewer than two people.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows, own = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if rows.ndim != 2 or own.shape != rows.shape[:1] or not len(rows) or rows.shape[1] < 2:
        raise ValueError(f"scores of shape {rows.shape} and labels of shape {own.shape} do not match")
    pictures, people = rows.shape
    targets = np.full(rows.shape, 1 / (pictures + 2) / (people - 1))
    targets[np.arange(pictures), own] = (pictures + 1) / (pictures + 2)
    spread = max(float(np.ptp(rows, axis=1).mean()), np.finfo(np.float32).tiny)

    def negative_log_likelihood(logarithm: float) -> float:
        return -float((targets * log_softmax(rows / (spread * np.exp(logarithm)), axis=1)).sum())

    found = minimize_scalar(negative_log_likelihood, bounds=(-9.0, 9.0), method="bounded", options={"xatol": 1e-6})
    return float(spread * np.exp(found.x))
