from __future__ import annotations

from math import comb

import numpy as np
import pytest

from faceclr_cli.core.metrics.cross_validation import standard_error_by_people
from faceclr_cli.core.metrics.paired_comparison import compare_verdicts, mcnemar_p_value


def test_mcnemar_is_the_sum_of_binomial_terms() -> None:
    for one, two in [(0, 0), (0, 5), (3, 12), (7, 7), (20, 4), (1, 40)]:
        total, fewest = one + two, min(one, two)
        tail = sum(comb(total, count) for count in range(fewest + 1)) / 2**total
        assert mcnemar_p_value(one, two) == pytest.approx(min(1.0, 2 * tail))
        assert mcnemar_p_value(one, two) == mcnemar_p_value(two, one)


def pairs(people: int, shared: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Genuine pairs of each person, and impostor pairs of each with `shared` others."""
    rng = np.random.default_rng(seed)
    first = np.repeat(np.arange(people), 2 * shared)
    second = np.where(np.arange(len(first)) % 2, (first + rng.integers(1, people, len(first))) % people, first)
    return first == second, first, second


@pytest.mark.parametrize("shared", [1, 6])
def test_the_interval_is_that_of_the_variance_between_people(shared: int) -> None:
    """A variance by formula (Aronow et al. 2015) and the bootstrap are two ways to the same interval."""
    same, first, second = pairs(200, shared, 1)
    rng = np.random.default_rng(2)
    hard = rng.random(200) < 0.2  # The second encoder fails on some people, on all their pairs.
    right = rng.random(len(same)) < 0.95
    other = right & ~(hard[first] | hard[second]) | (rng.random(len(same)) < 0.05)
    found = compare_verdicts(right, other, same, first, second)
    assert found.difference == pytest.approx(right.mean() - other.mean())
    off = right.astype(float) - other.astype(float)
    error = standard_error_by_people(off, first, second)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.25)
    assert found.low < found.difference < found.high
    assert found.low > 0
    assert found.p_value < 1e-6
    turned = compare_verdicts(other, right, same, first, second)
    assert (turned.only_first, turned.only_second) == (found.only_second, found.only_first)
    assert turned.difference == pytest.approx(-found.difference)


def test_intervals_hold_the_true_difference() -> None:
    """Equally good encoders differ significantly in about one of twenty experiments, though pairs share people."""
    missed = 0
    for seed in range(60):
        same, first, second = pairs(60, 4, seed)
        rng = np.random.default_rng(1000 + seed)
        weak = rng.random((2, 60)) < 0.15
        right, other = (~(bad[first] | bad[second]) | (rng.random(len(same)) < 0.3) for bad in weak)
        found = compare_verdicts(right, other, same, first, second, rounds=200)
        missed += not found.low <= 0 <= found.high
    assert missed <= 9


def test_equal_verdicts_have_no_difference() -> None:
    same, first, second = pairs(20, 2, 0)
    found = compare_verdicts(same, same, same, first, second)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="one person"):
        compare_verdicts(same, same, ~same, first, second)
    with pytest.raises(ValueError, match="do not match"):
        compare_verdicts(same, same, same, first[1:], second[1:])
