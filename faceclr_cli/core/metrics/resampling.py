"""Intervals of what was measured on pairs, by bootstrap over the people in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pair_interval(measured: Floats, by_people: Floats, by_pairs: Floats) -> tuple[Floats, Floats]:
    """The 95% interval of a bootstrap over people, without what it adds to the noise of single pairs.

    A bootstrap over people counts an impostor pair as often as its two people were drawn, multiplied. That is right for
    what pairs of one person have in common, but it counts the noise that each pair has of its own three times (Owen
    2007, "The pigeonhole bootstrap"): where people seldom repeat, as in LFW's list, intervals would be 1.7 times too
    wide. A second bootstrap, of pairs as if they were independent, shows that noise, and twice its variance is taken
    away. The interval is never narrower than that of independent pairs.

    Args:
        measured: What all pairs gave. Shape: (points,).
        by_people: What draws of people gave. Shape: (rounds, points).
        by_pairs: What draws of impostor pairs gave. Shape: (rounds, points).

    Returns:
        The lower and the upper ends. Shapes: (points,), (points,).
    """
    total, own = by_people.var(axis=0), by_pairs.var(axis=0)
    right = np.maximum(total - 2 * own, own)
    factor = np.sqrt(np.minimum(1.0, right / np.where(total > 0, total, 1.0)))
    low, high = measured + factor * (np.quantile(by_people, (0.025, 0.975), axis=0) - measured)
    return low, high
