"""Open-set identification metrics, which need only the score of the most similar person for each face.

The definitions follow Grother and Ngan (NIST IR 8009, 2014) and the 1:N protocol of IJB (Klare et al. 2015). A false
alarm is an unknown face whose most similar person reaches the threshold (FPIR). A hit is a known face whose own person
is most similar and reaches the threshold (detection and identification rate, DIR, at rank 1, which is 1 - FNIR). The
false alarm rate of a gallery can be estimated from the gallery alone, since its people are unknown to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FARS = (1e-1, 1e-2, 1e-3)
"""The false alarm rates that publications usually report."""


@dataclass(frozen=True, kw_only=True)
class DirPoint:
    """Detection and identification rate at a false alarm rate.

    Attributes:
        far: The requested false alarm rate.
        threshold: The laxest threshold that does not exceed the rate, or None if the rate could not be measured.
        dir: Share of known faces whose own person is most similar and reaches the threshold, or None.
        reached: The actual false alarm rate at the threshold, or None.
        reason: Why the rate could not be measured, or None.
    """

    far: float
    threshold: float | None = None
    dir: float | None = None
    reached: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdRates:
    """Identification rates at a threshold.

    Attributes:
        threshold: Minimum similarity of an identified face.
        named: Share of known faces that are identified correctly.
        misnamed: Share of known faces that are identified as another person. The remaining ones are rejected.
        rejected: Share of unknown faces that are rejected, or None without unknown faces.
    """

    threshold: float
    named: float
    misnamed: float
    rejected: float | None


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """False alarm rate of a gallery (FPIR) with its 95% confidence interval.

    Attributes:
        rate: The measured rate, or None if only an upper bound is known.
        low: Lower end of the interval.
        high: Upper end of the interval, or the upper bound.
    """

    rate: float | None
    low: float
    high: float


def gallery_false_alarms(similarities: ArrayLike, people: ArrayLike, threshold: float) -> FalseAlarms:
    """Estimates the false alarm rate of a gallery by leaving out each of its people in turn.

    The pictures of the person left out are unknown to the rest of the gallery. The estimate is the mean over people of
    the share of their pictures that reach the threshold; people have equal weights since pictures of one person are
    correlated. The confidence interval is that of Clopper and Pearson (1934) with one trial for each person, which is
    conservative for shares. Rates are multiplied by n / (n - 1), the bound for the whole gallery, which has one person
    more than the rest. The estimate tends to be high, as people in a gallery are often more similar than other people.

    Args:
        similarities: Similarity of each picture to the most similar picture of another person. Shape: (pictures,).
        people: The person of each picture. Shape: (pictures,).
        threshold: Minimum similarity of an identified face.

    Raises:
        ValueError: The shapes do not match, or there are fewer than two people.
    """
    # Importing scipy.special is slow.
    from scipy.special import betaincinv

    scores = np.asarray(similarities, np.float64)
    numbers, counts = np.unique(np.asarray(people), return_inverse=True, return_counts=True)[1:]
    if scores.ndim != 1 or scores.shape != numbers.shape:
        raise ValueError(f"similarities of shape {scores.shape} and people of shape {numbers.shape} do not match")
    if len(counts) < 2:
        raise ValueError("the false alarm rate needs a gallery of two or more people")
    alarms = float((np.bincount(numbers, scores >= threshold) / counts).sum())
    trials = len(counts)
    low = float(betaincinv(alarms, trials - alarms + 1, 0.025)) if alarms > 0 else 0.0
    high = float(betaincinv(alarms + 1, trials - alarms, 0.975)) if alarms < trials else 1.0
    rate, low, high = (min(1.0, share * trials / (trials - 1)) for share in (alarms / trials, low, high))
    return FalseAlarms(rate=rate, low=low, high=high)


def bounded_false_alarms(tries: int, far: float) -> FalseAlarms:
    """Returns the upper bound of the false alarm rate for `tries` comparisons at a FAR (Boole's inequality).

    The actual rate can be far lower, since comparisons with pictures of one person are correlated.
    """
    return FalseAlarms(rate=None, low=0.0, high=min(1.0, tries * far))


def rank_rate(ranks: ArrayLike, rank: int) -> float:
    """Share of known faces whose own person is among the `rank` most similar, without a threshold.

    Args:
        ranks: Rank of the own person of each known face, from 1; 0 if the person was not found. Shape: (known,).
        rank: Highest rank that counts, from 1.

    Raises:
        ValueError: There are no known faces.
    """
    places = np.asarray(ranks, np.int64)
    if not places.size:
        raise ValueError("no known faces")
    return float(np.mean((places >= 1) & (places <= rank)))


def dir_at_far(known: ArrayLike, ranks: ArrayLike, unknown: ArrayLike, far: float) -> DirPoint:
    """Detection and identification rate at the laxest threshold that does not exceed a false alarm rate.

    The threshold is determined by the order of the unknown scores, without interpolation. With ties, the actual rate
    can be below the requested one.

    Args:
        known: Similarity of the most similar person of each known face; -inf for photographs without a face. Shape:
            (known,).
        ranks: As for `rank_rate`. Shape: (known,).
        unknown: Similarity of the most similar person of each unknown face; -inf without a face. Shape: (unknown,).
        far: False alarm rate, above 0 and below 1.

    Returns:
        The point. With fewer than 1 / `far` unknown faces, it has a reason and no numbers.

    Raises:
        ValueError: The shapes do not match, a score is NaN, there are no known faces, or `far` is out of range.
    """
    scores, places, unknown_scores = _validate(known, ranks, unknown)
    if not 0 < far < 1:
        raise ValueError(f"the false alarm rate must be between 0 and 1, not {far}")
    # 0.29 * 100 is 28.999999999999996.
    allowed = int(np.floor(far * len(unknown_scores) + 1e-9))
    if not allowed:
        text = f"needs {1 / far:,.0f} or more unknown faces, but there are {len(unknown_scores):,}"
        return DirPoint(far=far, reason=text)
    refused = np.sort(unknown_scores)[::-1][allowed]
    above = np.concatenate([scores[scores > refused], unknown_scores[unknown_scores > refused]])
    threshold = above.min() if above.size else np.nextafter(refused, np.inf)
    return DirPoint(
        far=far,
        threshold=float(threshold),
        dir=float(np.mean((scores >= threshold) & (places == 1))),
        reached=float(np.mean(unknown_scores >= threshold)),
    )


def at_threshold(known: ArrayLike, ranks: ArrayLike, unknown: ArrayLike, threshold: float) -> ThresholdRates:
    """Computes identification rates at a given threshold.

    Args:
        known: As for `dir_at_far`. Shape: (known,).
        ranks: As for `rank_rate`. Shape: (known,).
        unknown: As for `dir_at_far`. Shape: (unknown,).
        threshold: Minimum similarity of an identified face.

    Raises:
        ValueError: The shapes do not match, a score is NaN, or there are no known faces.
    """
    scores, places, unknown_scores = _validate(known, ranks, unknown)
    accepted = scores >= threshold
    return ThresholdRates(
        threshold=threshold,
        named=float(np.mean(accepted & (places == 1))),
        misnamed=float(np.mean(accepted & (places != 1))),
        rejected=float(np.mean(unknown_scores < threshold)) if unknown_scores.size else None,
    )


def _validate(
    known: ArrayLike, ranks: ArrayLike, unknown: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    scores, places = np.asarray(known, np.float64), np.asarray(ranks, np.int64)
    unknown_scores = np.asarray(unknown, np.float64)
    if scores.ndim != 1 or scores.shape != places.shape or unknown_scores.ndim != 1:
        raise ValueError(f"scores of shape {scores.shape} and ranks of shape {places.shape} do not match")
    if not scores.size:
        raise ValueError("no known faces")
    if np.isnan(scores).any() or np.isnan(unknown_scores).any():
        raise ValueError("a score is NaN")
    return scores, places, unknown_scores
