from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix, jaccard_score, top_k_accuracy_score

from faceclr_cli.core.metrics.classification import (
    class_scores,
    count_confusions,
    in_top_k,
    intervals_over_people,
    person_scores,
    top_k_accuracy,
)


def _guesses(people: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Two of three predictions are right; the last person is never predicted."""
    rng = np.random.default_rng(0)
    labels = np.append(np.arange(people), rng.integers(0, people, 90))
    guessed = np.where(rng.random(len(labels)) < 2 / 3, labels, rng.integers(0, people, len(labels)))
    return labels, np.minimum(guessed, people - 2)


def test_each_persons_scores_are_those_of_scikit_learn() -> None:
    labels, guessed = _guesses()
    found = person_scores(labels, guessed, 6)
    report = classification_report(labels, guessed, output_dict=True, zero_division=0)
    for number in range(6):
        assert found.precision[number] == pytest.approx(report[str(number)]["precision"])
        assert found.recall[number] == pytest.approx(report[str(number)]["recall"])
        assert found.f1[number] == pytest.approx(report[str(number)]["f1-score"])
        assert found.support[number] == report[str(number)]["support"]
    assert found.jaccard == pytest.approx(jaccard_score(labels, guessed, average=None, zero_division=0))
    means = class_scores(labels, guessed)
    assert means.f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert means.precision == pytest.approx(found.precision.mean())
    assert np.average(found.f1, weights=found.support) == pytest.approx(report["weighted avg"]["f1-score"])


def test_confusions_are_those_of_scikit_learn_and_hold_people_who_do_not_occur() -> None:
    labels, guessed = _guesses()
    assert np.array_equal(count_confusions(labels, guessed, 6), confusion_matrix(labels, guessed))
    assert np.array_equal(count_confusions([0, 2], [2, 2], 4), [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    assert person_scores([0, 2], [2, 2], 4).support.tolist() == [1, 0, 1, 0]


def test_intervals_are_those_of_drawing_people_with_all_their_pictures() -> None:
    rng = np.random.default_rng(3)
    pictures, right = rng.integers(2, 9, 20), rng.integers(0, 3, 20)
    found = intervals_over_people({"a": (right, pictures), "b": (right, np.ones(20))}, rounds=4000, seed=1)
    drawn = [rng.integers(0, 20, 20) for _ in range(4000)]
    slow = np.quantile([right[who].sum() / pictures[who].sum() for who in drawn], (0.025, 0.975))
    assert found["a"] == pytest.approx(slow, abs=0.02)
    assert found["b"] == pytest.approx(np.quantile([right[who].mean() for who in drawn], (0.025, 0.975)), abs=0.05)
    assert found == intervals_over_people({"a": (right, pictures), "b": (right, np.ones(20))}, rounds=4000, seed=1)


def test_intervals_are_wider_where_pictures_of_one_person_share_their_fate() -> None:
    fates = np.repeat([0, 10], 15)
    clustered = intervals_over_people({"a": (fates, np.full(30, 10))})["a"]
    mixed = intervals_over_people({"a": (np.full(30, 5), np.full(30, 10))})["a"]
    assert mixed == (0.5, 0.5)
    assert clustered[0] < 0.35 < 0.65 < clustered[1]


def test_intervals_of_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="b: "):
        intervals_over_people({"a": (np.ones(3), np.ones(3)), "b": (np.ones(4), np.ones(4))})


def test_who_is_among_the_likeliest_is_told_of_each_picture() -> None:
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [1, 1, 1]])
    assert in_top_k(scores, np.array([1, 2, 0]), 2).tolist() == [True, False, False]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_is_that_of_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    scores, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    assert top_k_accuracy(scores, labels, k) == pytest.approx(top_k_accuracy_score(labels, scores, k=k))


def test_a_classifier_that_knows_nothing_scores_nothing() -> None:
    assert top_k_accuracy(np.zeros((4, 6)), np.arange(4), 5) == 0.0


def test_scores_by_hand() -> None:
    # a: 2 of 2 correct, and one stranger predicted as a. b: 1 of 2 correct. c: never predicted.
    result = class_scores(["a", "a", "b", "b", "c"], ["a", "a", "b", "a", "b"])
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.precision == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert result.recall == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert result.f1 == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)
    assert result.jaccard == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        class_scores(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="do not match"):
        top_k_accuracy(np.zeros((2, 3)), np.arange(3), 1)
    with pytest.raises(ValueError, match="at least 1"):
        top_k_accuracy(np.zeros((2, 3)), np.arange(2), 0)
