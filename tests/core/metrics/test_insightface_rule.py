"""Accuracy by insightface's rule, against a transcription of its `evaluate` from recognition/arcface_torch."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from faceclr_cli.core.metrics.insightface_rule import grid_accuracy
from faceclr_cli.core.metrics.roc import cosine_scores


def evaluate(embeddings: np.ndarray, same: np.ndarray, folds: int) -> tuple[list[float], list[float]]:
    """`evaluate`, `calculate_roc` and `calculate_accuracy`, one threshold and one pair at a time."""
    embeddings = normalize(embeddings)
    distances = [float(np.sum(np.square(a - b))) for a, b in zip(embeddings[::2], embeddings[1::2], strict=True)]
    thresholds = np.arange(0, 4, 0.01)

    def accuracy(threshold: float, which: np.ndarray) -> float:
        right = sum((distances[pair] < threshold) == bool(same[pair]) for pair in which)
        return right / len(which)

    accuracies, chosen = [], []
    for train, test in KFold(n_splits=folds, shuffle=False).split(np.arange(len(same))):
        trained = [accuracy(threshold, train) for threshold in thresholds]
        best = int(np.argmax(trained))
        chosen.append(float(thresholds[best]))
        accuracies.append(accuracy(thresholds[best], test))
    return accuracies, chosen


@pytest.mark.parametrize(
    ("pairs", "genuine", "shuffled", "folds"),
    [(60, 30, False, 10), (60, 30, True, 10), (83, 50, True, 10), (83, 12, True, 5), (21, 15, False, 2)],
    ids=["blocks", "mixed", "unequal", "few genuine", "odd"],
)
def test_folds_and_thresholds_are_those_of_insightface(pairs: int, genuine: int, shuffled: bool, folds: int) -> None:
    rng = np.random.default_rng(pairs + genuine)
    same = np.arange(pairs) < genuine
    if shuffled:
        rng.shuffle(same)
    left = rng.normal(size=(pairs, 8))
    right = np.where(same[:, None], left + 0.9 * rng.normal(size=left.shape), rng.normal(size=left.shape))
    embeddings = np.stack([left, right], axis=1).reshape(-1, 8).astype(np.float32)
    found = grid_accuracy(cosine_scores(embeddings[::2], embeddings[1::2]), same, folds)
    accuracies, thresholds = evaluate(embeddings, same, folds)
    assert found.accuracies.tolist() == pytest.approx(accuracies, abs=1e-12)
    assert found.thresholds.tolist() == thresholds
    assert len(set(accuracies)) > 1
    assert found.mean == pytest.approx(np.mean(accuracies))


def test_pairs_without_a_score_are_wrong_and_choose_nothing() -> None:
    same = np.tile([True, False], 10)
    cosines = np.where(same, 0.9, 0.1)
    failed = np.arange(20) == 3
    whole, found = grid_accuracy(cosines, same, 2), grid_accuracy(np.where(failed, np.nan, cosines), same, 2, failed)
    assert whole.accuracies.tolist() == [1, 1]
    assert found.accuracies.tolist() == [0.9, 1]
    assert found.thresholds.tolist() == whole.thresholds.tolist()
    assert not found.accepted[3]


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"10 folds of 9 pairs are not possible; .* 2 or more folds"):
        grid_accuracy([0.5] * 9, [True] * 9, 10)
    with pytest.raises(ValueError, match="do not match"):
        grid_accuracy([0.5] * 9, [True] * 8, 2)
