from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics import gallery_search as search
from faceclr_cli.core.metrics.gallery_search import CoarseCopy, PeopleIndex


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
def test_equally_similar_people_keep_their_order(people: int) -> None:
    gallery = np.tile(np.array([[1, 0]], np.float32), (people, 1))
    found = PeopleIndex(gallery, np.arange(people)).search(gallery[:1], 3)
    assert found.people.tolist() == [[0, 1, 2]]


def test_small_galleries_and_no_probes() -> None:
    index = PeopleIndex([[1.0, 0.0], [0.0, 1.0]], [1, 0])
    assert index.search([[1.0, 0.0]], 9).people.tolist() == [[1, 0]]
    assert index.search(np.empty((0, 2)), 9).people.shape == (0, 2)


def test_what_makes_no_gallery_is_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        PeopleIndex(np.empty((0, 2)), [])
    with pytest.raises(ValueError, match="gaps"):
        PeopleIndex([[1.0, 0.0]], [1])
    with pytest.raises(ValueError, match="do not match"):
        PeopleIndex([[1.0, 0.0]], [0]).search([[1.0, 0.0, 0.0]], 1)


def test_scores_of_equal_pictures_are_equal_wherever_they_lie() -> None:
    rng = np.random.default_rng(3)
    gallery = _unit(rng, 5000, 128)
    gallery[[7, 2049, 4999]] = gallery[100]
    found = PeopleIndex(gallery, np.arange(5000)).search(gallery[100:101], 4)
    assert found.people.tolist() == [[7, 100, 2049, 4999]]
    assert len(set(found.similarities[0].tolist())) == 1


@pytest.mark.parametrize("people", [1, 3, 40])
def test_people_with_very_many_pictures_leave_room_for_the_others(people: int) -> None:
    rng = np.random.default_rng(people)
    gallery = _unit(rng, 4000, 16)
    numbers = np.append(np.arange(people), np.zeros(4000 - people, np.int64))
    gallery[people:] = gallery[0]
    probes = gallery[:1]
    found = PeopleIndex(gallery, numbers).search(probes, 5)
    expected = _slowly(probes, gallery, numbers, 5)[0]
    assert found.people[0].tolist() == [person for person, _ in expected]
    assert found.rows[0, 0] == 0


def _gallery_with_ties(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    gallery = _unit(rng, rows, 24)
    gallery[rows // 2 : rows // 2 + 40] = gallery[:40]
    probes = np.concatenate([gallery[:20] + 0.1 * _unit(rng, 20, 24), gallery[20:40], _unit(rng, 20, 24)])
    return gallery, probes / np.linalg.norm(probes, axis=1, keepdims=True), rng.integers(0, rows // 3, rows)


@pytest.mark.parametrize("least", [1, 10**9], ids=["8-bit copy", "product"])
def test_it_finds_what_faiss_finds(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr("faceclr_cli.core.metrics.gallery_search._LEAST_ROWS", least)
    gallery, probes, _ = _gallery_with_ties(6000)
    flat = faiss.IndexFlatIP(24)
    flat.add(gallery)
    index = PeopleIndex(gallery, np.arange(6000))
    for probe in probes.astype(np.float32):
        scores, rows = flat.search(probe[None], 10)
        found = index.search(probe[None], 5)
        np.testing.assert_allclose(found.similarities[0], scores[0, :5], atol=1e-6)
        # FAISS sums in 32 bits and breaks ties as they come: equal ones, by their rows.
        order = np.lexsort((rows[0], -np.round(scores[0], 6)))
        assert found.people[0].tolist() == rows[0][order][:5].tolist()


def test_a_copy_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    gallery, probes, people = _gallery_with_ties(6000)
    numbers = np.unique(people, return_inverse=True)[1]
    plain = PeopleIndex(gallery, numbers).search(probes, 7)
    monkeypatch.setattr("faceclr_cli.core.metrics.gallery_search._LEAST_ROWS", 1)
    index = PeopleIndex(gallery, numbers)
    for place, probe in enumerate(probes):
        found = index.search(probe[None], 7)
        assert found.people[0].tolist() == plain.people[place].tolist()
        assert found.similarities[0].tolist() == plain.similarities[place].tolist()
        assert found.rows[0].tolist() == plain.rows[place].tolist()


def test_a_copy_never_says_less_than_a_row_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    gallery, probes = _unit(rng, 3000, 32), _unit(rng, 30, 32)
    copy = CoarseCopy(gallery)
    for probe in probes:
        rows, others = copy.nearest(probe, 50)
        assert np.delete(gallery @ probe, rows).max() <= others
        assert others < 0.05 + np.sort(gallery @ probe)[-50]


@pytest.mark.parametrize("most", [1 << 27, 40 * 120])
def test_pictures_are_compared_with_those_of_others_and_of_many_a_sample_is(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(search, "_MOST_PRODUCTS", most)
    monkeypatch.setattr(search, "_AT_ONCE", 700)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    people = rng.permutation(np.append(np.repeat(np.arange(20), 3), np.zeros(60, int)))
    cosines = np.where(people[:, None] == people[None], -2, rows @ rows.T).max(axis=1)
    closest, who = PeopleIndex(rows, people).similarities_to_others()
    off = [np.abs(cosines[people == person] - cosine).min() for person, cosine in zip(who, closest, strict=True)]
    assert max(off) < 1e-5
    assert len(closest) == (120 if most > 40 * 120 else 40)
    # The person with 63 pictures is not asked more often than the others.
    assert most > 40 * 120 or set(np.bincount(who).tolist()) == {2}


def test_one_person_has_no_others() -> None:
    assert [len(found) for found in PeopleIndex([[1.0, 0.0]], [0]).similarities_to_others()] == [0, 0]
