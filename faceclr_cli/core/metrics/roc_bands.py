"""Confidence bands of the ROC by bootstrap over people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.resampling import pair_interval
from faceclr_cli.core.metrics.roc import Flags, Floats, roc


@dataclass(frozen=True, kw_only=True)
class RocBands:
    """TAR at some false accept rates, with pointwise 95% confidence intervals.

    Attributes:
        tar: True accept rates of all pairs. Shape: (points,).
        low: Lower ends of the intervals. Shape: (points,).
        high: Upper ends of the intervals. Shape: (points,).
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
    """Computes TAR as `tar_at_far` does, with confidence intervals by bootstrap over people.

    People are resampled, not pairs, since pairs that share a person are correlated (Bolle, Ratha and Pankanti 2004,
    "Error analysis of pattern recognition systems: the subsets bootstrap"). The weight of a genuine pair is the number
    of draws of its person, that of an impostor pair the product of the draws of its two people. `pair_interval`
    corrects for the noise that this adds. Each resample has its own threshold for a rate, so the intervals include the
    variation of thresholds.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        first: The person in the first picture of each pair. Shape: (pairs,).
        second: The person in the second picture of each pair. Shape: (pairs,).
        fars: False accept rates, from 0 to 1. Shape: (points,).
        rounds: Number of resamples. Time is proportional to rounds times pairs.
        seed: Seed of the resamples.

    Raises:
        ValueError: As for `roc`, a rate is not from 0 to 1, or the people do not match the pairs.
    """
    curve = roc(scores, same)
    values, genuine, rates = np.asarray(scores, np.float64), np.asarray(same, bool), np.asarray(fars, np.float64)
    if rates.ndim != 1 or not ((rates >= 0) & (rates <= 1)).all():
        raise ValueError("false accept rates must be numbers from 0 to 1")
    people = np.stack([np.asarray(first), np.asarray(second)])
    if people.shape != (2, len(values)):
        raise ValueError(f"people of shape {people.shape[1:]} and scores of shape {values.shape} do not match")
    if ((people[0] == people[1]) != genuine).any():
        raise ValueError("genuine pairs must have one person, and impostor pairs two people")
    # Here and below: 0.29 * 100 is 28.999999999999996.
    reached = np.searchsorted(curve.far, rates + 1e-9 / (~genuine).sum(), "right") - 1
    tar = curve.tar[reached]
    low, high = pair_interval(tar, *_resample_tars(values, genuine, people, rates, rounds, seed))
    return RocBands(tar=tar, low=low, high=high)


def _resample_tars(
    values: Floats, genuine: Flags, people: NDArray[np.generic], rates: Floats, rounds: int, seed: int
) -> tuple[Floats, Floats]:
    """Computes TAR at each rate for resamples of people, and for resamples of impostor pairs.

    Returns:
        Shapes: (rounds, rates), (rounds, rates).
    """
    order = np.argsort(-values, kind="stable")
    names, numbers = np.unique(people[:, order], return_inverse=True)
    numbers, falling, same = numbers.reshape(2, -1), values[order], genuine[order]
    own, (one, other) = numbers[0, same], numbers[:, ~same]
    # Accepted pairs of each kind by threshold, starting above all scores. Equal scores are accepted together.
    last_of_tie = np.append(falling[1:] != falling[:-1], True)
    genuines, impostors = _cumulative(same)[1:][last_of_tie], _cumulative(~same)[1:][last_of_tie]
    genuines, impostors = np.append(0, genuines), np.append(0, impostors)
    generator, pair_generator, done = np.random.default_rng(seed), np.random.default_rng((seed, 1)), 0
    by_people, by_pairs = np.empty((2, rounds, len(rates)))
    while done < rounds:
        times = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        right, wrong = _cumulative(times[own]), _cumulative(times[one] * times[other])
        alone = _cumulative(pair_generator.poisson(1.0, len(one)))
        if 0 in (right[-1], wrong[-1], alone[-1]):
            continue  # A resample without one kind of pair has no ROC.
        point = np.searchsorted(wrong[impostors], rates * wrong[-1] + 1e-9, "right") - 1
        by_people[done] = right[genuines[point]] / right[-1]
        point = np.searchsorted(alone[impostors], rates * alone[-1] + 1e-9, "right") - 1
        by_pairs[done] = genuines[point] / len(own)
        done += 1
    return by_people, by_pairs


def _cumulative(weights: NDArray[np.integer] | Flags) -> NDArray[np.int64]:
    """Returns the sums of the first 0, 1, 2, ... weights. Shape: (weights + 1,)."""
    sums = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=sums[1:])
    return sums
