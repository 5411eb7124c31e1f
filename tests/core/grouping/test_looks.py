"""Faces that join a known person because they are similar to some of the person's pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.linkage import cluster_by_linkage
from faceclr_cli.core.grouping.looks import join_by_look
from faceclr_cli.core.metrics.cluster_agreement import cluster_scores

THRESHOLD = 0.4


def faces_of(similarities: dict[tuple[str, str], float], looks: str) -> NDArray[np.float32]:
    """Embeddings whose looks, a letter for each face, have the given similarities, and faces of one look 0.9."""
    gram = np.array([[similarities.get((a, b), similarities.get((b, a), 0.9)) for b in looks] for a in looks])
    np.fill_diagonal(gram, 1.0)
    values, vectors = np.linalg.eigh(gram)
    assert values.min() > 0
    return (vectors * np.sqrt(values)).astype(np.float32)


def group(rows: NDArray[np.float32], photographs: NDArray[np.int64], known: Constraints) -> NDArray[np.int64]:
    """Groups faces as the command does."""
    groups = cluster_by_linkage(rows, photographs, THRESHOLD, known)
    return join_by_look(rows, photographs, groups, THRESHOLD, known)


def person(faces: int, of: int) -> Constraints:
    """The first faces are one person."""
    labels = np.where(np.arange(of) < faces, 0, -1)
    return replace(Constraints.none(of), people=labels)


SIMILARITIES = {("a", "b"): 0.42, ("a", "c"): 0.8, ("b", "c"): 0.25}
"""The mean similarity of c to two faces of look a and eight of look b is 0.36."""
LOOKS = "aabbbbbbbbc"


def test_a_face_joins_by_the_pictures_it_resembles_although_the_mean_of_all_is_too_different() -> None:
    rows, photographs = faces_of(SIMILARITIES, LOOKS), np.arange(11)
    assert len(set(cluster_by_linkage(rows[:10], photographs[:10], THRESHOLD).tolist())) == 1
    known = person(10, 11)
    assert len(set(cluster_by_linkage(rows, photographs, THRESHOLD, known).tolist())) == 2
    assert len(set(group(rows, photographs, known).tolist())) == 1


def test_a_face_joins_the_child_whom_the_user_declared_to_be_the_adult() -> None:
    rows = faces_of({("a", "b"): 0.1, ("a", "c"): 0.8, ("b", "c"): 0.1}, "aaaabbbbbbbbc")
    assert len(set(group(rows, np.arange(13), person(12, 13)).tolist())) == 1


def test_a_face_that_resembles_none_stays_alone() -> None:
    rows = faces_of({**SIMILARITIES, ("a", "c"): 0.38}, LOOKS)
    assert len(set(group(rows, np.arange(11), person(10, 11)).tolist())) == 2


@pytest.mark.parametrize("why", ["photograph", "apart"])
def test_a_face_that_may_not_be_the_person_stays_alone(why: str) -> None:
    rows, photographs, known = faces_of(SIMILARITIES, LOOKS), np.arange(11), person(10, 11)
    if why == "photograph":
        photographs[10] = photographs[9]
    else:
        known = replace(known, apart=np.array([[9, 10]]))
    assert len(set(group(rows, photographs, known).tolist())) == 2


def test_of_two_faces_of_one_photograph_the_more_similar_joins() -> None:
    rows = faces_of({**SIMILARITIES, ("a", "d"): 0.7, ("b", "d"): 0.25, ("c", "d"): 0.5}, LOOKS + "d")
    photographs = np.arange(12)
    photographs[11] = photographs[10]
    found = group(rows, photographs, person(10, 12))
    assert len(set(found[:11].tolist())) == 1 and found[11] != found[0]


def test_new_faces_of_known_people_join_them_as_if_everything_were_grouped_at_once() -> None:
    """The user has named half of the faces of 30 people, then the other half arrives."""
    rng, people = np.random.default_rng(0), np.repeat(np.arange(30), 12)
    rows = rng.standard_normal((30, 64))[people] + 1.05 * rng.standard_normal((360, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    is_new = np.arange(360) % 2 == 1
    known = replace(Constraints.none(360), people=np.where(is_new, -1, people))
    once, later = cluster_by_linkage(rows, np.arange(360), THRESHOLD), group(rows, np.arange(360), known)
    together = [[np.bincount(found[is_new & (people == name)]).max() for name in range(30)] for found in (once, later)]
    assert 90 < sum(together[0]) < 170  # The people are hard.
    assert sum(together[1]) >= sum(together[0])
    at_once, now = (cluster_scores(people, found).bcubed for found in (once, later))
    assert now.f > at_once.f and now.precision > 0.99
