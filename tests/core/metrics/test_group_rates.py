"""Error rates of groups, against a slow transcription and a population whose rates are known."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pytest

from faceclr_cli.core.metrics.differentials import geometric_inequity, worst_to_best
from faceclr_cli.core.metrics.far_thresholds import far_thresholds
from faceclr_cli.core.metrics.group_rates import (
    GroupRate,
    GroupRates,
    all_pairs_group_rates,
    group_rates,
)
from faceclr_cli.core.metrics.resampling import pair_interval

ROUNDS = 60


def crowd(
    people: int, pictures: int, harder: float = 0.0, seed: int = 0, dim: int = 16
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, people and two groups; those of group 1 are closer to each other by `harder`."""
    rng = np.random.default_rng(seed)
    group = np.arange(people) % 2
    centers = rng.normal(size=(people, dim)) + harder * np.outer(group, np.ones(dim))
    rows = np.repeat(centers, pictures, axis=0) + 0.6 * rng.normal(size=(people * pictures, dim))
    return rows.astype(np.float32), np.repeat(np.arange(people), pictures), np.repeat(group, pictures)


def every_pair(
    embeddings: np.ndarray, people: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    a, b = np.array(list(combinations(range(len(people)), 2))).T
    scores = np.clip(unit @ unit.T, -1, 1)[a, b]
    return scores, people[a] == people[b], np.stack([people[a], people[b]]), np.stack([groups[a], groups[b]])


Totals = dict[tuple[int, int] | int, float]


def transcribe(
    scores: np.ndarray, same: np.ndarray, people: np.ndarray, groups: np.ndarray, threshold: float, weights: np.ndarray
) -> tuple[Totals, Totals]:
    """Pairs and errors of each pair of groups, and of the genuine pairs of each group, one pair at a time."""
    pairs, errors = defaultdict[tuple[int, int] | int, float](float), defaultdict[tuple[int, int] | int, float](float)
    for score, genuine, (i, j), (g, h) in zip(scores, same, people.T, groups.T, strict=True):
        if min(g, h) < 0 or (genuine and g != h):
            continue
        cell = int(g) if genuine else (int(min(g, h)), int(max(g, h)))
        weight = weights[i] if genuine else weights[i] * weights[j]
        pairs[cell] += weight
        errors[cell] += weight * ((score < threshold) if genuine else (score >= threshold))
    return pairs, errors


def found_rate(found: GroupRates, cell: tuple[int, int] | int) -> GroupRate:
    return found.fnmr_of[cell] if isinstance(cell, int) else found.fmr_of[cell[0]][cell[1]]


@pytest.mark.parametrize("listed", [True, False])
def test_rates_and_intervals_are_those_of_a_slow_transcription(listed: bool) -> None:
    """Some pictures have no group, and two people have pictures in two groups."""
    embeddings, people, groups = crowd(32, 3, harder=0.5)
    groups = groups.copy()
    groups[[0, 1, 2, 30]] = -1
    groups[[7, 11]] = 1 - groups[[7, 11]]
    scores, same, who, where = every_pair(embeddings, people, groups)
    threshold = float(np.quantile(scores[~same], 0.9))
    measure = {"far": 0.1, "rounds": ROUNDS, "seed": 3}
    if listed:
        found = group_rates(scores, same, who, where, 2, threshold, **measure)
    else:
        order = np.random.default_rng(1).permutation(len(people))
        found = all_pairs_group_rates(embeddings[order], people[order], groups[order], 2, threshold, **measure)
    pairs, errors = transcribe(scores, same, who, where, threshold, np.ones(32))
    assert set(pairs) == {0, 1, (0, 0), (0, 1), (1, 1)}
    rng = np.random.default_rng(3)
    draws = [np.bincount(rng.integers(0, 32, 32), minlength=32) for _ in range(ROUNDS)]
    resampled = [transcribe(scores, same, who, where, threshold, times) for times in draws]
    lone = np.random.default_rng((3, 1))
    for cell in ((0, 0), (0, 1), (1, 1), 0, 1):
        rate = found_rate(found, cell)
        assert (rate.pairs, rate.errors) == (pairs[cell], errors[cell])
        assert rate.rate == pytest.approx(errors[cell] / pairs[cell])
        by_people = np.array([wrong[cell] / every[cell] for every, wrong in resampled])
        if isinstance(cell, int):
            assert rate.low is None  # Fewer than 30 people.
            continue
        by_pairs = lone.binomial(rate.pairs, rate.rate, ROUNDS) / rate.pairs
        ends = pair_interval(np.array([rate.rate]), by_people[:, None], by_pairs[:, None])
        assert (rate.low, rate.high) == pytest.approx((ends[0][0], ends[1][0]))
        crossing = {
            tuple(sorted(two))
            for two, at in zip(who.T.tolist(), where.T.tolist(), strict=True)
            if two[0] != two[1] and tuple(sorted(at)) == cell
        }
        assert rate.people == len(crossing)
    assert found.mixed == int((same & (where[0] != where[1]) & (where >= 0).all(axis=0)).sum()) == 4
    assert (found.impostor, found.genuine) == (int((~same).sum()), int(same.sum()))
    assert found.fmr == pytest.approx((scores[~same] >= threshold).mean())
    assert found.fnmr == pytest.approx((scores[same] < threshold).mean())


def test_the_fnmr_has_the_interval_of_a_bootstrap_over_people() -> None:
    embeddings, people, groups = crowd(80, 4)
    scores, same, who, _ = every_pair(embeddings, people, groups)
    found = all_pairs_group_rates(embeddings, people, groups, 2, 0.75, rounds=400, seed=5)
    wrong = np.bincount(who[0, same], scores[same] < 0.75)
    rng = np.random.default_rng(99)
    for group in (0, 1):
        own = wrong[np.arange(80) % 2 == group] / 6
        means = [rng.choice(own, len(own)).mean() for _ in range(4000)]
        rate = found.fnmr_of[group]
        assert rate.rate == pytest.approx(own.mean())
        assert (rate.low, rate.high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.03)


def test_the_harder_group_is_found_and_equal_groups_are_not_told_apart() -> None:
    for harder, is_apart in ((0.6, True), (0.0, False)):
        embeddings, people, groups = crowd(120, 3, harder)
        threshold = far_thresholds(embeddings, people, (0.01,), rounds=1)[0].threshold
        found = all_pairs_group_rates(embeddings, people, groups, 2, threshold, far=0.01, rounds=300)
        easy, hard = found.fmr_of[0][0], found.fmr_of[1][1]
        assert easy.high is not None and hard.low is not None
        assert (hard.low > easy.high) == is_apart
        ratio = worst_to_best([easy.rate, hard.rate])
        assert ratio is not None and (ratio > 3) == is_apart


def test_small_groups_have_no_rate_and_groups_without_errors_have_an_upper_bound() -> None:
    embeddings, people, _ = crowd(60, 2, dim=64)
    groups = np.where(people < 5, 1, np.where(people < 50, 0, 2))
    found = all_pairs_group_rates(embeddings, people, groups, 3, 0.75, far=0.01, rounds=100)
    small = found.fmr_of[1][1]
    assert (small.rate, small.low, small.pairs, small.needed) == (None, None, 40, 300)
    large = found.fmr_of[0][0]
    assert (large.errors, large.rate, large.low, large.people) == (0, 0.0, 0.0, 990)
    assert large.high == pytest.approx(3 / 990, rel=0.02)
    # 900 pairs of pictures, but only 225 pairs of people: a rate, and no interval.
    few = found.fmr_of[0][1]
    assert (few.rate, few.low, few.pairs, few.people) == (0.0, None, 900, 225)


def test_the_interval_holds_the_rate_of_other_people() -> None:
    """Of 30 crowds, 28 or 29 have the FMR of the whole population in their interval."""
    embeddings, people, groups = crowd(1200, 2, harder=0.4, seed=99)
    truth = all_pairs_group_rates(embeddings, people, groups, 2, 0.55, far=0.05, rounds=1)
    holding = Counter[tuple[int, int]]()
    for seed in range(30):
        found = all_pairs_group_rates(*crowd(60, 2, harder=0.4, seed=seed), 2, 0.55, far=0.05, rounds=200)
        for cell in ((0, 0), (0, 1), (1, 1)):
            rate, known = found_rate(found, cell), found_rate(truth, cell).rate
            assert rate.low is not None and rate.high is not None and known is not None
            holding[cell] += rate.low <= known <= rate.high
    assert min(holding.values()) >= 25


def test_ratios_are_undefined_without_two_rates_or_with_a_rate_of_zero() -> None:
    for rates in ([], [0.1], [0.1, None], [0.0, 0.1]):
        assert worst_to_best(rates) is None and geometric_inequity(rates) is None
    assert geometric_inequity([0.08, 0.01, 0.01]) == pytest.approx(4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": np.zeros((2, 2), int)}, "groups"),
        ({"scores": [0.1, np.nan, 0.2]}, "not finite"),
        ({"people": np.array([[0, 0, 1], [1, 1, 2]])}, "genuine pairs must have one person"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], message: str) -> None:
    given = {"scores": [0.9, 0.1, 0.2], "same": [True, False, False], "people": np.array([[0, 0, 1], [0, 1, 2]])}
    given |= {"groups": np.zeros((2, 3), int)} | change
    with pytest.raises(ValueError, match=message):
        group_rates(*given.values(), 1, 0.5)  # type: ignore[arg-type]
