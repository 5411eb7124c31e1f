"""Scores of groups, compared with the paper and with manual results."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import pair_confusion_matrix

from faceclr_cli.core.metrics.cluster_agreement import cluster_scores


def _bcubed_as_in_the_paper(people: list[int], groups: list[int]) -> tuple[float, float]:
    """Section 4 of Amigó et al. (2009): the average over items of the average correctness with those beside them."""

    def correctness(a: int, b: int) -> int:
        return int((people[a] == people[b]) == (groups[a] == groups[b]))

    items = range(len(people))
    precision = [np.mean([correctness(a, b) for b in items if groups[a] == groups[b]]) for a in items]
    recall = [np.mean([correctness(a, b) for b in items if people[a] == people[b]]) for a in items]
    return float(np.mean(precision)), float(np.mean(recall))


@pytest.mark.parametrize("seed", range(5))
def test_bcubed_is_that_of_the_paper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people, groups = rng.integers(0, 6, 60).tolist(), rng.integers(0, 9, 60).tolist()
    scores = cluster_scores(people, groups)
    precision, recall = _bcubed_as_in_the_paper(people, groups)
    assert scores.bcubed.precision == pytest.approx(precision)
    assert scores.bcubed.recall == pytest.approx(recall)
    assert scores.bcubed.f == pytest.approx(1 / (0.5 / precision + 0.5 / recall))


def test_a_case_worked_by_hand() -> None:
    # Ann is split into two groups, one of which has Bob's only face.
    scores = cluster_scores(["ann", "ann", "ann", "bob"], [0, 0, 1, 1])
    assert scores.bcubed.precision == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert scores.bcubed.recall == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert (scores.pairwise.precision, scores.pairwise.recall) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert scores.pairwise.f == pytest.approx(0.4)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_and_information_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people, groups = rng.integers(0, 5, 80), rng.integers(0, 7, 80)
    (_, joined), (apart, right) = pair_confusion_matrix(people, groups)
    scores = cluster_scores(people, groups)
    assert scores.pairwise.precision == pytest.approx(right / (right + joined))
    assert scores.pairwise.recall == pytest.approx(right / (right + apart))
    # The entropy of labels is their mutual information with themselves.
    entropies = [mutual_info_score(labels, labels) for labels in (people, groups)]
    information = mutual_info_score(people, groups) / np.mean(entropies)
    assert scores.nmi == pytest.approx(information)


def test_faces_without_a_group_are_each_alone() -> None:
    people = ["ann", "ann", "bob", "cleo"]
    assert cluster_scores(people, [0, -1, -1, -1]) == cluster_scores(people, [3, 0, 1, 2])


def test_right_groups_are_perfect_and_numbers_mean_nothing() -> None:
    scores = cluster_scores(["ann", "bob", "bob", "ann"], [7, 2, 2, 7])
    assert (scores.bcubed.f, scores.pairwise.f, scores.nmi) == (1, 1, pytest.approx(1))


def test_one_pot_for_all_is_whole_and_impure_and_singles_are_the_reverse() -> None:
    people = list(np.repeat(np.arange(4), 5))
    pot, singles = cluster_scores(people, [0] * 20), cluster_scores(people, [-1] * 20)
    assert (pot.bcubed.precision, pot.bcubed.recall) == (pytest.approx(1 / 4), 1)
    assert (singles.bcubed.precision, singles.bcubed.recall) == (1, pytest.approx(1 / 5))
    genuine = sum(a == b for a, b in combinations(people, 2))
    assert pot.pairwise.precision == pytest.approx(genuine / (20 * 19 / 2))
    assert (singles.pairwise.precision, singles.pairwise.recall, singles.pairwise.f) == (1, 0, 0)


@pytest.mark.parametrize(("people", "groups"), [([], []), ([1, 2], [1]), ([[1]], [[1]])])
def test_what_does_not_go_together_is_refused(people: list[object], groups: list[object]) -> None:
    with pytest.raises(ValueError, match="do not match"):
        cluster_scores(people, groups)
