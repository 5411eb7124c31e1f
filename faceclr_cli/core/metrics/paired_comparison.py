"""Comparison of the verdicts of two encoders on the same pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.resampling import pair_interval


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The difference of two accuracies.

    Attributes:
        difference: Accuracy of the first encoder minus that of the second.
        low: Lower end of the 95% confidence interval.
        high: Upper end of the interval.
        only_first: Number of pairs on which only the first encoder is right.
        only_second: Number of pairs on which only the second encoder is right.
        p_value: Exact two-sided McNemar test of the hypothesis that both encoders are equally accurate. It assumes
            that pairs are independent, so the interval is more reliable if pairs share people.
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float


def compare_verdicts(
    right: ArrayLike,
    other_right: ArrayLike,
    same: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Compares two encoders by their verdicts on the same pairs.

    The interval is a bootstrap over people; see `roc_bands` and `pair_interval`. Differences of pairs are resampled, so
    what both encoders get wrong cancels out, and the interval is much narrower than those of the two accuracies.

    Args:
        right: True for pairs with a correct verdict of the first encoder. Shape: (pairs,).
        other_right: The same for the second encoder. Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        first: Index of the person in the first picture of each pair, from 0. Shape: (pairs,).
        second: Index of the person in the second picture of each pair, from 0. Shape: (pairs,).
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: The shapes differ, there are no pairs, or the people contradict `same`.
    """
    off = np.asarray(right, bool).astype(np.int64) - np.asarray(other_right, bool).astype(np.int64)
    genuine, people = np.asarray(same, bool), np.stack([np.asarray(first, np.int64), np.asarray(second, np.int64)])
    if off.ndim != 1 or not len(off) or off.shape != genuine.shape or people.shape != (2, len(off)):
        raise ValueError(f"verdicts of shape {off.shape} and people of shape {people.shape[1:]} do not match")
    if ((people[0] == people[1]) != genuine).any():
        raise ValueError("genuine pairs must have one person, and impostor pairs two people")
    measured = np.array([off.mean()])
    low, high = pair_interval(measured, *_resample_differences(off, genuine, people, rounds, seed))
    one, two = int((off > 0).sum()), int((off < 0).sum())
    return PairedDifference(
        difference=float(measured[0]),
        low=float(low[0]),
        high=float(high[0]),
        only_first=one,
        only_second=two,
        p_value=mcnemar_p_value(one, two),
    )


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (McNemar 1947).

    Args:
        only_first: Number of cases on which only the first of two classifiers is right.
        only_second: Number of cases on which only the second one is right.

    Examples:
        >>> mcnemar_p_value(0, 5)
        0.0625
        >>> mcnemar_p_value(0, 0)
        1.0
    """
    from scipy.stats import binomtest  # Takes long to import, and few commands need it.

    total = only_first + only_second
    return float(binomtest(only_first, total).pvalue) if total else 1.0


def _resample_differences(
    off: NDArray[np.int64], genuine: NDArray[np.bool_], people: NDArray[np.int64], rounds: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Computes the difference for resamples of people, and for resamples of impostor pairs.

    Returns:
        Shapes: (rounds, 1), (rounds, 1).
    """
    count = int(people.max()) + 1
    generator, pair_generator, done = np.random.default_rng(seed), np.random.default_rng((seed, 1)), 0
    by_people, by_pairs = np.empty((2, rounds, 1))
    while done < rounds:
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        weights = np.where(genuine, times[people[0]], times[people[0]] * times[people[1]])
        alone = np.where(genuine, 1, pair_generator.poisson(1.0, len(off)))
        if not weights.any() or not alone.any():
            continue  # A resample without pairs has no accuracy.
        by_people[done] = (weights * off).sum() / weights.sum()
        by_pairs[done] = (alone * off).sum() / alone.sum()
        done += 1
    return by_people, by_pairs
