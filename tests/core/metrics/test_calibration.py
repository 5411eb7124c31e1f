"""Thresholds for false accept rates, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics import all_pairs
from faceclr_cli.core.metrics.all_pairs import Pairs
from faceclr_cli.core.metrics.calibration import far_thresholds, listed_far_thresholds, pairs_needed
from faceclr_cli.core.metrics.verification import tar_at_far


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
        expected = tar_at_far(scores, same, point.far)
        assert (point.threshold, point.tar) == (expected.threshold, expected.tar)
        assert point.low <= point.threshold <= point.high


def test_the_interval_holds_the_threshold_of_other_people_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 24 crowds, about 23 have the threshold of the whole population in their interval."""
    monkeypatch.setattr(all_pairs, "_BINS", 1 << 14)  # As exact, and much quicker for few pairs.
    everybody = far_thresholds(*crowd(700, 3, seed=99), (0.01,), rounds=1)[0].threshold
    points = [far_thresholds(*crowd(40, 3, seed), (0.01,), rounds=200)[0] for seed in range(24)]
    inside = sum(point.low <= everybody <= point.high for point in points)
    assert inside >= 19


def test_resamples_are_those_of_a_slow_transcription() -> None:
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


def test_too_few_impostor_pairs_are_refused_with_the_number_that_it_takes() -> None:
    embeddings, labels = crowd(10, 2)
    with pytest.raises(ValueError, match=r"a FAR of 0\.001 takes 3,000 impostor pairs, and there are 180"):
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
        expected = tar_at_far(scores, same, point.far)
        assert (point.threshold, point.tar) == (expected.threshold, expected.tar)
        assert point.low <= point.threshold <= point.high


@pytest.mark.parametrize("digits", [6, 1], ids=["many scores", "few scores"])
def test_resamples_of_a_list_are_those_of_a_slow_transcription(digits: int) -> None:
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
        # Where none may be accepted, the first that was refused is as far as the drawn pairs reach.
        thresholds.append(min((score for score in falling if score > refused), default=refused))
    low, high = np.quantile(thresholds, (0.025, 0.975))
    assert (point.low, point.high) == (pytest.approx(low), pytest.approx(high))


def test_the_interval_of_a_list_holds_the_threshold_of_other_people_as_often_as_it_says() -> None:
    everybody = listed_far_thresholds(*listed(3000, 10, seed=99), (0.02,), rounds=1)[0].threshold
    points = [listed_far_thresholds(*listed(80, 10, seed), (0.02,), rounds=200)[0] for seed in range(40)]
    inside = sum(point.low <= everybody <= point.high for point in points)
    assert inside >= 33
    # Had pairs been taken for independent, it would be much narrower.
    people = np.arange(80 * 10 * 4)
    narrow = [
        listed_far_thresholds(scores, same, people, people, (0.02,), rounds=200)[0]
        for scores, same, *_ in (listed(80, 10, seed) for seed in range(10))
    ]
    assert np.mean([p.high - p.low for p in narrow]) < 0.9 * np.mean([p.high - p.low for p in points[:10]])


def test_too_few_listed_pairs_are_refused_with_the_number_that_it_takes() -> None:
    scores, same, first, second = listed(10, 2)
    with pytest.raises(ValueError, match=r"a FAR of 0\.01 takes 300 impostor pairs, and there are 60"):
        listed_far_thresholds(scores, same, first, second, (0.1, 0.01))
    with pytest.raises(ValueError, match="between 0 and 1"):
        listed_far_thresholds(scores, same, first, second, (1.0,))
    with pytest.raises(ValueError, match="genuine"):
        listed_far_thresholds(scores[same.sum() :], same[same.sum() :], first[20:], second[20:], (0.1,))
