"""How well people of a gallery are named, and strangers told apart from them, by one number per face.

As Grother and Ngan (NIST IR 8009, 2014) and the 1:N protocol of IJB (Klare et al. 2015) define it: a false alarm is an
unknown face whose most similar person reaches the threshold (FPIR), a hit a known face whose own person is first and
reaches it (detection and identification rate, DIR, at rank 1, which is 1 - FNIR). A gallery itself shows how many false
alarms to expect, since each of its people is a stranger to the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FARS = (1e-1, 1e-2, 1e-3)
"""The false alarm rates that the field reports."""


@dataclass(frozen=True, kw_only=True)
class DirPoint:
    """Known faces that are named at a false alarm rate.

    Attributes:
        far: The share of unknown faces that may be named.
        threshold: The laxest with which no more are, or None where the rate could not be measured.
        dir: Share of known faces whose own person is first and reaches the threshold; None likewise.
        reached: The share of unknown faces that are named with it; None likewise.
        reason: Why it could not be measured, or None.
    """

    far: float
    threshold: float | None = None
    dir: float | None = None
    reached: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdRates:
    """What a threshold does.

    Attributes:
        threshold: Least similarity of somebody known.
        named: Share of known faces that are named rightly.
        misnamed: Share of known faces that are named as somebody else. The rest are taken for unknown.
        rejected: Share of unknown faces that are taken for unknown, or None where there are none.
    """

    threshold: float
    named: float
    misnamed: float
    rejected: float | None


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """The share of strangers who are taken for a person of a gallery (FPIR), as a 95% interval.

    Attributes:
        rate: The share that was measured, or None where only a bound is known.
        low: Lower end of the interval.
        high: Its upper end, or the bound.
    """

    rate: float | None
    low: float
    high: float


def gallery_false_alarms(similarities: ArrayLike, people: ArrayLike, threshold: float) -> FalseAlarms:
    """The false alarms of a gallery, measured by leaving each of its people out in turn.

    A picture of the person left out is a stranger to the rest of the gallery. People count equally, since pictures of
    one person are alike: the estimate is the mean over people of the share of their pictures that reach the threshold.
    The interval is Clopper and Pearson's (1934) for as many trials as there are people, which is on the safe side of
    that for shares. The whole gallery has one person more than what is left of it, and so at most n / (n - 1) times the
    false alarms. People of one gallery are often more alike than strangers are, which makes the figure a cautious one.

    Args:
        similarities: Of each picture to the most similar picture of another person. Shape: (pictures,).
        people: Who each picture shows. Shape: (pictures,).
        threshold: Least similarity of somebody known.

    Raises:
        ValueError: The shapes don't go together, or there are fewer than two people.
    """
    # scipy.special takes a while to import.
    from scipy.special import betaincinv

    scores = np.asarray(similarities, np.float64)
    numbers, counts = np.unique(np.asarray(people), return_inverse=True, return_counts=True)[1:]
    if scores.ndim != 1 or scores.shape != numbers.shape:
        raise ValueError(f"similarities of {scores.shape} and people of {numbers.shape} don't go together")
    if len(counts) < 2:
        raise ValueError("false alarms of a gallery need two people")
    alarms = float((np.bincount(numbers, scores >= threshold) / counts).sum())
    trials = len(counts)
    low = float(betaincinv(alarms, trials - alarms + 1, 0.025)) if alarms > 0 else 0.0
    high = float(betaincinv(alarms + 1, trials - alarms, 0.975)) if alarms < trials else 1.0
    rate, low, high = (min(1.0, share * trials / (trials - 1)) for share in (alarms / trials, low, high))
    return FalseAlarms(rate=rate, low=low, high=high)


def bounded_false_alarms(tries: int, far: float) -> FalseAlarms:
    """The most false alarms that a gallery can have, where a stranger is compared `tries` times at a FAR.

    Pictures of one person are alike, so that it may have far fewer (Boole's inequality).
    """
    return FalseAlarms(rate=None, low=0.0, high=min(1.0, tries * far))


def rank_rate(ranks: ArrayLike, rank: int) -> float:
    """Share of known faces whose own person is among the `rank` most similar; no threshold is asked.

    Args:
        ranks: The place of the own person of each known face, from 1; 0 where they are not among those found.
            Shape: (known,).
        rank: From 1.

    Raises:
        ValueError: There are no known faces.
    """
    places = np.asarray(ranks, np.int64)
    if not places.size:
        raise ValueError("no known faces")
    return float(np.mean((places >= 1) & (places <= rank)))


def dir_at_far(known: ArrayLike, ranks: ArrayLike, unknown: ArrayLike, far: float) -> DirPoint:
    """The detection and identification rate at the laxest threshold that at most the share `far` of strangers reach.

    Decided by the order of the scores of the unknown, never interpolated; ties can hold the rate that is reached below
    the one that was asked for.

    Args:
        known: Similarity of the first person of each known face; -inf where there was no face. Shape: (known,).
        ranks: As for `rank_rate`. Shape: (known,).
        unknown: Similarity of the first person of each unknown face; -inf likewise. Shape: (unknown,).
        far: Above 0, below 1.

    Returns:
        A point with a reason, and without numbers, where there are fewer than 1 / `far` unknown faces.

    Raises:
        ValueError: The shapes don't go together, a score is NaN, there are no known faces, or `far` is no share.
    """
    scores, places, strangers = _checked(known, ranks, unknown)
    if not 0 < far < 1:
        raise ValueError(f"a false alarm rate lies between 0 and 1, and is not {far}")
    # 0.29 * 100 is 28.999999999999996.
    allowed = int(np.floor(far * len(strangers) + 1e-9))
    if not allowed:
        text = f"needs {1 / far:,.0f} unknown faces or more, and there are {len(strangers):,}"
        return DirPoint(far=far, reason=text)
    refused = np.sort(strangers)[::-1][allowed]
    above = np.concatenate([scores[scores > refused], strangers[strangers > refused]])
    threshold = above.min() if above.size else np.nextafter(refused, np.inf)
    return DirPoint(
        far=far,
        threshold=float(threshold),
        dir=float(np.mean((scores >= threshold) & (places == 1))),
        reached=float(np.mean(strangers >= threshold)),
    )


def at_threshold(known: ArrayLike, ranks: ArrayLike, unknown: ArrayLike, threshold: float) -> ThresholdRates:
    """What a threshold that was chosen elsewhere does.

    Args:
        known: As for `dir_at_far`. Shape: (known,).
        ranks: As for `rank_rate`. Shape: (known,).
        unknown: As for `dir_at_far`. Shape: (unknown,).
        threshold: Least similarity of somebody known.

    Raises:
        ValueError: The shapes don't go together, a score is NaN, or there are no known faces.
    """
    scores, places, strangers = _checked(known, ranks, unknown)
    accepted = scores >= threshold
    return ThresholdRates(
        threshold=threshold,
        named=float(np.mean(accepted & (places == 1))),
        misnamed=float(np.mean(accepted & (places != 1))),
        rejected=float(np.mean(strangers < threshold)) if strangers.size else None,
    )


def _checked(
    known: ArrayLike, ranks: ArrayLike, unknown: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    scores, places = np.asarray(known, np.float64), np.asarray(ranks, np.int64)
    strangers = np.asarray(unknown, np.float64)
    if scores.ndim != 1 or scores.shape != places.shape or strangers.ndim != 1:
        raise ValueError(f"scores of {scores.shape} and ranks of {places.shape} don't go together")
    if not scores.size:
        raise ValueError("no known faces")
    if np.isnan(scores).any() or np.isnan(strangers).any():
        raise ValueError("a score is no number")
    return scores, places, strangers
