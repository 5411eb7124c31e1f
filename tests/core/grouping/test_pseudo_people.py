"""Clusters without names: their precision, and the end of clustering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from faceclr_cli.core.grouping import pseudo_people as module
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.pseudo_people import (
    LEAST_PRECISION,
    PseudoPeople,
    certain_negatives,
    find_pseudo_people,
    mean_silhouette,
    nearest_similarities,
    should_stop,
)
from faceclr_cli.core.metrics.normalization import normalize_rows

SHARES = (1.0, 0.8, 0.4, 0.2, 0.1)
Rows = NDArray[np.float32]


def people(count: int, pictures: int, spread: float, *, seed: int = 0) -> tuple[Rows, NDArray[np.int64]]:
    """Embeddings of people whose pictures are scattered around a center, some closer than others."""
    rng = np.random.default_rng(seed)
    centers = normalize_rows(rng.normal(size=(count, 32)))
    labels = np.repeat(np.arange(count), pictures)
    noise = normalize_rows(rng.normal(size=(len(labels), 32))) * rng.uniform(0.2, 1, (len(labels), 1)) * spread
    return normalize_rows(centers[labels] + noise).astype(np.float32), labels


def group_photographs(labels: NDArray[np.int64], size: int, count: int) -> NDArray[np.int64]:
    """Photographs of a few people each, composed of some of the pictures; all others are alone on theirs."""
    photographs = np.arange(len(labels)) + len(labels)
    for number in range(count):
        left = np.bincount(labels[photographs >= len(labels)], minlength=labels.max() + 1)
        for person in np.argsort(-left - np.random.default_rng(number).random(len(left)))[:size]:
            photographs[np.flatnonzero((labels == person) & (photographs >= len(labels)))[0]] = number
    return photographs


def purity(found: PseudoPeople, labels: NDArray[np.int64]) -> float:
    """Share of the faces in groups that show the person most frequent there, counted group by group."""
    members = [labels[found.groups == group] for group in range(found.count)]
    return sum(np.bincount(each).max() for each in members) / sum(map(len, members))


def test_certain_negatives_are_all_pairs_of_one_photograph() -> None:
    found = certain_negatives(np.array([5, 1, 5, 2, 5, 1]))
    assert {tuple(sorted(pair)) for pair in found.tolist()} == {(0, 2), (0, 4), (2, 4), (1, 5)}
    assert certain_negatives(np.arange(4)).shape == (0, 2)


def test_nearest_similarity_is_that_of_the_nearest_other_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIMILARITIES_PER_BLOCK", 100)
    rows, labels = people(5, 6, 1.0)
    expected = [max(float(a @ b) for j, b in enumerate(rows) if j != i) for i, a in enumerate(rows)]
    np.testing.assert_allclose(nearest_similarities(rows, np.arange(len(rows))), expected, rtol=1e-5)
    blocks = labels // 2
    expected = [max(float(a @ b) for j, b in enumerate(rows) if blocks[j] != blocks[i]) for i, a in enumerate(rows)]
    np.testing.assert_allclose(nearest_similarities(rows, blocks), expected, rtol=1e-5)


def test_the_silhouette_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIMILARITIES_PER_BLOCK", 50)
    rows, labels = people(6, 5, 0.8)
    groups = np.where(np.arange(len(labels)) % 7 == 0, -1, labels)
    chosen = groups >= 0
    expected = silhouette_score(rows[chosen], groups[chosen], metric="cosine")
    assert mean_silhouette(rows, groups) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("groups_of", [0, 5], ids=["without", "with"])
def test_distinct_people_are_clustered_as_far_as_possible_and_others_with_precision(groups_of: int) -> None:
    targets = []
    for spread in (0.4, 1.6):
        rows, labels = people(40, 8, spread)
        photographs = group_photographs(labels, groups_of, 40) if groups_of else np.arange(len(labels))
        found = find_pseudo_people(rows, photographs, SHARES)
        assert found is not None
        assert purity(found, labels) > 0.9
        assert found.share == pytest.approx((found.groups >= 0).mean())
        targets.append(found.target)
    assert targets[0] == 1.0
    if not groups_of:
        assert targets[1] < 1.0  # Without certain negatives, more caution is needed.


def test_precision_is_estimated_from_certain_negatives() -> None:
    rows, labels = people(40, 8, 0.9)
    photographs = group_photographs(labels, 6, 50)
    found = find_pseudo_people(rows, photographs, [1.0, 0.8])
    assert found is not None and found.joined is not None and found.precision is not None
    assert found.precision >= LEAST_PRECISION
    same, joined = (each[:, None] == each for each in (labels, found.groups))
    pairs = np.triu(joined & (found.groups[:, None] >= 0), 1)
    assert found.precision == pytest.approx((same & pairs).sum() / pairs.sum(), abs=0.1)
    groups = found.groups[certain_negatives(photographs)]
    assert not ((groups[:, 0] == groups[:, 1]) & (groups[:, 0] >= 0)).any()


def test_tracks_join_looks_that_are_not_alike_and_never_those_of_two_people_in_one_frame() -> None:
    rows, labels = people(40, 8, 0.5)
    # Each person has another look in half of the faces, and half of the people are filmed from one to the other.
    other_looks, _ = people(40, 8, 0.5, seed=7)
    rows = np.where((np.arange(len(rows)) % 8 < 4)[:, None], rows, other_looks).astype(np.float32)
    tracks = np.where(np.isin(np.arange(len(rows)) % 8, (3, 4)) & (labels < 20), labels, -1)
    # The first two people look the same, but are in one frame.
    rows[8:16] = rows[:8]
    first, second = (np.flatnonzero(tracks == person) for person in (0, 1))
    apart = np.array([(a, b) for a in first for b in second])
    known = replace(Constraints.none(len(rows)), tracks=tracks, apart=apart)
    photographs = np.arange(len(rows))
    found = find_pseudo_people(rows, photographs, SHARES, known)
    plain = find_pseudo_people(rows, photographs, SHARES)
    assert found is not None and plain is not None
    for person in range(20):
        own = np.unique(found.groups[tracks == person])
        assert len(own) == 1 and own[0] != -1
        without = np.unique(plain.groups[tracks == person])
        assert len(without) > 1 or without[0] == -1
    assert found.groups[first[0]] != found.groups[second[0]]


def test_tracks_seen_in_one_frame_tell_the_precision() -> None:
    """The crops of a track are one piece of evidence, and their pairs do not count in favor of the encoder."""
    rows, labels = people(40, 8, 0.9)
    tracks = np.arange(len(rows)) // 2  # Four tracks of each person, and two crops of each track.
    frames = group_photographs(labels[::2], 6, 25)
    pairs = certain_negatives(frames)
    apart = np.concatenate([2 * pairs, 2 * pairs + 1, 2 * pairs + [0, 1], 2 * pairs + [1, 0]])
    known = replace(Constraints.none(len(rows)), tracks=tracks, apart=apart)
    found = find_pseudo_people(rows, np.arange(len(rows)), [1.0, 0.8], known)
    assert found is not None and found.precision is not None
    same, joined, own = (each[:, None] == each for each in (labels, found.groups, tracks))
    counted = np.triu(joined & ~own, 1)
    assert found.precision == pytest.approx((same & counted).sum() / counted.sum(), abs=0.1)


def test_rounds_stop_when_certain_negatives_begin_to_share_clusters() -> None:
    """An encoder that begins to group faces by pose, judged on group photographs."""
    rows, labels = people(40, 8, 0.4)
    photographs = group_photographs(labels, 5, 40)
    before = find_pseudo_people(rows, photographs, SHARES)
    assert before is not None and before.precision is not None
    assert should_stop(before, find_pseudo_people(people(40, 8, 0.3)[0], photographs, [before.target])) is None
    poses, _ = people(10, 32, 0.4, seed=3)
    by_pose = poses[np.random.default_rng(2).permutation(len(poses))]
    worse = find_pseudo_people(by_pose, photographs, [before.target])
    assert worse is None
    assert should_stop(before, worse) == "more faces of one photograph would share a cluster"


def test_rounds_stop_when_clusters_are_less_distinct_or_smaller() -> None:
    """The same without group photographs."""
    rows, _ = people(40, 8, 0.6)
    photographs = np.arange(len(rows))
    before = find_pseudo_people(rows, photographs, SHARES)
    assert before is not None and before.precision is None
    worse = find_pseudo_people(people(40, 8, 2.5)[0], photographs, [before.target])
    assert worse is None
    assert should_stop(before, worse) == "the clusters are less distinct"
    assert should_stop(before, before) is None
    assert should_stop(before, replace(before, share=0.8 * before.share)) == (
        f"fewer faces are in clusters ({0.8 * before.share:.0%}, {before.share:.0%} before)"
    )
