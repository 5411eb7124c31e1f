"""Thresholds for false accept rates, with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.all_pairs import Pairs, measure_all_pairs
from faceclr_cli.core.metrics.resampling import pair_interval
from faceclr_cli.core.metrics.roc import OperatingPoint, tar_at_far

_PAIRS_FOR_ONE = 3
"""Impostor pairs that a rate must accept on average; with fewer, the threshold does not carry over to other people."""

_REACH = 4
"""Ratio of kept pairs to accepted pairs, and the factor of its increase if a resample finds no threshold among them."""


@dataclass(frozen=True, kw_only=True)
class FarThreshold:
    """A threshold for a false accept rate.

    Attributes:
        far: The requested rate.
        threshold: The laxest threshold that does not exceed the rate.
        low: Lower end of the threshold's 95% confidence interval, or None if there are too few people: a bootstrap over
            few people underestimates the variation.
        high: Upper end of the interval, or None.
        tar: Share of genuine pairs accepted.
    """

    far: float
    threshold: float
    low: float | None
    high: float | None
    tar: float


def pairs_needed(far: float) -> int:
    """Returns the number of impostor pairs that are needed to measure a false accept rate.

    Pairs of pictures of the same two people are correlated, so a rate that holds for other people needs this number of
    pairs of *people*.
    """
    return int(np.ceil(_PAIRS_FOR_ONE / far - 1e-9))


def far_thresholds(
    embeddings: ArrayLike, labels: ArrayLike, fars: Sequence[float], *, rounds: int = 1000, seed: int = 0
) -> tuple[FarThreshold, ...]:
    """Measures thresholds on all pairs, with intervals by bootstrap over people.

    People are resampled, not pairs: pairs that share a person are correlated, so a bootstrap over pairs would give
    intervals that are far too narrow (Bolle, Ratha and Pankanti 2004, "Error analysis of pattern recognition systems:
    the subsets bootstrap"). Two draws of the same person do not form impostor pairs.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).
        fars: False accept rates, above 0 and below 1.
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        One threshold for each rate, without an interval if there are fewer than 3 / FAR pairs of people.

    Raises:
        ValueError: As for `measure_all_pairs`, or there are fewer than 3 / FAR impostor pairs.
    """
    sizes = np.unique(np.asarray(labels), return_counts=True)[1].astype(np.int64)
    _require_rates(fars, int(sizes.sum() ** 2 - (sizes**2).sum()) // 2)
    reach, drawn = _REACH * max(fars), None
    while drawn is None:
        measured = measure_all_pairs(embeddings, labels, [*fars, min(1.0, reach)])
        cut = measured.points[-1].threshold if reach < 1 else -1.0
        drawn = _resample_thresholds(*Pairs(embeddings, labels).impostors_from(cut), fars, rounds, seed)
        reach *= _REACH
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return _with_intervals(fars, measured.points[:-1], (low, high), len(sizes) * (len(sizes) - 1) // 2)


def _with_intervals(
    fars: Sequence[float],
    points: Sequence[OperatingPoint],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    people_pairs: int,
) -> tuple[FarThreshold, ...]:
    found = []
    for far, point, low, high in zip(fars, points, ends[0].tolist(), ends[1].tolist(), strict=True):
        enough = people_pairs >= pairs_needed(far)
        found.append(
            FarThreshold(
                far=far,
                threshold=point.threshold,
                low=low if enough else None,
                high=high if enough else None,
                tar=point.tar,
            )
        )
    return tuple(found)


def listed_far_thresholds(
    scores: ArrayLike,
    same: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    fars: Sequence[float],
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[FarThreshold, ...]:
    """Measures thresholds on a list of pairs, with intervals by `pair_interval`; see `far_thresholds`.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        first: Index of the person in the first picture of each pair, from 0. Shape: (pairs,).
        second: Index of the person in the second picture of each pair, from 0. Shape: (pairs,).
        fars: False accept rates, above 0 and below 1.
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: As for `roc`, or there are fewer than 3 / FAR impostor pairs.
    """
    values, genuine = np.asarray(scores, np.float64), np.asarray(same, bool)
    _require_rates(fars, int((~genuine).sum()))
    points = [tar_at_far(values, genuine, far) for far in fars]
    impostors = values[~genuine]
    order = np.argsort(-impostors, kind="stable")
    falling, one, other = impostors[order], np.asarray(first)[~genuine][order], np.asarray(second)[~genuine][order]
    people = int(max(np.max(first), np.max(second))) + 1
    generator, pair_generator, done = np.random.default_rng(seed), np.random.default_rng((seed, 1)), 0
    by_people, by_pairs = np.empty((2, rounds, len(fars)))
    while done < rounds:
        times = np.bincount(generator.integers(0, people, people), minlength=people)
        accepted, alone = np.cumsum(times[one] * times[other]), np.cumsum(pair_generator.poisson(1.0, len(falling)))
        if 0 in (accepted[-1], alone[-1]):
            continue  # A resample without impostor pairs has no rate.
        by_people[done] = _thresholds(falling, accepted, np.array(fars) * accepted[-1])
        by_pairs[done] = _thresholds(falling, alone, np.array(fars) * alone[-1])
        done += 1
    ends = pair_interval(np.array([point.threshold for point in points]), by_people, by_pairs)
    return _with_intervals(fars, points, ends, count_people_pairs(np.asarray(first), np.asarray(second)))


def count_people_pairs(first: NDArray[np.integer], second: NDArray[np.integer]) -> int:
    """Counts the distinct pairs of two different people in a list.

    Args:
        first: Index of the person in the first picture of each pair. Shape: (pairs,).
        second: Index of the person in the second picture of each pair. Shape: (pairs,).
    """
    people = np.sort(np.stack([first, second]), axis=0)
    return int(np.unique(people[:, people[0] != people[1]], axis=1).shape[1])


def _require_rates(fars: Sequence[float], impostors: int) -> None:
    if not all(0 < far < 1 for far in fars):
        raise ValueError(f"false accept rates must be between 0 and 1, not {', '.join(map(str, fars))}")
    for far in fars:
        if impostors < pairs_needed(far):
            raise ValueError(
                f"a FAR of {far:g} needs {pairs_needed(far):,} impostor pairs, but there are {impostors:,}"
            )


def _thresholds(
    falling: NDArray[np.float64], accepted: NDArray[np.int64], allowed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the lowest score among the drawn pairs that may be accepted, for each number of allowed pairs.

    Args:
        falling: Scores in descending order. Shape: (pairs,).
        accepted: Number of drawn pairs with at least each score. Shape: (pairs,).
        allowed: Maximum number of accepted pairs at each rate. Shape: (rates,).
    """
    passed = np.searchsorted(accepted, allowed + 1e-9, "right")
    # The last accepted pair whose two people were both drawn.
    last: NDArray[np.float64] = falling[np.searchsorted(accepted, accepted[np.maximum(passed, 1) - 1], "left")]
    return last


def _resample_thresholds(
    scores: NDArray[np.float32],
    people: NDArray[np.int32],
    sizes: NDArray[np.int64],
    fars: Sequence[float],
    rounds: int,
    seed: int,
) -> NDArray[np.float64] | None:
    """Returns the thresholds of resamples of people, or None if a threshold is below all scores.

    Args:
        scores: Scores of all impostor pairs above some score. Shape: (pairs,).
        people: The two people of each pair. Shape: (pairs, 2).
        sizes: Number of rows of each person. Shape: (people,).
        fars: False accept rates.
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        Shape: (rounds, rates).
    """
    order = np.argsort(-scores, kind="stable")
    falling, first, second = scores[order].astype(np.float64), *people[order].T
    generator, count = np.random.default_rng(seed), len(sizes)
    found, done = np.empty((rounds, len(fars))), 0
    while done < rounds:
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        pictures = times * sizes
        pairs = (pictures.sum() ** 2 - (pictures**2).sum()) / 2
        if pairs == 0:
            continue  # A resample of a single person has no impostor pairs.
        accepted = np.cumsum(times[first] * times[second])
        if not len(accepted) or accepted[-1] <= max(fars) * pairs:
            return None
        found[done] = _thresholds(falling, accepted, np.array(fars) * pairs)
        done += 1
    return found
