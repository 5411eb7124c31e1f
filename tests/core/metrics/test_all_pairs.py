"""All pairs in blocks, compared with scikit-learn and with the same pairs computed at once."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from faceclr_cli.core.metrics import all_pairs
from faceclr_cli.core.metrics.all_pairs import Pairs, count_scores, measure_all_pairs
from faceclr_cli.core.metrics.roc import eer, tar_at_far

FARS = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 0.29, 0.5, 1.0)


def crowd(people: int, pictures: int, noise: float, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(people)
    centers = rng.normal(size=(people, dim))
    rows = np.repeat(centers, pictures, axis=0) + noise * rng.normal(size=(people * pictures, dim))
    order = rng.permutation(len(rows))
    return rows[order].astype(np.float32), np.repeat(np.arange(people), pictures)[order]


def held(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair at once, by the same products."""
    blocks = list(Pairs(embeddings, labels).blocks())
    same = np.concatenate([genuine for genuine, _ in blocks])
    different = np.concatenate([impostor for _, impostor in blocks])
    return np.concatenate([same, different]), np.repeat([True, False], [len(same), len(different)])


def test_each_pair_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = crowd(9, 5, 0.7)
    unit = embeddings.astype(np.float64) / np.linalg.norm(embeddings, axis=1, keepdims=True)
    above = np.triu_indices(45, 1)
    same = labels[above[0]] == labels[above[1]]
    expected = (unit @ unit.T)[above]
    for size in (1, 100, 1 << 24):
        monkeypatch.setattr(all_pairs, "_AT_ONCE", size)
        scores, genuine = held(embeddings, labels)
        np.testing.assert_allclose(np.sort(scores[genuine]), np.sort(expected[same]), atol=1e-6)
        np.testing.assert_allclose(np.sort(scores[~genuine]), np.sort(expected[~same]), atol=1e-6)


@pytest.mark.parametrize(("people", "pictures", "noise"), [(2, 2, 0.5), (30, 6, 0.6), (120, 4, 1.5), (40, 5, 0.01)])
def test_it_agrees_with_scikit_learn_and_with_all_pairs_held_at_once(
    people: int, pictures: int, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_pairs, "_AT_ONCE", 5000)
    embeddings, labels = crowd(people, pictures, noise)
    scores, same = held(embeddings, labels)
    measured = measure_all_pairs(embeddings, labels, FARS)
    assert (measured.genuine, measured.impostor) == (same.sum(), (~same).sum())
    assert measured.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    assert measured.eer == pytest.approx(eer(scores, same), abs=1e-6)
    fprs, tprs, _ = roc_curve(same, scores, drop_intermediate=False)
    for far, point in zip(FARS, measured.points, strict=True):
        expected = tar_at_far(scores, same, far)
        assert (point.threshold, point.far, point.tar) == (expected.threshold, expected.far, expected.tar)
        assert point.tar == pytest.approx(tprs[fprs <= far + 1e-12].max())


def test_scores_that_are_equal_are_accepted_together() -> None:
    corners = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [-1, 0], [0.6, 0.8]], np.float32)
    labels = np.array([0, 0, 1, 2, 3, 3])
    scores, same = held(corners, labels)
    measured = measure_all_pairs(corners, labels, FARS)
    for far, point in zip(FARS, measured.points, strict=True):
        expected = tar_at_far(scores, same, far)
        assert (point.threshold, point.far, point.tar) == (expected.threshold, expected.far, expected.tar)


@pytest.mark.parametrize(
    ("embeddings", "labels", "text"),
    [
        (np.eye(3), [0, 1, 2], "both genuine and impostor"),
        (np.eye(3), [0, 0, 0], "both genuine and impostor"),
        (np.eye(3), [0, 0], "do not match"),
        (np.full((3, 2), np.nan), [0, 0, 1], "not finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(embeddings: np.ndarray, labels: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        measure_all_pairs(embeddings, labels, FARS)
    with pytest.raises(ValueError, match="from 0 to 1"):
        measure_all_pairs(np.eye(3), [0, 0, 1], [1.5])


@pytest.mark.parametrize("bins", [7, 1 << 14])
def test_counts_of_scores_are_those_of_all_pairs_held_at_once(bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pairs, "_AT_ONCE", 5000)
    embeddings, labels = crowd(30, 6, 0.6)
    scores, same = held(embeddings, labels)
    centers, genuine, impostor = count_scores(embeddings, labels, bins)
    np.testing.assert_array_equal(genuine, np.histogram(scores[same], bins, (-1, 1))[0])
    np.testing.assert_array_equal(impostor, np.histogram(scores[~same], bins, (-1, 1))[0])
    assert (genuine.sum(), impostor.sum()) == (30 * 15, 30 * 29 // 2 * 36)
    assert centers @ genuine / genuine.sum() == pytest.approx(scores[same].mean(), abs=1 / bins)


def test_scores_at_the_ends_are_counted() -> None:
    corners = np.array([[1, 0], [1, 0], [-1, 0]], np.float32)
    centers, genuine, impostor = count_scores(corners, [0, 0, 1], 4)
    np.testing.assert_allclose(centers, [-0.75, -0.25, 0.25, 0.75])
    assert (genuine.tolist(), impostor.tolist()) == ([0, 0, 0, 1], [2, 0, 0, 0])
