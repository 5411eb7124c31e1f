from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from faceclr_cli.core.metrics.gallery_search import PeopleIndex
from faceclr_cli.core.metrics.open_set import (
    at_threshold,
    bounded_false_alarms,
    dir_at_far,
    gallery_false_alarms,
    rank_rate,
)


def _slowly(known: list[float], ranks: list[int], unknown: list[float], far: float) -> tuple[float, float] | None:
    """Every score as a threshold, from the laxest: the first with few enough false alarms, and the DIR there."""
    for threshold in sorted({*known, *unknown, math.inf}):
        alarms = sum(score >= threshold for score in unknown)
        if alarms <= far * len(unknown) + 1e-9:
            hits = sum(score >= threshold and rank == 1 for score, rank in zip(known, ranks, strict=True))
            return threshold, hits / len(known)
    return None


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_trying_every_threshold_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Two digits, so that there are ties.
    known, unknown = np.round(rng.normal(0.6, 0.2, 150), 2), np.round(rng.normal(0.3, 0.2, 130), 2)
    ranks = rng.choice([0, 1, 1, 1, 2], 150)
    for far in (0.1, 0.05, 0.01):
        point, slow = (
            dir_at_far(known, ranks, unknown, far),
            _slowly(known.tolist(), ranks.tolist(), unknown.tolist(), far),
        )
        assert slow is not None
        assert point.dir == pytest.approx(slow[1])
        if math.isfinite(slow[0]):
            assert point.threshold == pytest.approx(slow[0])
        assert point.reached == pytest.approx(np.mean(unknown >= point.threshold))
        assert point.reached is not None and point.reached <= far


def test_a_case_worked_by_hand() -> None:
    # Ten strangers; one of them may be named. The strangers' best is 0.7, the second 0.5: from 0.55 on it is one.
    unknown = [0.7, 0.5, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0.0]
    known, ranks = [0.9, 0.8, 0.55, 0.45, 0.6], [1, 2, 1, 1, 0]
    point = dir_at_far(known, ranks, unknown, 0.1)
    assert (point.threshold, point.reached, point.dir) == (0.55, 0.1, 0.4)
    assert rank_rate(ranks, 1) == 0.6
    assert rank_rate(ranks, 5) == 0.8
    rule = at_threshold(known, ranks, unknown, 0.5)
    assert (rule.named, rule.misnamed, rule.rejected) == (0.4, 0.4, 0.8)


def test_ties_of_strangers_hold_the_rate_below_the_one_asked_for() -> None:
    point = dir_at_far([0.9, 0.5], [1, 1], [0.5] * 3 + [0.1] * 7, 0.2)
    assert (point.threshold, point.reached, point.dir) == (0.9, 0.0, 0.5)
    above_all = dir_at_far([0.2], [1], [0.5] * 20, 0.1)
    assert above_all.threshold is not None and above_all.threshold > 0.5
    assert (above_all.reached, above_all.dir) == (0.0, 0.0)


def test_a_rate_that_so_few_strangers_cannot_measure_is_missing_and_says_why() -> None:
    point = dir_at_far([0.9], [1], [0.1] * 99, 0.01)
    assert (point.threshold, point.dir, point.reached) == (None, None, None)
    assert point.reason == "needs 100 or more unknown faces, but there are 99"
    assert dir_at_far([0.9], [1], [0.1] * 100, 0.01).dir == 1.0
    assert at_threshold([0.9], [1], [], 0.5).rejected is None


def test_a_photograph_without_a_face_is_missed_if_known_and_rejected_if_not() -> None:
    known, ranks, unknown = [0.9, -np.inf], [1, 0], [0.2] * 9 + [-np.inf]
    assert dir_at_far(known, ranks, unknown, 0.1).dir == 0.5
    rule = at_threshold(known, ranks, unknown, 0.1)
    assert (rule.named, rule.misnamed, rule.rejected) == (0.5, 0.0, 0.1)
    assert rank_rate(ranks, 5) == 0.5


def test_what_measures_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no known"):
        dir_at_far([], [], [0.1], 0.1)
    with pytest.raises(ValueError, match="no known"):
        rank_rate([], 1)
    with pytest.raises(ValueError, match="NaN"):
        dir_at_far([np.nan], [1], [0.1], 0.1)
    with pytest.raises(ValueError, match="do not match"):
        at_threshold([0.1], [1, 2], [0.1], 0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        dir_at_far([0.9], [1], [0.1], 1.0)


def test_false_alarms_of_a_gallery_count_people_equally() -> None:
    # Of ann's four pictures one is too similar to another person; of bob's, his only one.
    found = gallery_false_alarms([0.5, 0.1, 0.1, 0.1, 0.5, 0.1, 0.2], ["ann"] * 4 + ["bob", "cleo", "dan"], 0.5)
    assert found.rate == pytest.approx((0.25 + 1) / 4 * 4 / 3)
    assert found.low < found.rate < found.high <= 1


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    for alarms in (0, 3, 50):
        found = gallery_false_alarms([0.9] * alarms + [0.1] * (50 - alarms), range(50), 0.5)
        exact = binomtest(alarms, 50).proportion_ci(method="exact")
        ends = (min(1, exact.low * 50 / 49), min(1, exact.high * 50 / 49))
        assert (found.low, found.high) == (pytest.approx(ends[0]), pytest.approx(ends[1]))


def _people(count: int, pictures: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.repeat(rng.normal(size=(count, 32)), pictures, axis=0) + 0.7 * rng.normal(size=(count * pictures, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("pictures", [1, 5, 20])
def test_the_interval_holds_the_share_of_strangers_who_are_named(pictures: int) -> None:
    """Regardless of the number of pictures; each gallery is searched for 400 strangers."""
    inside, rates, truths = 0, [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        gallery = PeopleIndex(_people(30, pictures, rng), np.repeat(np.arange(30), pictures))
        truth = (gallery.search(_people(400, 1, rng), 1).similarities[:, 0] >= 0.4).mean()
        found = gallery_false_alarms(*gallery.similarities_to_others(), 0.4)
        inside += found.low - 0.02 <= truth <= found.high + 0.02
        rates.append(found.rate)
        truths.append(truth)
    assert inside >= 27
    assert np.mean(rates) == pytest.approx(np.mean(truths), rel=0.2)


def test_false_alarms_are_bounded_by_the_comparisons() -> None:
    assert (bounded_false_alarms(20, 1e-3).rate, bounded_false_alarms(20, 1e-3).high) == (None, pytest.approx(0.02))
    assert bounded_false_alarms(20_000, 1e-3).high == 1
    with pytest.raises(ValueError, match="two or more people"):
        gallery_false_alarms([0.1, 0.2], ["ann", "ann"], 0.5)
    with pytest.raises(ValueError, match="do not match"):
        gallery_false_alarms([0.1, 0.2], ["ann"], 0.5)
