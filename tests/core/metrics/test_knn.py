from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from faceclr_cli.core.metrics import knn
from faceclr_cli.core.metrics.knn import knn_accuracy, knn_correct, knn_scores, neighbor_purity


def _crowd(seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    people = [f"person-{number % 9}" for number in range(80)] + ["alone"]
    centers = {name: rng.normal(size=6) for name in set(people)}
    return np.stack([centers[name] + rng.normal(size=6) for name in sorted(people)]), sorted(people)


def _slow(rows: np.ndarray, people: list[str], k: int) -> float:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    right = []
    for i, person in enumerate(people):
        if people.count(person) == 1:
            continue
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: -(rows[i] @ rows[j]))[:k]
        # Among equal counts, Counter returns the value that was seen first.
        right.append(Counter(people[j] for j in others).most_common(1)[0][0] == person)
    return float(np.mean(right))


@pytest.mark.parametrize("k", [1, 3, 6])
def test_accuracy_is_that_of_the_slow_way(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "_MOST_PICTURES", 7)
    rows, people = _crowd()
    assert knn_accuracy(rows, people, k) == pytest.approx(_slow(rows, people, k))


def test_each_picture_is_told_and_one_that_is_alone_is_not_asked_about() -> None:
    rows, people = _crowd()
    asked, right = knn_correct(rows, people)
    assert [name for name, known in zip(people, asked, strict=True) if not known] == ["alone"]
    assert right[asked].mean() == pytest.approx(_slow(rows, people, 1))
    assert not right[~asked].any()


@pytest.mark.parametrize("k", [1, 3, 7, 500])
def test_scores_are_votes_and_the_nearest_picture_decides_among_equals(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "_MOST_PICTURES", 7)
    rng = np.random.default_rng(5)
    labels = rng.permutation(np.arange(60) % 6)
    known, asked = rng.normal(size=(60, 4)), rng.normal(size=(20, 4))
    found = knn_scores(asked, known, labels, k)
    known = known / np.linalg.norm(known, axis=1, keepdims=True)
    for row, scores in zip(asked / np.linalg.norm(asked, axis=1, keepdims=True), found, strict=True):
        similarity = known @ row
        votes = Counter(labels[np.argsort(-similarity)[:k]].tolist())
        rank = [(votes[person], similarity[labels == person].max()) for person in range(6)]
        assert np.argsort(-scores).tolist() == sorted(range(6), key=lambda person: rank[person], reverse=True)
        assert np.floor(scores).tolist() == [votes[person] for person in range(6)]


def test_scores_of_people_without_a_known_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        knn_scores(np.eye(3), np.eye(3), np.array([0, 2, 2]), 1)


def test_single_pictures_of_everyone_are_an_error() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        knn_accuracy(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match="k must be at least 1"):
        knn_accuracy(np.eye(3), ["a", "a", "c"], 3)


def test_purity_of_crowds_apart_and_of_a_crowd_mixed() -> None:
    apart = np.array([[0, 0], [0, 1], [1, 0], [50, 50], [50, 51], [51, 50]], float)
    people = ["a"] * 3 + ["b"] * 3
    assert neighbor_purity(apart, people, 2) == 1.0
    assert neighbor_purity(np.array([[0.0], [1], [2.1], [3.3]]), ["a", "b", "a", "b"], 1) == 0.0
    with pytest.raises(ValueError, match="twice"):
        neighbor_purity(apart, list("abcdef"), 2)


@pytest.mark.parametrize(("candidates", "pictures"), [(10, 1024), (16_384, 1024), (1_000_000, 16), (100_000_000, 1)])
def test_a_block_of_similarities_is_bounded_however_many_pictures_there_are(candidates: int, pictures: int) -> None:
    assert knn._block(candidates) == pictures


def test_blocks_of_a_few_pictures_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    labels = np.arange(50) % 7
    whole = knn_correct(rows, labels)[1], knn_scores(rows, rows, labels, 3)
    monkeypatch.setattr(knn, "_MOST_SIMILARITIES", 150)
    assert knn._block(50) == 3
    np.testing.assert_array_equal(whole[0], knn_correct(rows, labels)[1])
    np.testing.assert_allclose(whole[1], knn_scores(rows, rows, labels, 3), atol=1e-6)
