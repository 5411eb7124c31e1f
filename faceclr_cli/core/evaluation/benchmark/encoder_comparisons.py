"""Paired comparisons of the encoders of a benchmark: which differences are larger than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.metrics.paired_comparison import compare_verdicts


@dataclass(frozen=True, kw_only=True)
class EncoderComparison:
    """Two encoders on the pairs of a set.

    Attributes:
        set: Name of the set.
        first: Name of the first encoder.
        second: Name of the second encoder.
        difference: Accuracy of the first encoder minus that of the second, over all pairs.
        low: Lower end of the 95% confidence interval.
        high: Upper end of the interval.
        resampled: What the bootstrap resampled: `people`, or `pairs` if the people are unknown.
        only_first: Number of pairs on which only the first encoder is right.
        only_second: Number of pairs on which only the second encoder is right.
        p_value: Exact two-sided McNemar test of equal accuracy.
    """

    set: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    resampled: Literal["people", "pairs"]
    only_first: int
    only_second: int
    p_value: float


def compare_encoders(
    name: str, pairs: Sequence[Pair], right_of: Mapping[str, NDArray[np.bool_]]
) -> Iterator[EncoderComparison]:
    """Compares every two encoders on a set.

    Args:
        name: Name of the set.
        pairs: Its pairs.
        right_of: True for pairs with a correct verdict, for each encoder. Shape of each: (pairs,).
    """
    same = np.array([bool(pair.same) for pair in pairs])
    known = people_in_pairs(pairs)
    if known is not None:
        first, second = known[:2]
    else:  # Each pair shows people of its own.
        first = 2 * np.arange(len(pairs))
        second = np.where(same, first, first + 1)
    for one, other in combinations(right_of, 2):
        found = compare_verdicts(right_of[one], right_of[other], same, first, second)
        yield EncoderComparison(
            set=name,
            first=one,
            second=other,
            difference=found.difference,
            low=found.low,
            high=found.high,
            resampled="pairs" if known is None else "people",
            only_first=found.only_first,
            only_second=found.only_second,
            p_value=found.p_value,
        )
