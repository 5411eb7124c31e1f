from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from faceclr_cli.core.metrics import knn
from faceclr_cli.core.metrics.knn import knn_accuracy, neighbour_purity


def _crowd(seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    people = [f"person-{number % 9}" for number in range(80)] + ["alone"]
    centres = {name: rng.normal(size=6) for name in set(people)}
    return np.stack([centres[name] + rng.normal(size=6) for name in sorted(people)]), sorted(people)


def _slow(rows: np.ndarray, people: list[str], k: int) -> float:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    right = []
    for i, person in enumerate(people):
        if people.count(person) == 1:
            continue
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: -(rows[i] @ rows[j]))[:k]
        # Of a Counter's equals, the one that was seen first comes first.
        right.append(Counter(people[j] for j in others).most_common(1)[0][0] == person)
    return float(np.mean(right))


@pytest.mark.parametrize("k", [1, 3, 6])
def test_accuracy_is_that_of_the_slow_way(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "_BLOCK", 7)
    rows, people = _crowd()
    assert knn_accuracy(rows, people, k) == pytest.approx(_slow(rows, people, k))


def test_nobody_with_two_pictures_is_an_error() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        knn_accuracy(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match="k is at least 1"):
        knn_accuracy(np.eye(3), ["a", "a", "c"], 3)


def test_purity_of_crowds_apart_and_of_a_crowd_mixed() -> None:
    apart = np.array([[0, 0], [0, 1], [1, 0], [50, 50], [50, 51], [51, 50]], float)
    people = ["a"] * 3 + ["b"] * 3
    assert neighbour_purity(apart, people, 2) == 1.0
    assert neighbour_purity(np.array([[0.0], [1], [2.1], [3.3]]), ["a", "b", "a", "b"], 1) == 0.0
    with pytest.raises(ValueError, match="twice"):
        neighbour_purity(apart, list("abcdef"), 2)
