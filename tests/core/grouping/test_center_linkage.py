"""Joining of groups by their centers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from faceclr_cli.core.grouping.center_linkage import join_centers
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.linkage import cluster_by_linkage


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def _joined_slowly(
    rows: np.ndarray, photographs: np.ndarray, groups: np.ndarray, threshold: float, known: Constraints
) -> set[frozenset[int]]:
    """The definition: join the two groups with the most similar centers, as long as the similarity suffices."""
    found = list(_partition(groups))

    def likeness(a: frozenset[int], b: frozenset[int]) -> float:
        left, right = (_unit(rows[sorted(group)].sum(axis=0, keepdims=True))[0] for group in (a, b))
        return float(left @ right)

    def may_join(a: frozenset[int], b: frozenset[int]) -> bool:
        named = [{known.people[row] for row in group} - {-1} for group in (a, b)]
        return (
            not set(photographs[sorted(a)]) & set(photographs[sorted(b)])
            and not any((x in a and y in b) or (x in b and y in a) for x, y in known.apart.tolist())
            and len(named[0] | named[1]) == max(map(len, named))
        )

    while True:
        pairs = [(likeness(a, b), a, b) for a, b in combinations(found, 2) if may_join(a, b)]
        best = max(pairs, key=lambda each: each[0], default=(-2.0, frozenset[int](), frozenset[int]()))
        if best[0] < threshold:
            return set(found)
        found = [group for group in found if group not in best[1:]] + [best[1] | best[2]]


@pytest.mark.parametrize("threshold", [0.4, 0.6, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_joining_does_what_its_definition_says(threshold: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = _unit(np.repeat(rng.normal(size=(5, 16)), 8, axis=0) + rng.normal(size=(40, 16)))
    photographs, people = rng.integers(0, 30, 40), np.full(40, -1)
    people[rng.permutation(40)[:6]] = np.repeat([4, 2], 3)
    free = np.full(40, -1)
    known = Constraints(people=people, together=free, tracks=free, apart=rng.integers(0, 40, (6, 2)))
    groups = cluster_by_linkage(rows, photographs, 0.6, known)
    found = join_centers(rows, photographs, groups, threshold, known)
    assert _partition(found) == _joined_slowly(rows, photographs, groups, threshold, known)
    assert sorted(set(found.tolist())) == list(range(len(set(found.tolist()))))


def test_parts_of_a_person_are_joined_whose_pictures_vary_and_two_people_are_not() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 60)
    # Pictures of a person vary so much that their mean similarity is 0.37.
    rows = _unit(np.repeat(rng.normal(size=(20, 128)), 60, axis=0) + 1.3 * rng.normal(size=(1200, 128)))
    photographs = np.arange(len(rows))
    groups = cluster_by_linkage(rows, photographs, 0.42)
    assert len(set(groups.tolist())) > 100
    found = join_centers(rows, photographs, groups, 0.5, Constraints.none(len(rows)))
    large = [group for group in _partition(found) if len(group) > 1]
    assert len(large) == 20 and sum(map(len, large)) > 1000
    assert all(len(set(people[sorted(group)])) == 1 for group in large)


def test_a_zero_embedding_joins_nothing() -> None:
    rows = np.array([[0, 0], [1, 0], [1, 0]], np.float32)
    found = join_centers(rows, np.arange(3), np.arange(3), 0.5, Constraints.none(3))
    assert _partition(found) == {frozenset({0}), frozenset({1, 2})}
