"""Linkage and density-based clustering, which keep two faces of one photograph apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from faceclr_cli.core.grouping import linkage, neighbor_graph
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.density_clustering import cluster_by_density, separate_photo_mates
from faceclr_cli.core.grouping.linkage import (
    NONE,
    cluster_by_linkage,
    distances_to_groups,
    link_faces,
    number_groups,
)
from faceclr_cli.core.metrics.cluster_agreement import cluster_scores


def _scattered(people: int, faces: int, noise: float, seed: int = 0, dim: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(people, dim)), faces, axis=0) + noise * rng.normal(size=(people * faces, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()) - {NONE}}


def _linked_slowly(
    rows: np.ndarray,
    photographs: np.ndarray,
    threshold: float,
    known: Constraints | None = None,
    edges: np.ndarray | None = None,
) -> set[frozenset[int]]:
    """The definition: join the two groups of the largest mean similarity, as long as it reaches the threshold.

    With a matrix of edges, only groups that one of them connects.
    """
    similarity = rows.astype(np.float64) @ rows.T.astype(np.float64)
    known = known or Constraints.none(len(rows))
    found, people = _blocks_slowly(known), known.people

    def may_join(a: frozenset[int], b: frozenset[int]) -> bool:
        named = [{people[row] for row in group} - {-1} for group in (a, b)]
        return (
            not set(photographs[sorted(a)]) & set(photographs[sorted(b)])
            and not any((x in a and y in b) or (x in b and y in a) for x, y in known.apart.tolist())
            and len(named[0] | named[1]) == max(map(len, named))
            and (edges is None or edges[np.ix_(sorted(a), sorted(b))].any())
        )

    while True:
        allowed = [
            (similarity[np.ix_(sorted(a), sorted(b))].mean(), a, b) for a, b in combinations(found, 2) if may_join(a, b)
        ]
        best = max(allowed, key=lambda each: each[0], default=(-2.0, frozenset[int](), frozenset[int]()))
        if best[0] < threshold:
            return set(found)
        found = [group for group in found if group not in best[1:]] + [best[1] | best[2]]


def _blocks_slowly(known: Constraints) -> list[frozenset[int]]:
    found = [{row} for row in range(len(known.people))]
    for labels in (known.people, known.together, known.tracks):
        for label in set(labels.tolist()) - {-1}:
            members = set(np.flatnonzero(labels == label).tolist())
            touched = [block for block in found if block & members]
            found = [block for block in found if not block & members] + [set().union(*touched)]
    return [frozenset(block) for block in found]


def _constrained(seed: int) -> tuple[np.ndarray, np.ndarray, Constraints]:
    rng = np.random.default_rng(100 + seed)
    rows, photographs = _scattered(5, 7, 0.8, seed), rng.integers(0, 20, 35)
    people, together = np.full(35, -1), np.full(35, -1)
    people[rng.permutation(35)[:9]] = np.repeat([4, 2, 9], 3)
    # No label connects two people.
    free = np.flatnonzero(people == -1)
    together[rng.permutation(free)[:8]] = np.repeat([0, 3], 4)
    tracks = np.full(35, -1)
    tracks[rng.permutation(free)[:6]] = np.repeat([1, 5], 3)
    apart = rng.integers(0, 35, (6, 2))
    return rows, photographs, Constraints(people=people, together=together, tracks=tracks, apart=apart)


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_constraints_do_what_their_definition_says(threshold: float, seed: int) -> None:
    rows, photographs, known = _constrained(seed)
    found = _partition(cluster_by_linkage(rows, photographs, threshold, known))
    assert found == _linked_slowly(rows, photographs, threshold, known)
    for label in (4, 2, 9):
        assert any(set(np.flatnonzero(known.people == label).tolist()) <= group for group in found)


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_linkage_on_the_graph_of_all_neighbors_is_the_same(
    threshold: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, photographs, known = _constrained(seed)
    whole = link_faces(rows, photographs, threshold, known)
    monkeypatch.setattr(linkage, "MOST_AT_ONCE", 1)
    found = link_faces(rows, photographs, threshold, known)
    assert _partition(found.groups) == _partition(whole.groups)
    assert whole.search == "exact"
    assert found.search == ("neighbors" if threshold < 0.9 else "exact"), "no other face is similar at 0.9"


@pytest.mark.parametrize("neighbors", [1, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_linkage_on_the_graph_of_nearest_neighbors_does_what_its_definition_says(
    neighbors: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linkage, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(neighbor_graph, "NEIGHBORS", neighbors)
    rows, photographs, known = _constrained(seed)
    for threshold in (-0.5, 0.0, 0.3, 0.6):
        similarity = rows @ rows.T - 3 * np.eye(len(rows))
        edges = similarity >= np.maximum(np.sort(similarity)[:, -neighbors, None], threshold)
        found = _partition(cluster_by_linkage(rows, photographs, threshold, known))
        assert found == _linked_slowly(rows, photographs, threshold, known, edges | edges.T)


@pytest.mark.parametrize("most", [1, 12_000])
def test_linkage_with_the_approximate_search_finds_the_same_groups(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    rows, rng = _scattered(150, 10, 0.5, dim=32), np.random.default_rng(3)
    shuffled = rng.permutation(len(rows))
    rows, photographs = rows[shuffled], rng.integers(0, 1000, len(rows))
    whole = link_faces(rows, photographs, 0.5)
    monkeypatch.setattr(neighbor_graph, "MOST_EXACT", 1000)
    monkeypatch.setattr(linkage, "MOST_AT_ONCE", most)
    found = link_faces(rows, photographs, 0.5)
    assert (whole.search, whole.recall, found.search) == ("exact", None, "approximate")
    assert found.recall is not None and found.recall >= 0.98
    people = (shuffled // 10).tolist()
    quality, best = cluster_scores(people, found.groups).bcubed.f, cluster_scores(people, whole.groups).bcubed.f
    assert quality == pytest.approx(best, abs=0.005)
    for group in _partition(found.groups):
        assert len(set(photographs[sorted(group)])) == len(group)


def test_faces_of_known_people_are_one_group_in_the_approximate_search(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    rows = _scattered(200, 10, 0.2, dim=32)
    people = np.full(len(rows), -1)
    # Two people who do not look alike, and one whose faces the user divided.
    people[[0, 10]], people[20:25], people[25:30] = 5, 6, 7
    free = np.full(len(rows), -1)
    known = Constraints(people=people, together=free, tracks=free, apart=np.array([[30, 31]]))
    monkeypatch.setattr(neighbor_graph, "MOST_EXACT", 100)
    for most in (1, 12_000):
        monkeypatch.setattr(linkage, "MOST_AT_ONCE", most)
        found = cluster_by_linkage(rows, np.arange(len(rows)), 0.6, known)
        assert found[0] == found[10]
        assert len(set(found[20:25])) == len(set(found[25:30])) == 1
        assert found[20] != found[25]
        assert found[30] != found[31]
        assert len(set(found[40:50])) == 1


def test_a_must_link_joins_two_faces_of_one_photograph_and_overrides_a_cannot_link() -> None:
    rows, photographs = _scattered(2, 3, 0.2), np.array([0, 1, 2, 0, 3, 4])
    together = np.array([7, -1, -1, 7, -1, -1])
    known = Constraints(people=np.full(6, -1), together=together, tracks=np.full(6, -1), apart=np.array([[0, 3]]))
    groups_found = cluster_by_linkage(rows, photographs, 0.99, known)
    assert groups_found[0] == groups_found[3]


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_linkage_does_what_its_definition_says(threshold: float, seed: int) -> None:
    rows = _scattered(5, 7, 0.8, seed)
    photographs = np.random.default_rng(seed).integers(0, 20, len(rows))
    assert _partition(cluster_by_linkage(rows, photographs, threshold)) == _linked_slowly(rows, photographs, threshold)


def test_parts_that_are_searched_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, photographs = _scattered(20, 5, 0.6), np.arange(100)
    whole = cluster_by_linkage(rows, photographs, 0.4)
    monkeypatch.setattr(neighbor_graph, "_SIMILARITIES_PER_BLOCK", 700)
    for edges in (1, 50):
        monkeypatch.setattr(neighbor_graph, "_EDGES_AT_ONCE", edges)
        assert np.array_equal(cluster_by_linkage(rows, photographs, 0.4), whole)


@pytest.mark.parametrize("seed", range(4))
def test_no_group_has_two_faces_of_one_photograph(seed: int) -> None:
    # Photographs of four look-alikes each: by their looks alone, all would be one group.
    rows = _scattered(3, 40, 0.5, seed)
    photographs = np.random.default_rng(seed).integers(0, 30, len(rows))
    dense, _ = cluster_by_density(rows, photographs, 2)
    for found in (dense, cluster_by_linkage(rows, photographs, -1)):
        for group in _partition(found):
            assert len(set(photographs[sorted(group)])) == len(group)


def test_a_merged_group_of_two_people_is_split_by_similarity() -> None:
    rows = _scattered(2, 10, 0.3, 1)
    # They are together in one photograph, so the rest of the group must be distinguished from them.
    photographs = np.array([0, *range(1, 10), 0, *range(10, 19)])
    assert _partition(separate_photo_mates(rows, photographs)) == {frozenset(range(10)), frozenset(range(10, 20))}


def test_density_finds_people_and_gives_outliers_low_probability() -> None:
    rows = np.concatenate([_scattered(6, 10, 0.3, dim=128), _scattered(5, 1, 0, 9, dim=128)])
    found, sure = cluster_by_density(rows, np.arange(65), 5)
    assert {frozenset(range(start, start + 10)) for start in range(0, 60, 10)} == _partition(found[:60])
    assert sure[60:].max() < sure[:60].min()
    assert (sure[found == NONE] == 0).all()
    assert (cluster_by_density(rows[:1], np.arange(1), 2)[0] == NONE).all()


@pytest.mark.parametrize("noise", [0.3, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_density_keeps_constraints(seed: int, noise: float) -> None:
    _, photographs, known = _constrained(seed)
    rows = _scattered(5, 7, noise, seed)
    found, sure = cluster_by_density(rows, photographs, 2, known)
    blocks = _blocks_slowly(known)
    for block in blocks:
        assert len({found[row] for row in block}) == 1
        assert len(block) == 1 or found[min(block)] != NONE, "linked faces are a group"
    assert np.isfinite(sure).all()
    for group in _partition(found):
        parts = [block for block in blocks if block <= group]
        assert len({known.people[row] for row in group} - {-1}) <= 1
        for left, right in combinations(parts, 2):
            assert not set(photographs[sorted(left)]) & set(photographs[sorted(right)])
            pairs = {frozenset(pair) for pair in known.apart.tolist()}
            assert not any(frozenset((a, b)) in pairs for a in left for b in right)


def test_density_joins_groups_of_one_person_and_divides_those_of_two() -> None:
    rows, free = _scattered(4, 10, 0.3, dim=64), np.full(40, -1)
    plain = cluster_by_density(rows, np.arange(40), 2)[0]
    assert {frozenset(range(start, start + 10)) for start in range(0, 40, 10)} == _partition(plain)
    people = free.copy()
    # One person in two groups, and two people in one, whose other faces join the more similar of the two.
    people[[0, 10]], people[[20, 21, 22]], people[[23, 24]] = 7, 8, 9
    known = Constraints(people=people, together=free, tracks=free, apart=np.empty((0, 2), np.int64))
    found = cluster_by_density(rows, np.arange(40), 2, known)[0]
    assert frozenset(range(20)) in _partition(found) and frozenset(range(30, 40)) in _partition(found)
    halves = [group for group in _partition(found) if group <= set(range(20, 30))]
    assert len(halves) == 2 and sum(map(len, halves)) == 10


def test_copies_of_a_face_do_not_divide_its_group() -> None:
    rows = _scattered(4, 6, 0.3, dim=64)
    plain = cluster_by_density(rows, np.arange(len(rows)), 2)[0]
    copied = np.append(np.arange(len(rows)), [0, 0, 0, 6, 6, 12])
    found, sure = cluster_by_density(rows[copied], np.arange(len(copied)), 2)
    assert _partition(found[: len(rows)]) == _partition(plain)
    assert np.array_equal(found, found[copied])
    assert np.isfinite(sure).all()


def test_identical_faces_form_groups() -> None:
    rows = np.repeat(_scattered(3, 1, 0), (4, 1, 3), axis=0)
    assert _partition(cluster_by_density(rows[:4], np.arange(4), 2)[0]) == {frozenset(range(4))}
    found, _ = cluster_by_density(rows, np.arange(8), 4)
    assert _partition(found) == {frozenset(range(4))}
    assert found[4:].tolist() == [NONE] * 4


def test_groups_are_numbered_by_size_and_small_ones_are_none() -> None:
    assert number_groups(np.array([5, 9, 9, 7, 5, NONE, 9, 3]), 2).tolist() == [1, 0, 0, NONE, 1, NONE, 0, NONE]


def test_the_distance_of_a_face_is_the_mean_to_the_others_of_its_group() -> None:
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)
    found = distances_to_groups(rows, np.array([0, 0, 0, NONE]))
    assert found[:3] == pytest.approx([(1 + 0.4) / 2, (1 + 0.2) / 2, (0.4 + 0.2) / 2])
    assert np.isnan(found[3])
