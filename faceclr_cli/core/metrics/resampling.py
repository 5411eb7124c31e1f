"""Bootstrap confidence intervals for metrics on pairs of people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pair_interval(measured: Floats, by_people: Floats, by_pairs: Floats) -> tuple[Floats, Floats]:
    """95% confidence interval of a bootstrap over people, corrected for the noise of individual pairs.

    A bootstrap over people weights an impostor pair by the product of the draws of its two people. That is correct for
    the variation that pairs of one person share, but counts the independent noise of each pair three times (Owen 2007,
    "The pigeonhole bootstrap"). If people rarely repeat, as in LFW's list, the intervals would be 1.7 times too wide. A
    second bootstrap over independent pairs estimates this noise, and twice its variance is subtracted. The interval is
    never narrower than that of independent pairs.

    Args:
        measured: Values for all pairs. Shape: (points,).
        by_people: Values for resamples of people. Shape: (rounds, points).
        by_pairs: Values for resamples of impostor pairs. Shape: (rounds, points).

    Returns:
        Lower and upper ends of the intervals. Shapes: (points,), (points,).
    """
    total, own = by_people.var(axis=0), by_pairs.var(axis=0)
    right = np.maximum(total - 2 * own, own)
    factor = np.sqrt(np.minimum(1.0, right / np.where(total > 0, total, 1.0)))
    low, high = measured + factor * (np.quantile(by_people, (0.025, 0.975), axis=0) - measured)
    return low, high
