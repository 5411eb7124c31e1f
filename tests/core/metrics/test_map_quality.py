from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.metrics import silhouette_score

from faceclr_cli.core.metrics.map_quality import cosine_silhouette, trustworthiness


def _crowd(faces: int, noise: float = 1.0) -> tuple[NDArray[np.float32], list[str]]:
    """Normalized embeddings of people with one to several faces, the first of zeros."""
    chance = np.random.default_rng(0)
    people = np.sort(chance.integers(0, faces // 6, faces))
    rows = chance.normal(size=(faces, 16))[people] + noise * chance.normal(size=(faces, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[0] = 0
    return rows.astype(np.float32), [f"p{person}" for person in people]


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
def test_silhouette_is_scikit_learns_by_cosine(noise: float) -> None:
    rows, names = _crowd(1200, noise)
    assert cosine_silhouette(rows, names) == pytest.approx(silhouette_score(rows, names, metric="cosine"), abs=1e-5)


def test_the_only_face_of_a_person_counts_as_neither_apart_nor_mixed() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert cosine_silhouette(rows, ["a", "a", "b"]) == pytest.approx(2 / 3)


def test_copies_that_two_people_share_are_neither_apart_nor_mixed() -> None:
    chance = np.random.default_rng(0)
    originals = chance.normal(size=(30, 128))
    originals = (originals / np.linalg.norm(originals, axis=1, keepdims=True)).astype(np.float32)
    rows, names = np.repeat(originals, 4, axis=0), [f"{picture}{who}" for picture in range(30) for who in "aabb"]
    assert cosine_silhouette(rows, names) == 0
    assert cosine_silhouette(rows[:2].repeat(3, axis=0), list("ababab")) == 0
    # By hand: x is (0 - 1) / 1 and (1 - 1) / 1; y is (0.5 - 0) / 0.5 twice.
    corners = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], np.float32)
    assert cosine_silhouette(corners, ["x", "x", "y", "y"]) == pytest.approx((-1 + 0 + 1 + 1) / 4)


def test_people_who_cannot_be_apart_have_no_silhouette() -> None:
    rows, _ = _crowd(12)
    for names in (["a"] * 12, [str(number) for number in range(12)]):
        with pytest.raises(ValueError, match="silhouette is undefined"):
            cosine_silhouette(rows, names)
    with pytest.raises(ValueError, match="do not match"):
        cosine_silhouette(rows, ["a", "b"])


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("kind", ["true", "random"])
def test_trustworthiness_is_scikit_learns_by_cosine(k: int, kind: str) -> None:
    rows, _ = _crowd(700)
    rows = rows[1:]
    points = rows[:, :2] if kind == "true" else np.random.default_rng(1).normal(size=(len(rows), 2))
    expected = sklearn_trustworthiness(rows, points, n_neighbors=k, metric="cosine")
    assert trustworthiness(rows, points, k) == pytest.approx(expected, abs=1e-6)


def test_a_sample_comes_close_to_the_whole_and_repeats() -> None:
    rows, _ = _crowd(3000)
    points = rows[:, :2]
    whole, sample = (
        trustworthiness(rows, points, 10, sample_size=3000),
        trustworthiness(rows, points, 10, sample_size=500),
    )
    assert sample == pytest.approx(whole, abs=0.01)
    assert sample != whole
    assert sample == trustworthiness(rows, points, 10, sample_size=500)


def test_neighbors_that_are_too_many_are_refused() -> None:
    rows, _ = _crowd(12)
    with pytest.raises(ValueError, match="below half of the 12 faces, not 6"):
        trustworthiness(rows, rows[:, :2], 6)
    with pytest.raises(ValueError, match="do not match"):
        trustworthiness(rows, rows[:5, :2], 1)
