"""Groups that are joined because their faces match."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.match_linkage import join_matches
from faceclr_cli.core.metrics.cluster_agreement import cluster_scores
from tests.core.grouping.noisy_people import draw

THRESHOLD = 0.5


def embed(matches: set[tuple[int, int]], groups: NDArray[np.int64]) -> NDArray[np.float32]:
    """Embeddings of which the faces of one group, and the given pairs, have a similarity of 0.55, others 0.3."""
    gram = np.where(groups[:, None] == groups[None, :], 0.55, 0.3)
    for left, right in matches:
        gram[left, right] = gram[right, left] = 0.55
    np.fill_diagonal(gram, 1.0)
    values, vectors = np.linalg.eigh(gram)
    assert values.min() > 0
    rows: NDArray[np.float32] = (vectors * np.sqrt(values)).astype(np.float32)
    return rows


def test_no_faces_are_no_groups() -> None:
    nothing = np.empty(0, np.int64)
    assert not len(join_matches(np.empty((0, 8), np.float32), nothing, nothing, THRESHOLD, Constraints.none(0)))


GROUPS = np.array([0, 0, 0, 0, 0, 0, 1, 1])
"""Six faces of one group, two of another."""


def test_a_group_joins_if_its_faces_match_two_faces_of_the_other_on_average() -> None:
    rows, alone = embed({(0, 6), (1, 6), (2, 7), (3, 7)}, GROUPS), np.arange(8)
    assert len(set(join_matches(rows, alone, GROUPS, THRESHOLD, Constraints.none(8)).tolist())) == 1
    rows = embed({(0, 6), (1, 6), (2, 7)}, GROUPS)
    assert len(set(join_matches(rows, alone, GROUPS, THRESHOLD, Constraints.none(8)).tolist())) == 2


@pytest.mark.parametrize("why", ["photograph", "apart", "people"])
def test_groups_that_may_not_be_together_are_not_joined(why: str) -> None:
    rows, photographs, known = embed({(0, 6), (1, 6), (2, 7), (3, 7)}, GROUPS), np.arange(8), Constraints.none(8)
    if why == "photograph":
        photographs[7] = photographs[0]
    elif why == "apart":
        known = replace(known, apart=np.array([[5, 7]]))
    else:
        known = replace(known, people=np.array([4, -1, -1, -1, -1, -1, -1, 9]))
    assert join_matches(rows, photographs, GROUPS, THRESHOLD, known).tolist() == GROUPS.tolist()


def test_of_two_groups_of_one_photograph_the_one_with_more_matches_joins() -> None:
    groups = np.array([0, 0, 0, 0, 1, 2])
    rows = embed({(0, 4), (1, 4), (0, 5), (1, 5), (2, 5)}, groups)
    photographs = np.array([0, 1, 2, 3, 9, 9])
    found = join_matches(rows, photographs, groups, THRESHOLD, Constraints.none(6))
    assert found[5] == found[0] != found[4]


def transcribe(rows: NDArray[np.float32], groups: NDArray[np.int64]) -> set[frozenset[int]]:
    """The same, pair by pair: in each pass, the best pairs of which no group has been joined yet."""
    similar = rows @ rows.T >= THRESHOLD
    sets = [frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)]
    while True:
        ranked = []
        for number, other in combinations(range(len(sets)), 2):
            one, two = sets[number], sets[other]
            count = sum(bool(similar[a, b]) for a in one for b in two)
            if count >= 2 * min(len(one), len(two)):
                small, large = (number, other) if len(one) <= len(two) else (other, number)
                ranked.append((-count / (len(one) * len(two)), small, large))
        if not ranked:
            return set(sets)
        gone, new = set[int](), list[frozenset[int]]()
        for _, small, large in sorted(ranked):
            if not {small, large} & gone:
                gone |= {small, large}
                new.append(sets[small] | sets[large])
        sets = [each for number, each in enumerate(sets) if number not in gone] + new
        sets.sort(key=min)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_a_slow_transcription_gives_and_finds_more_of_each_person(seed: int) -> None:
    rows, names = draw(15, 10, seed, spread=0.115)
    groups = np.unique(np.arange(150) // 2, return_inverse=True)[1]  # Pairs of faces of one person.
    found = join_matches(rows, np.arange(150), groups, THRESHOLD, Constraints.none(150))
    assert {frozenset(np.flatnonzero(found == group).tolist()) for group in np.unique(found)} == transcribe(
        rows, groups
    )
    before, after = (cluster_scores(names, each).bcubed for each in (groups, found))
    assert after.recall > before.recall + 0.2 and after.precision > 0.99
