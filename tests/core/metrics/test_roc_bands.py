"""ROCs with intervals by bootstrap over people."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from faceclr_cli.core.metrics import roc_bands as bands
from faceclr_cli.core.metrics.roc import tar_at_far
from faceclr_cli.core.metrics.roc_bands import RocBands, roc_bands

FARS = (0.0, 0.05, 0.1, 0.29, 1.0)


def crowd(people: int, pictures: int, seed: int, ties: bool = False) -> tuple[np.ndarray, ...]:
    """Scores, sameness and the two people of every genuine pair and of as many impostor pairs.

    Some people are hard to recognize: all of their genuine pairs score low.
    """
    rng = np.random.default_rng(seed)
    own = np.repeat(np.arange(people), pictures * (pictures - 1) // 2)
    ease = rng.normal(0, 0.15, people)
    genuine = 0.5 + ease[own] + rng.normal(0, 0.05, len(own))
    first = rng.integers(0, people, len(own))
    second = (first + rng.integers(1, people, len(own))) % people
    scores = np.concatenate([genuine, rng.normal(0.1, 0.15, len(own))])
    same = np.arange(len(scores)) < len(own)
    return scores.round(1) if ties else scores, same, np.append(own, first), np.append(own, second)


@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_is_that_of_all_pairs(ties: bool) -> None:
    scores, same, first, second = crowd(20, 3, 0, ties)
    found = roc_bands(scores, same, first, second, FARS, rounds=50)
    np.testing.assert_allclose(found.tar, [tar_at_far(scores, same, far).tar for far in FARS])
    assert (found.low <= found.tar).all()
    assert (found.tar <= found.high).all()


@pytest.mark.parametrize("ties", [False, True])
def test_resamples_are_those_of_a_slow_transcription(ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "pair_interval", lambda _, drawn, by_pairs: np.quantile(drawn, (0.025, 0.975), axis=0))
    scores, same, first, second = crowd(12, 3, 1, ties)
    found = roc_bands(scores, same, 100 - 7 * first, 100 - 7 * second, FARS, rounds=60, seed=5)
    chance, tars = np.random.default_rng(5), []
    for _ in range(60):
        drawn = 11 - chance.integers(0, 12, 12)  # People are numbered from the last here.
        times = [int((drawn == person).sum()) for person in range(12)]
        counted: list[tuple[float, bool]] = []
        for score, genuine, a, b in zip(scores, same, first, second, strict=True):
            counted += [(score, genuine)] * (times[a] if genuine else times[a] * times[b])
        tars.append([tar_at_far(*zip(*counted, strict=True), far).tar for far in FARS])
    low, high = np.quantile(tars, (0.025, 0.975), axis=0)
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)


def test_where_all_pairs_separate_nothing_varies() -> None:
    _, same, first, second = crowd(10, 3, 2)
    found = roc_bands(np.where(same, 0.8, 0.2), same, first, second, FARS, rounds=100)
    for ends in (found.tar, found.low, found.high):
        np.testing.assert_array_equal(ends, np.ones(len(FARS)))


def test_draws_without_one_kind_of_pair_are_drawn_again() -> None:
    found = roc_bands([0.9, 0.1, 0.2], [True, False, False], [1, 1, 2], [1, 2, 3], (0.1,), rounds=100)
    assert (found.tar, found.low, found.high) == (1.0, 1.0, 1.0)


def test_people_vary_more_than_pairs_would_let_on() -> None:
    scores, same, first, second = crowd(40, 6, 3)
    found = roc_bands(scores, same, first, second, (0.1,), rounds=300)
    chance, tars = np.random.default_rng(0), []
    for _ in range(300):
        drawn = chance.integers(0, len(scores), len(scores))
        tars.append(tar_at_far(scores[drawn], same[drawn], 0.1).tar)
    low, high = np.quantile(tars, (0.025, 0.975))
    assert found.high[0] - found.low[0] > 2 * (high - low)


def test_the_interval_holds_the_rate_of_the_population_as_often_as_it_says() -> None:
    """Of 40 crowds, about 38 have the rate in their interval."""
    everybody = roc_bands(*crowd(3000, 4, 99), (0.1,), rounds=1).tar[0]
    found = [roc_bands(*crowd(50, 4, seed), (0.1,), rounds=200) for seed in range(40)]
    assert sum(_holds(band, everybody) for band in found) >= 33


def _holds(bands: RocBands, rate: float) -> bool:
    return bool(bands.low[0] <= rate <= bands.high[0])


def test_a_seed_gives_the_same_bands_again_and_another_gives_others() -> None:
    one, again, other = (roc_bands(*crowd(20, 3, 4), (0.1,), rounds=50, seed=seed) for seed in (1, 1, 2))
    assert (one.low, one.high) == (again.low, again.high) != (other.low, other.high)


def test_people_that_contradict_the_labels_are_refused() -> None:
    scores, same, first, second = crowd(10, 3, 5)
    for a, b in combinations((first, second, first + 10), 2):
        if a is first and b is second:
            continue
        with pytest.raises(ValueError, match="genuine pairs must have one person"):
            roc_bands(scores, same, a, b, FARS)
    with pytest.raises(ValueError, match="do not match"):
        roc_bands(scores, same, first[1:], second[1:], FARS)
    with pytest.raises(ValueError, match="from 0 to 1"):
        roc_bands(scores, same, first, second, (0.1, 1.1))
    with pytest.raises(ValueError, match="finite"):
        roc_bands(np.where(same, np.nan, scores), same, first, second, FARS)


def test_where_people_seldom_repeat_the_band_is_about_as_wide_as_the_spread() -> None:
    """The plain weights of a bootstrap over people make it 1.4 times as wide, with a coverage of 1."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        own, first = rng.integers(0, 4000, 600), rng.integers(0, 4000, 600)
        second = (first + rng.integers(1, 4000, 600)) % 4000
        scores = np.append(rng.normal(0.3, 0.15, 600), rng.normal(0.1, 0.15, 600))
        same = np.arange(1200) < 600
        found.append(roc_bands(scores, same, np.append(own, first), np.append(own, second), (0.1,), rounds=200))
    width = np.mean([band.high[0] - band.low[0] for band in found])
    assert 0.8 < width / (2 * 1.96 * np.std([band.tar[0] for band in found])) < 1.2
