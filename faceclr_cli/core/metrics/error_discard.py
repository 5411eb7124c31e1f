"""Errors as a function of the share of pictures that are left out because of their quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorDiscard:
    """An error-versus-discard curve (Grother and Tabassi, PAMI 2007; ISO/IEC 29794-1).

    Attributes:
        discarded: Shares of the pictures that are left out, increasing from 0. Shape: (points,).
        fnmr: False non-match rate of the remaining genuine pairs. Shape: (points,).
        genuine: Number of these pairs, at least 1. Shape: (points,).
    """

    discarded: NDArray[np.float64]
    fnmr: NDArray[np.float64]
    genuine: NDArray[np.int64]


def error_versus_discard(
    scores: ArrayLike, first: ArrayLike, second: ArrayLike, quality: ArrayLike, threshold: float
) -> ErrorDiscard:
    """Measures the false non-match rate as the pictures with the lowest quality are left out.

    The threshold does not change. A pair is left out with either of its pictures. Pictures of equal quality are left
    out together.

    Args:
        scores: Scores of the genuine pairs. Shape: (pairs,).
        first: The first picture of each pair, as an index into `quality`. Shape: (pairs,).
        second: The second picture. Shape: (pairs,).
        quality: Quality of each picture; higher is better. Shape: (pictures,).
        threshold: Minimum score of an accepted pair.

    Raises:
        ValueError: There are no pairs, or a quality is NaN.

    Examples:
        >>> found = error_versus_discard([0.1, 0.8], [0, 2], [1, 3], [1, 4, 2, 3], threshold=0.5)
        >>> found.discarded, found.fnmr
        (array([0.  , 0.25]), array([0.5, 0. ]))
    """
    values = np.asarray(quality, np.float64)
    if not len(np.asarray(scores)) or np.isnan(values).any():
        raise ValueError("a curve of errors versus discarded pictures needs pairs, and the quality of every picture")
    rejected = np.asarray(scores, np.float64) < threshold
    lower = np.minimum(values[np.asarray(first)], values[np.asarray(second)])
    order = np.argsort(lower, kind="stable")
    lower, rejected = lower[order], rejected[order]
    # Before the first step nothing is left out; after each, all pictures up to a value.
    steps, counts = np.unique(values, return_counts=True)
    gone = np.concatenate([[0], np.searchsorted(lower, steps, side="right")])
    errors_after = np.append(np.cumsum(rejected[::-1])[::-1], 0)
    remaining = len(lower) - gone
    some = remaining > 0
    return ErrorDiscard(
        discarded=np.concatenate([[0], np.cumsum(counts)])[some] / len(values),
        fnmr=errors_after[gone[some]] / remaining[some],
        genuine=remaining[some],
    )
