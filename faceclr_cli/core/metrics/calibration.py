"""Thresholds for false accept rates from every pair of many rows, and how far chance could have moved them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.all_pairs import Pairs, measure_all_pairs
from faceclr_cli.core.metrics.verification import tar_at_far

_PAIRS_FOR_ONE = 3
"""Impostor pairs that a rate must let through in the mean, or the next set of people would have another threshold."""

_REACH = 4
"""How many times as many pairs as a rate lets through are kept, so that resamples find their thresholds among them."""


@dataclass(frozen=True, kw_only=True)
class FarThreshold:
    """A threshold for a false accept rate.

    Attributes:
        far: The rate asked for.
        threshold: The laxest that accepts no larger share of the impostor pairs.
        low: Where chance could have put it, at least: the lower end of the 95% interval.
        high: And at most.
        tar: Share of genuine pairs accepted.
    """

    far: float
    threshold: float
    low: float
    high: float
    tar: float


def pairs_needed(far: float) -> int:
    """How many impostor pairs a false accept rate must be measured on."""
    return int(np.ceil(_PAIRS_FOR_ONE / far - 1e-9))


def far_thresholds(
    embeddings: ArrayLike, labels: ArrayLike, fars: Sequence[float], *, rounds: int = 1000, seed: int = 0
) -> tuple[FarThreshold, ...]:
    """Measures thresholds on all pairs, with intervals by bootstrap over people.

    People are drawn, not pairs: pairs that share a person are not independent of each other, and an interval that took
    them for it would be far too narrow (Bolle, Ratha and Pankanti 2004, "Error analysis of pattern recognition systems:
    the subsets bootstrap"). Two draws of the same person make no impostor pair.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).
        fars: False accept rates, above 0 and below 1.
        rounds: Resamples.
        seed: Of the draws.

    Raises:
        ValueError: As for `measure_all_pairs`, or there are fewer than 3 / FAR impostor pairs.
    """
    _require_rates(fars, _impostors(np.asarray(labels)))
    rates = [*fars, min(1.0, _REACH * max(fars))]
    measured = measure_all_pairs(embeddings, labels, rates)
    points, last = measured.points[:-1], measured.points[-1]
    scores, people, sizes = Pairs(embeddings, labels).impostors_from(last.threshold)
    drawn = _resampled(scores, people, sizes, fars, rounds, seed)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return tuple(
        FarThreshold(far=far, threshold=point.threshold, low=float(least), high=float(most), tar=point.tar)
        for far, point, least, most in zip(fars, points, low, high, strict=True)
    )


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
    """As `far_thresholds`, of a list of pairs.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        first: The person on the first picture of each pair, as a number from 0. Shape: (pairs,).
        second: And on the second. Shape: (pairs,).
        fars: False accept rates, above 0 and below 1.
        rounds: Resamples.
        seed: Of the draws.

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
    chance, found = np.random.default_rng(seed), np.empty((rounds, len(fars)))
    for row in found:
        times = np.bincount(chance.integers(0, people, people), minlength=people)
        accepted = np.cumsum(times[one] * times[other])
        row[:] = _thresholds(falling, accepted, np.array(fars) * accepted[-1])
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return tuple(
        FarThreshold(far=far, threshold=point.threshold, low=float(least), high=float(most), tar=point.tar)
        for far, point, least, most in zip(fars, points, low, high, strict=True)
    )


def _impostors(labels: NDArray[np.generic]) -> int:
    sizes = np.unique(labels, return_counts=True)[1].astype(np.int64)
    return int(sizes.sum() ** 2 - (sizes**2).sum()) // 2


def _require_rates(fars: Sequence[float], impostors: int) -> None:
    if not all(0 < far < 1 for far in fars):
        raise ValueError(f"false accept rates are between 0 and 1, not {', '.join(map(str, fars))}")
    for far in fars:
        if impostors < pairs_needed(far):
            raise ValueError(
                f"a FAR of {far:g} takes {pairs_needed(far):,} impostor pairs, and there are {impostors:,}"
            )


def _thresholds(
    falling: NDArray[np.float64], accepted: NDArray[np.int64], allowed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The score of the last pair that may be accepted and was drawn, for each number that is allowed.

    Args:
        falling: Scores. Shape: (pairs,).
        accepted: How many drawn pairs have at least each score. Shape: (pairs,).
        allowed: Shape: (rates,).
    """
    passed = np.searchsorted(accepted, allowed + 1e-9, "right")
    # The last that pass and whose people were both drawn.
    last: NDArray[np.float64] = falling[np.searchsorted(accepted, accepted[np.maximum(passed, 1) - 1], "left")]
    return last


def _resampled(
    scores: NDArray[np.float32],
    people: NDArray[np.int32],
    sizes: NDArray[np.int64],
    fars: Sequence[float],
    rounds: int,
    seed: int,
) -> NDArray[np.float64]:
    """The thresholds that other draws of as many people give. Shape: (rounds, rates)."""
    order = np.argsort(-scores, kind="stable")
    falling, first, second = scores[order].astype(np.float64), *people[order].T
    chance, count = np.random.default_rng(seed), len(sizes)
    found = np.empty((rounds, len(fars)))
    for row in found:
        times = np.bincount(chance.integers(0, count, count), minlength=count)
        pictures = times * sizes
        pairs = (pictures.sum() ** 2 - (pictures**2).sum()) / 2
        accepted = np.cumsum(times[first] * times[second])
        row[:] = _thresholds(falling, accepted, np.array(fars) * pairs)
    return found
