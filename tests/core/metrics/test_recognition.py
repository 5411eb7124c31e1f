from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from faceclr_cli.core.metrics.recognition import measure_recognition
from faceclr_cli.core.metrics.roc import balanced_threshold, every_pair, tar_at_far


def crowd(counts: list[int], noise: float, seed: int = 0, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of people with the given numbers of pictures."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return rng.normal(size=(len(counts), dim))[labels] + noise * rng.normal(size=(len(labels), dim)), labels


def test_with_equally_many_pictures_each_it_is_the_measure_over_pairs() -> None:
    embeddings, labels = crowd([4] * 12, noise=1.5)
    scores, same = every_pair(embeddings, labels)
    found = measure_recognition(embeddings, labels, (0.1, 0.02, 0.001))
    assert (found.threshold, found.accuracy) == pytest.approx(balanced_threshold(scores, same))
    assert (found.genuine, found.impostor) == (same.sum(), (~same).sum())
    assert found.far == pytest.approx((scores >= found.threshold)[~same].mean())
    assert found.tar == pytest.approx((scores >= found.threshold)[same].mean())
    assert list(found.points) == [0.1, 0.02]  # 66 pairs of people allow for no rate of 0.001.
    for far, (threshold, reached, tar) in found.points.items():
        expected = tar_at_far(scores, same, far)
        assert (reached, tar) == pytest.approx((expected.far, expected.tar))
        assert (scores >= threshold).tolist() == (scores >= expected.threshold).tolist()


def test_every_person_weighs_the_same() -> None:
    """Against a transcription with loops, for people with very different numbers of pictures."""
    embeddings, labels = crowd([30, 2, 3, 2, 5, 9], noise=1.2)
    found = measure_recognition(embeddings, labels, ())
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    def share(one: int, other: int) -> float:
        places = [(a, b) for a in np.flatnonzero(labels == one) for b in np.flatnonzero(labels == other)]
        cosines = [unit[a] @ unit[b] for a, b in places if one != other or a < b]
        return float(np.mean([cosine >= found.threshold for cosine in cosines]))

    tar = np.mean([share(who, who) for who in range(6)])
    far = np.mean([share(one, other) for one, other in combinations(range(6), 2)])
    assert (found.tar, found.far) == pytest.approx((tar, far))
    assert found.accuracy == pytest.approx((tar + 1 - far) / 2)
    cosines = unit @ unit.T - 2 * np.eye(len(unit))
    right = labels[cosines.argmax(axis=1)] == labels
    assert found.knn == pytest.approx(np.mean([right[labels == who].mean() for who in range(6)]))
    assert found.chance == pytest.approx(np.mean([29, 1, 2, 1, 4, 8]) / 50)


def test_one_person_with_most_pictures_does_not_decide() -> None:
    """Person 0, with 97% of the genuine pairs, is always recognized; the others never are."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(9), [40, *[3] * 8])
    embeddings = rng.normal(size=(len(labels), 64))
    embeddings[:40] = rng.normal(size=64) + 0.01 * rng.normal(size=(40, 64))
    found = measure_recognition(embeddings, labels, ())
    scores, same = every_pair(embeddings, labels)
    assert balanced_threshold(scores, same)[1] > 0.95
    assert found.accuracy < 0.75
    assert found.knn < 0.3


def test_the_interval_holds_the_true_accuracy_about_as_often_as_it_says() -> None:
    """Measured on 100 small crowds; the true accuracy is that of a large crowd, at each threshold."""
    large, owners = crowd([4] * 300, noise=1.6, seed=10_000)
    scores, same = every_pair(large, owners)
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])
    inside = 0
    for seed in range(100):
        found = measure_recognition(*crowd([4] * 20, noise=1.6, seed=seed), ())
        tar, far = (1 - np.searchsorted(kind, found.threshold) / len(kind) for kind in (genuine, impostor))
        inside += found.accuracy_interval.low <= (tar + 1 - far) / 2 <= found.accuracy_interval.high
    assert inside >= 80


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 1]])
def test_what_cannot_be_measured_is_an_error(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="two or more people"):
        measure_recognition(np.eye(4), labels, ())
