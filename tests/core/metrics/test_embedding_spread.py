from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from faceclr_cli.core.metrics import embedding_spread as contrast
from faceclr_cli.core.metrics.embedding_spread import alignment, effective_rank, mean_cosine, uniformity, views_top1


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "_BLOCK", 7)


def _views(pictures: int = 40, dim: int = 6, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(pictures, dim)) * rng.uniform(0.1, 10, size=(pictures, 1))
    return first, first + noise * rng.normal(size=first.shape)


def _unit(rows: np.ndarray) -> list[np.ndarray]:
    return [row / math.sqrt(sum(value * value for value in row)) for row in rows]


def test_alignment_is_that_of_the_slow_way() -> None:
    first, second = _views()
    pairs = zip(_unit(first), _unit(second), strict=True)
    slow = [sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for a, b in pairs]
    assert alignment(first, second) == pytest.approx(sum(slow) / len(slow))
    assert alignment(first, 3 * first) == pytest.approx(0, abs=1e-12)
    assert alignment(first, -first) == pytest.approx(4)


@pytest.mark.parametrize("t", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("pictures", [2, 7, 40])
def test_uniformity_is_that_of_the_authors_code(t: float, pictures: int) -> None:
    rows, _ = _views(pictures)
    theirs = math.log(np.exp(-t * pdist(np.array(_unit(rows))) ** 2).mean())
    assert uniformity(rows, t) == pytest.approx(theirs, rel=1e-5)


def test_uniformity_is_zero_for_a_point_and_near_minus_2t_for_a_large_sphere() -> None:
    assert uniformity(np.tile([3.0, 4.0], (20, 1))) == pytest.approx(0, abs=1e-5)
    assert uniformity(np.random.default_rng(0).normal(size=(300, 500))) == pytest.approx(-4, abs=0.05)


def test_effective_rank_is_that_of_the_slow_way() -> None:
    rows, _ = _views(30, 5)
    unit = np.array(_unit(rows))
    values = [math.sqrt(value) for value in np.linalg.eigvalsh(unit.T @ unit)]
    entropy = -sum(value / sum(values) * math.log(value / sum(values)) for value in values)
    assert effective_rank(rows) == pytest.approx(math.exp(entropy))


def test_effective_rank_counts_the_dimensions_that_are_used() -> None:
    assert effective_rank(np.tile([[1.0, -2.0, 3.0]], (50, 1))) == pytest.approx(1)
    assert effective_rank(np.eye(8)[:5]) == pytest.approx(5)
    # Four directions of eight, equally often, of any length and either way.
    some = np.concatenate([np.eye(8)[:4], -7 * np.eye(8)[:4]])
    assert effective_rank(some) == pytest.approx(4)


def test_top1_of_views_is_that_of_the_slow_way() -> None:
    first, second = _views(noise=3.0)
    a, b = _unit(first), _unit(second)
    slow = [max(range(len(b)), key=lambda j, i=i: a[i] @ b[j]) == i for i in range(len(a))]
    assert 0 < np.mean(slow) < 1
    assert views_top1(first, second) == pytest.approx(np.mean(slow))
    assert views_top1(first, 2 * first) == 1


def test_views_that_are_all_the_same_know_nothing() -> None:
    assert views_top1(np.ones((9, 4)), np.ones((9, 4))) == 0
    assert views_top1(np.zeros((9, 4)), np.zeros((9, 4))) == 0


def test_what_cannot_be_measured_is_refused() -> None:
    rows = np.eye(3)
    for compare in (alignment, views_top1):
        with pytest.raises(ValueError, match="do not match"):
            compare(rows, rows[:2])
        with pytest.raises(ValueError, match="must have the shape"):
            compare(rows[0], rows[0])
    with pytest.raises(ValueError, match="two pictures"):
        uniformity(rows[:1])
    with pytest.raises(ValueError, match="embeddings are zero"):
        effective_rank(np.zeros((3, 4)))
    for measure in (uniformity, effective_rank):
        with pytest.raises(ValueError, match="must have the shape"):
            measure(np.zeros((0, 4)))
        with pytest.raises(ValueError, match="not finite"):
            measure(np.where(rows == 0, np.nan, rows))


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    rows = np.random.default_rng(0).normal(1.0, 1.0, (30, 5))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.mean([unit[a] @ unit[b] for a in range(30) for b in range(a)])
    assert mean_cosine(rows) == pytest.approx(expected, abs=1e-12)
    assert mean_cosine(np.ones((4, 3))) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match="two pictures"):
        mean_cosine(np.ones((1, 3)))
