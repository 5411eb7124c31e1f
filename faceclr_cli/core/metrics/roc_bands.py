"""How far a ROC could have lain elsewhere if other people had been photographed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.resampling import pair_interval
from faceclr_cli.core.metrics.roc import Flags, Floats, roc


@dataclass(frozen=True, kw_only=True)
class RocBands:
    """A ROC at some false accept rates, and its pointwise 95% intervals.

    Attributes:
        tar: Of all pairs. Shape: (points,).
        low: Lower ends. Shape: (points,).
        high: Upper ends. Shape: (points,).
    """

    tar: Floats
    low: Floats
    high: Floats


def roc_bands(
    scores: ArrayLike,
    same: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    fars: ArrayLike,
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> RocBands:
    """Measures TAR by the rule of `tar_at_far`, with intervals by bootstrap over people.

    People are drawn, not pairs, since pairs that share a person are not independent of each other (Bolle, Ratha and
    Pankanti 2004, "Error analysis of pattern recognition systems: the subsets bootstrap"). A genuine pair counts as
    often as its person was drawn, an impostor pair as often as its first person times as often as its second; what that
    adds to the noise of single pairs is taken away (`pair_interval`). Each draw has its own threshold for a rate, so
    the intervals hold what chance does to thresholds too.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        first: The person on the first picture of each pair, as a number. Shape: (pairs,).
        second: And on the second. Shape: (pairs,).
        fars: False accept rates, from 0 to 1. Shape: (points,).
        rounds: Resamples. Time grows with rounds times pairs.
        seed: Of the draws.

    Raises:
        ValueError: As for `roc`, a rate is no share, or the people don't go together with the pairs.
    """
    curve = roc(scores, same)
    values, genuine, rates = np.asarray(scores, np.float64), np.asarray(same, bool), np.asarray(fars, np.float64)
    if rates.ndim != 1 or not ((rates >= 0) & (rates <= 1)).all():
        raise ValueError("false accept rates are a list of numbers from 0 to 1")
    people = np.stack([np.asarray(first), np.asarray(second)])
    if people.shape != (2, len(values)):
        raise ValueError(f"people of {people.shape[1:]} and scores of {values.shape} don't go together")
    if ((people[0] == people[1]) != genuine).any():
        raise ValueError("a genuine pair is of one person, and an impostor pair of two")
    # Here and below: 0.29 * 100 is 28.999999999999996.
    reached = np.searchsorted(curve.far, rates + 1e-9 / (~genuine).sum(), "right") - 1
    tar = curve.tar[reached]
    low, high = pair_interval(tar, *_resampled(values, genuine, people, rates, rounds, seed))
    return RocBands(tar=tar, low=low, high=high)


def _resampled(
    values: Floats, genuine: Flags, people: NDArray[np.generic], rates: Floats, rounds: int, seed: int
) -> tuple[Floats, Floats]:
    """TAR at each rate of other draws of as many people, and of other draws of the impostor pairs alone.

    Returns:
        Shapes: (rounds, rates), (rounds, rates).
    """
    order = np.argsort(-values, kind="stable")
    names, numbers = np.unique(people[:, order], return_inverse=True)
    numbers, falling, same = numbers.reshape(2, -1), values[order], genuine[order]
    own, (one, other) = numbers[0, same], numbers[:, ~same]
    # How many pairs of each kind each threshold accepts, from a threshold above all; pairs with one score together.
    last_of_tie = np.append(falling[1:] != falling[:-1], True)
    genuines, impostors = _running(same)[1:][last_of_tie], _running(~same)[1:][last_of_tie]
    genuines, impostors = np.append(0, genuines), np.append(0, impostors)
    chance, chance_of_pairs, done = np.random.default_rng(seed), np.random.default_rng((seed, 1)), 0
    by_people, by_pairs = np.empty((2, rounds, len(rates)))
    while done < rounds:
        times = np.bincount(chance.integers(0, len(names), len(names)), minlength=len(names))
        right, wrong = _running(times[own]), _running(times[one] * times[other])
        alone = _running(chance_of_pairs.poisson(1.0, len(one)))
        if 0 in (right[-1], wrong[-1], alone[-1]):
            continue  # A draw without one kind of pair has no ROC.
        point = np.searchsorted(wrong[impostors], rates * wrong[-1] + 1e-9, "right") - 1
        by_people[done] = right[genuines[point]] / right[-1]
        point = np.searchsorted(alone[impostors], rates * alone[-1] + 1e-9, "right") - 1
        by_pairs[done] = genuines[point] / len(own)
        done += 1
    return by_people, by_pairs


def _running(weights: NDArray[np.integer] | Flags) -> NDArray[np.int64]:
    """The sum of the first 0, 1, 2, ... weights. Shape: (weights + 1,)."""
    sums = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=sums[1:])
    return sums
