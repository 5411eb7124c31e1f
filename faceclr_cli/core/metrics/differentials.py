"""Summaries of the differences between groups: the worst rate in comparison with the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def worst_to_best(rates: Sequence[float | None]) -> float | None:
    """Returns the highest rate divided by the lowest; None if there are fewer than two rates, or the lowest is 0.

    Examples:
        >>> worst_to_best([0.25, None, 0.125])
        2.0
    """
    known = [rate for rate in rates if rate is not None]
    return max(known) / min(known) if len(known) > 1 and min(known) > 0 else None


def geometric_inequity(rates: Sequence[float | None]) -> float | None:
    """Returns the highest rate divided by the geometric mean of the rates, as NIST does (IR 8429, 2022).

    None if there are fewer than two rates, or one is 0.

    Examples:
        >>> round(geometric_inequity([0.04, 0.01]), 6)
        2.0
    """
    known = [rate for rate in rates if rate is not None]
    if len(known) < 2 or min(known) <= 0:
        return None
    return max(1.0, float(max(known) / np.exp(np.mean(np.log(known)))))
