from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from faceclr_cli.core.metrics.classification import class_scores, top_k_accuracy


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_is_that_of_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    scores, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    assert top_k_accuracy(scores, labels, k) == pytest.approx(top_k_accuracy_score(labels, scores, k=k))


def test_a_classifier_that_knows_nothing_scores_nothing() -> None:
    assert top_k_accuracy(np.zeros((4, 6)), np.arange(4), 5) == 0.0


def test_scores_by_hand() -> None:
    # a: 2 right of 2, and one stranger taken for a. b: 1 right of 2. c: nobody was taken for c.
    result = class_scores(["a", "a", "b", "b", "c"], ["a", "a", "b", "a", "b"])
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.precision == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert result.recall == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert result.f1 == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)
    assert result.jaccard == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="don't go together"):
        class_scores(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="don't go together"):
        top_k_accuracy(np.zeros((2, 3)), np.arange(3), 1)
    with pytest.raises(ValueError, match="at least 1"):
        top_k_accuracy(np.zeros((2, 3)), np.arange(2), 0)
