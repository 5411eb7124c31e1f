from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from faceclr_cli.core.metrics.separation import separation, separation_difference


def crowd(people: int, each: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(people, 8))
    labels = np.repeat(np.arange(people), each)
    return centers[labels] + noise * generator.normal(size=(len(labels), 8)), labels


def slow_separation(rows: np.ndarray, labels: np.ndarray, times: np.ndarray | None = None) -> float:
    """Computes d' pair by pair; each pair counts as often as its people were drawn."""
    genuine, impostor = list[float](), list[float]()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    times = np.ones(labels.max() + 1, int) if times is None else times
    for one, other in combinations(range(len(rows)), 2):
        score = float(rows[one] @ rows[other])
        if labels[one] == labels[other]:
            genuine += [score] * times[labels[one]]
        else:
            impostor += [score] * (times[labels[one]] * times[labels[other]])
    spread = (np.var(genuine) + np.var(impostor)) / 2
    return float((np.mean(genuine) - np.mean(impostor)) / np.sqrt(spread))


def test_it_is_the_distance_of_the_means_in_standard_deviations() -> None:
    rows, labels = crowd(7, 4, 0.5)
    assert separation(rows, labels) == pytest.approx(slow_separation(rows, labels))
    assert separation(3 * rows, labels + 5) == pytest.approx(slow_separation(rows, labels))


def test_the_interval_is_that_of_resampled_people() -> None:
    (first, labels), (second, _) = crowd(9, 3, 0.3), crowd(9, 3, 0.9, seed=1)
    found = separation_difference(first, second, labels, rounds=200, seed=3)
    assert found.value == pytest.approx(slow_separation(first, labels) - slow_separation(second, labels))
    draws = np.random.default_rng(3).multinomial(9, np.full(9, 1 / 9), 200)
    gaps = [slow_separation(first, labels, times) - slow_separation(second, labels, times) for times in draws]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gaps, (0.005, 0.995))))


def test_an_encoder_does_not_differ_from_itself_and_a_worse_one_does() -> None:
    (rows, labels), (worse, _) = crowd(40, 3, 0.3), crowd(40, 3, 1.5)
    own = separation_difference(rows, 2 * rows, labels)
    assert (own.low, own.high) == pytest.approx((0, 0), abs=1e-9)
    assert separation_difference(rows, worse, labels).low > 0
    assert separation_difference(worse, rows, labels).high < 0


def test_a_network_with_equal_embeddings_separates_no_people() -> None:
    rows, labels = crowd(9, 3, 0.3)
    assert separation(np.zeros_like(rows), labels) == 0
    found = separation_difference(rows, np.zeros_like(rows), labels)
    assert 0 < found.low < found.value == pytest.approx(slow_separation(rows, labels))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 0], [0, 0, 1]])
def test_what_has_no_pairs_of_both_kinds_is_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"both genuine and impostor|do not match"):
        separation(np.eye(4), labels)
