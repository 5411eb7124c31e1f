from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics import search
from faceclr_cli.core.metrics.search import PeopleIndex


def _unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    vectors = rng.normal(size=(rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _slowly(probes: np.ndarray, gallery: np.ndarray, people: np.ndarray, count: int) -> list[list[tuple[int, float]]]:
    answers = []
    for probe in probes:
        best: dict[int, float] = {}
        for row, person in zip(gallery, people, strict=True):
            score = float(np.float32(probe @ row))
            best[person] = max(best.get(person, -2.0), score)
        answers.append(sorted(best.items(), key=lambda item: (-item[1], item[0]))[:count])
    return answers


@pytest.mark.parametrize(("rows", "people"), [(300, 40), (3000, 1500)])
def test_it_finds_what_comparing_one_by_one_finds(rows: int, people: int) -> None:
    rng = np.random.default_rng(rows)
    gallery, probes = _unit(rng, rows, 8), _unit(rng, 20, 8)
    numbers = np.append(np.arange(people), rng.integers(0, people, rows - people))
    rng.shuffle(numbers)
    found = PeopleIndex(gallery, numbers).search(probes, 5)
    for place, expected in enumerate(_slowly(probes, gallery, numbers, 5)):
        assert found.people[place].tolist() == [person for person, _ in expected]
        np.testing.assert_allclose(found.similarities[place], [score for _, score in expected], atol=1e-6)
        rows_found = found.rows[place]
        assert numbers[rows_found].tolist() == found.people[place].tolist()
        np.testing.assert_allclose(gallery[rows_found] @ probes[place], found.similarities[place], atol=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    index, probes = PeopleIndex(_unit(rng, 50, 4), np.arange(50) // 2), _unit(rng, 30, 4)
    whole = index.search(probes, 3)
    monkeypatch.setattr(search, "_AT_ONCE", 170)
    parts = index.search(probes, 3)
    np.testing.assert_array_equal(parts.people, whole.people)
    np.testing.assert_array_equal(parts.rows, whole.rows)


@pytest.mark.parametrize("people", [4, 2000])
def test_of_equally_similar_people_the_first_come_first(people: int) -> None:
    gallery = np.tile(np.array([[1, 0]], np.float32), (people, 1))
    found = PeopleIndex(gallery, np.arange(people)).search(gallery[:1], 3)
    assert found.people.tolist() == [[0, 1, 2]]


def test_small_galleries_and_no_probes() -> None:
    index = PeopleIndex([[1.0, 0.0], [0.0, 1.0]], [1, 0])
    assert index.search([[1.0, 0.0]], 9).people.tolist() == [[1, 0]]
    assert index.search(np.empty((0, 2)), 9).people.shape == (0, 2)


def test_what_makes_no_gallery_is_refused() -> None:
    with pytest.raises(ValueError, match="gallery"):
        PeopleIndex(np.empty((0, 2)), [])
    with pytest.raises(ValueError, match="gaps"):
        PeopleIndex([[1.0, 0.0]], [1])
    with pytest.raises(ValueError, match="don't fit"):
        PeopleIndex([[1.0, 0.0]], [0]).search([[1.0, 0.0, 0.0]], 1)
