from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics.resampling import pair_interval


def _width(people: float, pairs: float) -> float:
    """Returns the width for draws with these standard deviations around a measured 0."""
    rng = np.random.default_rng(0)
    by_people, by_pairs = rng.normal(0, people, (20_000, 1)), rng.normal(0, pairs, (20_000, 1))
    low, high = pair_interval(np.zeros(1), by_people, by_pairs)
    return float(high[0] - low[0]) / 2 / 1.96


def test_twice_the_variance_of_pairs_is_taken_from_that_of_people() -> None:
    assert _width(1.0, 0.0) == pytest.approx(1, rel=0.03)
    assert _width(1.0, 0.5) == pytest.approx(0.5**0.5, rel=0.03)
    assert _width(3**0.5, 1.0) == pytest.approx(1, rel=0.03)


def test_the_interval_is_not_narrower_than_that_of_pairs_nor_wider_than_that_of_people() -> None:
    assert _width(1.0, 0.9) == pytest.approx(0.9, rel=0.03)
    assert _width(1.0, 2.0) == pytest.approx(1.0, rel=0.03)


def test_what_does_not_vary_has_no_width() -> None:
    low, high = pair_interval(np.ones(2), np.ones((10, 2)), np.ones((10, 2)))
    assert low.tolist() == high.tolist() == [1, 1]
