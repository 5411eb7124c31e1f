"""Thresholds for false accept rates, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics import all_pairs
from faceclr_cli.core.metrics import far_thresholds as calibration
from faceclr_cli.core.metrics.all_pairs import Pairs
from faceclr_cli.core.metrics.far_thresholds import (
    FarThreshold,
    far_thresholds,
    listed_far_thresholds,
    pairs_needed,
)
from faceclr_cli.core.metrics.roc import tar_at_far


def crowd(people: int, pictures: int, seed: int = 0, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(people, dim)), pictures, axis=0) + 0.6 * rng.normal(size=(people * pictures, dim))
    return rows.astype(np.float32), np.repeat(np.arange(people), pictures)


def test_thresholds_are_those_of_all_pairs() -> None:
    embeddings, labels = crowd(30, 4)
    blocks = list(Pairs(embeddings, labels).blocks())
    scores = np.concatenate([np.concatenate([genuine for genuine, _ in blocks]), *(impostor for _, impostor in blocks)])
    same = np.arange(len(scores)) < sum(len(genuine) for genuine, _ in blocks)
    for point in far_thresholds(embeddings, labels, (0.1, 0.01), rounds=50):
        assert point.low is not None and point.high is not None
        expected = tar_at_far(scores, same, point.far)
        assert (point.threshold, point.tar) == (expected.threshold, expected.tar)
        assert point.low <= point.threshold <= point.high


def test_the_interval_holds_the_threshold_of_other_people_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 24 crowds, about 23 have the threshold of the whole population in their interval."""
    monkeypatch.setattr(all_pairs, "_BINS", 1 << 14)  # Equally exact, and much faster for few pairs.
    everybody = far_thresholds(*crowd(700, 3, seed=99), (0.01,), rounds=1)[0].threshold
    points = [far_thresholds(*crowd(40, 3, seed), (0.01,), rounds=200)[0] for seed in range(24)]
    assert _holding(points, everybody) >= 19


def _holding(points: list[FarThreshold], truth: float) -> int:
    ends = [(point.low, point.high) for point in points]
    assert all(low is not None and high is not None for low, high in ends)
    return sum(low <= truth <= high for low, high in ends if low is not None and high is not None)


@pytest.mark.parametrize("pictures", [1, 20])
def test_too_few_people_have_no_interval_however_many_their_pictures(pictures: int) -> None:
    """25 people are 300 pairs of people, which a FAR of 0.01 takes; 24 are 276."""
    fars = (0.01,) if pictures > 1 else (0.05,)
    for people, holds in ((25, True), (24, pictures == 1)):
        embeddings, labels = crowd(people, pictures + 1)
        (point,) = far_thresholds(embeddings, labels, fars, rounds=50)
        assert (point.low is not None) == (point.high is not None) == holds


@pytest.mark.nightly
@pytest.mark.parametrize(("people", "pictures", "far"), [(25, 4, 0.01), (25, 20, 0.01), (78, 5, 0.001)])
def test_the_interval_of_the_fewest_people_that_have_one(
    people: int, pictures: int, far: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 crowds about 95 hold the population's threshold; as the fewest people are few, at least 84 must."""
    monkeypatch.setattr(all_pairs, "_BINS", 1 << 14)
    left, right = (crowd(3000, 1, seed)[0] for seed in (998, 999))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (left, right)]
    truth = float(np.quantile(unit[0] @ unit[1].T, 1 - far))
    points = [far_thresholds(*crowd(people, pictures, seed), (far,), rounds=200)[0] for seed in range(100)]
    assert _holding(points, truth) >= 84


def test_resamples_are_those_of_a_slow_transcription(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_PAIRS_FOR_ONE", 0)  # Few people have no interval otherwise.
    embeddings, labels = crowd(12, 3)
    (point,) = far_thresholds(embeddings, labels, (0.05,), rounds=400, seed=1)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = np.round(unit @ unit.T, 6)  # So that a pair that is drawn twice has one score.
    chance, thresholds = np.random.default_rng(1), []
    for _ in range(400):
        drawn = np.sort(chance.integers(0, 12, 12))
        rows = np.concatenate([np.flatnonzero(labels == person) for person in drawn])
        owners = labels[rows]
        above = np.triu_indices(len(rows), 1)
        different = owners[above[0]] != owners[above[1]]
        scores = np.sort(cosines[np.ix_(rows, rows)][above][different])[::-1]
        refused = scores[int(np.floor(0.05 * len(scores) + 1e-9))]
        thresholds.append(scores[scores > refused].min())
    low, high = np.quantile(thresholds, (0.025, 0.975))
    assert (point.low, point.high) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_resamples_that_need_lower_scores_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as many scores are kept as the rate accepts, and this resample needs other ones."""
    monkeypatch.setattr(all_pairs, "_BINS", 1 << 14)
    monkeypatch.setattr(calibration, "_PAIRS_FOR_ONE", 0)  # Few people have no interval otherwise.
    (kept,) = far_thresholds(*crowd(12, 12), (0.005,), rounds=200, seed=1)
    monkeypatch.setattr(calibration, "_REACH", 1000)  # Every pair.
    (whole,) = far_thresholds(*crowd(12, 12), (0.005,), rounds=200, seed=1)
    assert kept == whole
    assert whole.low == pytest.approx(0.455, abs=0.001)


def test_too_few_impostor_pairs_are_refused_with_the_number_that_it_takes() -> None:
    embeddings, labels = crowd(10, 2)
    with pytest.raises(ValueError, match=r"a FAR of 0\.001 needs 3,000 impostor pairs, but there are 180"):
        far_thresholds(embeddings, labels, (0.001,))
    assert pairs_needed(1e-3) == 3000
    with pytest.raises(ValueError, match="between 0 and 1"):
        far_thresholds(embeddings, labels, (0.0,))


Listed = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def listed(people: int, each: int, seed: int = 0) -> Listed:
    """Scores, labels and people of genuine pairs, `each` per person, and of three times as many impostor pairs.

    Impostor scores depend on both people, as those of faces do.
    """
    rng = np.random.default_rng(seed)
    likeness = 0.1 * rng.normal(size=people)
    genuine = np.repeat(np.arange(people), each)
    first, second = rng.integers(0, people, (2, 3 * people * each))
    second = np.where(first == second, (second + 1) % people, second)
    scores = likeness[first] + likeness[second] + 0.1 * rng.normal(size=len(first))
    return (
        np.concatenate([rng.normal(0.6, 0.1, len(genuine)), scores]),
        np.arange(len(genuine) + len(first)) < len(genuine),
        np.concatenate([genuine, first]),
        np.concatenate([genuine, second]),
    )


def test_thresholds_of_a_list_are_those_of_its_pairs() -> None:
    scores, same, first, second = listed(30, 5)
    for point in listed_far_thresholds(scores, same, first, second, (0.1, 0.02), rounds=50):
        assert point.low is not None and point.high is not None
        expected = tar_at_far(scores, same, point.far)
        assert (point.threshold, point.tar) == (expected.threshold, expected.tar)
        assert point.low <= point.threshold <= point.high


@pytest.mark.parametrize("digits", [6, 1], ids=["many scores", "few scores"])
def test_resamples_of_a_list_are_those_of_a_slow_transcription(digits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "pair_interval", lambda _, drawn, by_pairs: np.quantile(drawn, (0.025, 0.975), 0))
    monkeypatch.setattr(calibration, "_PAIRS_FOR_ONE", 0)  # Few people have no interval otherwise.
    scores, same, first, second = listed(10, 4)
    scores = np.round(scores, digits)
    (point,) = listed_far_thresholds(scores, same, first, second, (0.05,), rounds=300, seed=1)
    chance, thresholds = np.random.default_rng(1), []
    for _ in range(300):
        times = list(chance.integers(0, 10, 10))
        drawn = [
            score
            for score, genuine, one, other in zip(scores, same, first, second, strict=True)
            if not genuine
            for _ in range(times.count(one) * times.count(other))
        ]
        falling = sorted(drawn, reverse=True)
        refused = falling[int(np.floor(0.05 * len(falling) + 1e-9))]
        # If no score may be accepted, the highest rejected one limits the threshold.
        thresholds.append(min((score for score in falling if score > refused), default=refused))
    low, high = np.quantile(thresholds, (0.025, 0.975))
    assert (point.low, point.high) == (pytest.approx(low), pytest.approx(high))


def test_the_interval_of_a_list_holds_the_threshold_of_other_people_as_often_as_it_says() -> None:
    everybody = listed_far_thresholds(*listed(3000, 10, seed=99), (0.02,), rounds=1)[0].threshold
    points = [listed_far_thresholds(*listed(80, 10, seed), (0.02,), rounds=200)[0] for seed in range(40)]
    assert _holding(points, everybody) >= 33


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("people", "pairs", "own", "most"), [(4000, 1000, 0.15, 1.4), (1500, 1000, 0.1, 1.6), (60, 800, 0.12, 1.4)]
)
def test_the_interval_of_a_list_is_about_as_wide_as_the_spread(
    people: int, pairs: int, own: float, most: float
) -> None:
    """Where people seldom repeat, the weights of a bootstrap over people would make it nearly twice as wide."""
    points = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        likeness, first = 0.05 * rng.normal(size=people), rng.integers(0, people, pairs)
        second = (first + rng.integers(1, people, pairs)) % people
        scores = np.append(likeness[first] + likeness[second] + own * rng.normal(size=pairs), 2.0)
        same = np.append(np.zeros(pairs, bool), True)
        first, second = np.append(first, 0), np.append(second, 0)
        points.append(listed_far_thresholds(scores, same, first, second, (0.02,), rounds=200)[0])
    widths = [point.high - point.low for point in points if point.high is not None and point.low is not None]
    ratio = np.mean(widths) / (2 * 1.96 * np.std([point.threshold for point in points]))
    assert len(widths) == 100
    assert 0.85 < ratio < most


def test_too_few_listed_pairs_are_refused_with_the_number_that_it_takes() -> None:
    scores, same, first, second = listed(10, 2)
    with pytest.raises(ValueError, match=r"a FAR of 0\.01 needs 300 impostor pairs, but there are 60"):
        listed_far_thresholds(scores, same, first, second, (0.1, 0.01))
    with pytest.raises(ValueError, match="between 0 and 1"):
        listed_far_thresholds(scores, same, first, second, (1.0,))
    with pytest.raises(ValueError, match="genuine"):
        listed_far_thresholds(scores[same.sum() :], same[same.sum() :], first[20:], second[20:], (0.1,))
