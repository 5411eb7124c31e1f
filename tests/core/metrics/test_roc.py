from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from faceclr_cli.core.metrics.cross_validation import k_fold_accuracy
from faceclr_cli.core.metrics.roc import (
    auc,
    balanced_threshold,
    best_threshold,
    cosine_scores,
    eer,
    every_pair,
    roc,
    tar_at_far,
)


def _scores(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = rng.random(400) < 0.4
    scores = np.clip(rng.normal(np.where(same, 0.5, 0.1), 0.2), -1, 1)
    return (scores.round(1) if ties else scores), same


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_curve_and_area_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    scores, same = _scores(seed, ties)
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    curve = roc(scores, same)
    np.testing.assert_allclose(curve.far, far)
    np.testing.assert_allclose(curve.tar, tar)
    np.testing.assert_allclose(curve.thresholds[1:], thresholds[1:])
    assert auc(scores, same) == pytest.approx(roc_auc_score(same, scores))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("far", [0.0, 0.01, 0.1, 0.29, 0.5, 1.0])
def test_tar_at_far_is_the_best_of_every_threshold_that_is_allowed(far: float, ties: bool) -> None:
    scores, same = _scores(7, ties)
    candidates = [*np.unique(scores), 2.0]
    allowed = [t for t in candidates if np.mean(scores[~same] >= t) <= far + 1e-12]
    point = tar_at_far(scores, same, far)
    assert point.tar == pytest.approx(max(np.mean(scores[same] >= t) for t in allowed))
    assert point.far == np.mean(scores[~same] >= point.threshold) <= far
    assert point.tar == np.mean(scores[same] >= point.threshold)


def test_tar_at_far_by_hand() -> None:
    scores = [0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1]
    same = [True, True, True, False, False, False, False]
    strict, quarter = tar_at_far(scores, same, 0.0), tar_at_far(scores, same, 0.25)
    assert (strict.threshold, strict.far, strict.tar) == (0.8, 0.0, pytest.approx(2 / 3))
    assert (quarter.threshold, quarter.far, quarter.tar) == (0.4, 0.25, 1.0)


def test_where_an_impostor_is_on_top_nothing_can_be_accepted() -> None:
    point = tar_at_far([0.5, 0.9], [True, False], 0.0)
    assert (point.tar, point.far) == (0.0, 0.0)
    assert 0.9 < point.threshold < 0.9001


def test_equal_error_rate_by_hand() -> None:
    assert eer([0.9, 0.8, 0.2, 0.1], [True, True, False, False]) == 0.0
    assert eer([0.9, 0.3, 0.8, 0.1], [True, True, False, False]) == pytest.approx(0.5)
    assert eer([0.1, 0.2, 0.8, 0.9], [True, True, False, False]) == 1.0
    assert eer([0.5] * 4, [True, False, True, False]) == pytest.approx(0.5)


@pytest.mark.parametrize("ties", [False, True])
def test_best_threshold_beats_every_other(ties: bool) -> None:
    scores, same = _scores(3, ties)

    def right(threshold: float) -> int:
        return int(((scores >= threshold) == same).sum())

    assert right(best_threshold(scores, same)) == max(right(t) for t in [*np.unique(scores), 2.0])


def test_best_threshold_lies_between_the_scores_that_it_parts() -> None:
    assert best_threshold([0.8, 0.6, 0.2], [True, True, False]) == pytest.approx(0.4)


def test_folds_judge_by_the_others_threshold() -> None:
    scores, same = _scores(5, ties=False)
    result = k_fold_accuracy(scores, same, 4)
    fold_of = np.empty(len(same), int)
    for kind in (True, False):
        members = np.flatnonzero(same == kind)
        for fold, part in enumerate(np.array_split(members, 4)):
            fold_of[part] = fold
    for fold in range(4):
        inside = fold_of == fold
        threshold = best_threshold(scores[~inside], same[~inside])
        assert result.accuracies[fold] == np.mean((scores[inside] >= threshold) == same[inside])
    assert result.mean == pytest.approx(result.accuracies.mean())
    assert result.standard_error == pytest.approx(result.accuracies.std(ddof=1) / 2)


def test_pairs_that_failed_are_wrong_whatever_they_are() -> None:
    same = np.tile([True, False], 10)
    scores = np.where(same, 0.9, 0.1)
    assert k_fold_accuracy(scores, same, 2).mean == 1.0
    failed = np.zeros(20, bool)
    failed[:2] = True
    with_failures = np.where(failed, np.nan, scores)
    result = k_fold_accuracy(with_failures, same, 2, failed)
    assert result.mean == pytest.approx(0.9)
    assert not result.accepted[failed].any()


@pytest.mark.parametrize("measure", [roc, auc, eer, best_threshold, k_fold_accuracy])
def test_nonsense_is_refused(measure) -> None:
    with pytest.raises(ValueError, match="both genuine and impostor"):
        measure([0.1, 0.2], [True, True])
    with pytest.raises(ValueError, match="finite"):
        measure([0.1, np.nan], [True, False])
    with pytest.raises(ValueError, match="do not match"):
        measure([0.1], [True, False])


def test_more_folds_than_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"there is 1 genuine pair$"):
        k_fold_accuracy([0.1, 0.2, 0.3], [True, False, False], 2)


def test_cosine_of_rows() -> None:
    left, right = [[1, 0], [1, 1], [0, 0]], [[0, 2], [2, 2], [1, 0]]
    np.testing.assert_allclose(cosine_scores(left, right), [0, 1, 0])
    with pytest.raises(ValueError, match="same two-dimensional shape"):
        cosine_scores([[1, 0]], [[1, 0], [0, 1]])


def test_every_pair_is_there_once_with_its_cosine() -> None:
    rng = np.random.default_rng(0)
    embeddings, labels = rng.normal(size=(9, 4)), rng.integers(0, 3, 9)
    scores, same = every_pair(embeddings, labels)
    expected = [
        (a @ b / np.linalg.norm(a) / np.linalg.norm(b), p == q)
        for (a, p), (b, q) in combinations(zip(embeddings, labels, strict=True), 2)
    ]
    np.testing.assert_allclose(scores, [score for score, _ in expected])
    assert same.tolist() == [genuine for _, genuine in expected]


def test_the_balanced_threshold_weighs_both_kinds_the_same() -> None:
    rng = np.random.default_rng(1)
    same = rng.random(500) < 0.05
    scores = rng.normal(size=500) + 1.5 * same
    threshold, accuracy = balanced_threshold(scores, same)
    by_hand = {t: (np.mean(scores[same] >= t) + np.mean(scores[~same] < t)) / 2 for t in [*scores, threshold]}
    assert by_hand[threshold] == pytest.approx(accuracy)
    assert accuracy == pytest.approx(max(by_hand.values()))
