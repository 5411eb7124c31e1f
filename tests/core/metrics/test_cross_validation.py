"""Thresholds that are chosen on some pairs and evaluated on others."""

from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics.cross_validation import (
    FoldTar,
    fold_numbers,
    folds_share_people,
    k_fold_accuracy,
    standard_error_by_people,
    tar_over_folds,
    transfer_threshold,
)
from faceclr_cli.core.metrics.roc import best_threshold


def _scores(seed: int, pairs: int = 400, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = rng.random(pairs) < 0.4
    scores = rng.normal(np.where(same, 0.5, 0.1), 0.2)
    return (scores.round(1) if ties else scores), same


def test_lfw_has_its_own_folds() -> None:
    """Ten sets of 300 genuine and then 300 impostor pairs."""
    same = np.tile(np.repeat([True, False], 300), 10)
    np.testing.assert_array_equal(fold_numbers(same, 10), np.repeat(np.arange(10), 600))


def test_each_kind_of_pair_is_divided_evenly_and_in_order() -> None:
    _, same = _scores(0)
    numbers = fold_numbers(same, 7)
    for kind in (same, ~same):
        assert (np.diff(numbers[kind]) >= 0).all()
        sizes = np.bincount(numbers[kind], minlength=7)
        assert sizes.max() - sizes.min() <= 1
    with pytest.raises(ValueError, match="there is 1 genuine pair"):
        fold_numbers([True, False, False], 2)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("far", [0.01, 0.1])
def test_each_fold_has_the_laxest_threshold_that_the_others_allow(far: float, ties: bool) -> None:
    scores, same = _scores(2, ties=ties)
    result, numbers = tar_over_folds(scores, same, far, 5), fold_numbers(same, 5)
    for fold in range(5):
        others, inside = numbers != fold, numbers == fold
        allowed = [
            threshold
            for threshold in [*scores[others], 2.0]
            if np.mean(scores[others & ~same] >= threshold) <= far + 1e-12
        ]
        assert result.tars[fold] == np.mean(scores[inside & same] >= min(allowed))
        assert result.fars[fold] == np.mean(scores[inside & ~same] >= min(allowed))
    assert result.mean == pytest.approx(result.tars.sum() / 5)
    assert result.mean_far == pytest.approx(result.fars.sum() / 5)


def test_the_rates_are_those_of_the_population_in_the_long_run() -> None:
    scores, same = _scores(3, pairs=40_000)
    result = tar_over_folds(scores, same, 0.02)
    assert result.mean_far == pytest.approx(0.02, abs=0.002)
    # A standard normal is above 2.0537 in 2 of 100 cases, and above 0.0537 in 47.86 of them.
    assert result.mean == pytest.approx(0.4786, abs=0.015)


def test_the_deviation_is_divided_by_the_number_of_folds() -> None:
    assert FoldTar(tars=np.array([0.8, 1.0]), fars=np.zeros(2)).standard_deviation == pytest.approx(0.1)


def test_failed_genuine_pairs_are_rejected_and_failed_impostor_pairs_do_not_count() -> None:
    same = np.tile([True, False], 20)
    scores, failed = np.where(same, 0.9, 0.1), np.zeros(40, bool)
    assert tar_over_folds(scores, same, 0.1, 2).mean == 1.0
    failed[0], failed[1] = True, True
    scores[0] = np.nan
    scores[1] = 5.0  # Would be a false accept, and bar every genuine pair of the other fold.
    result = tar_over_folds(scores, same, 0.12, 2, failed)
    np.testing.assert_allclose(result.tars, [0.9, 1.0])
    np.testing.assert_array_equal(result.fars, [0.0, 0.0])


def test_a_rate_that_the_other_folds_are_too_few_for_is_refused() -> None:
    scores, same = _scores(4)
    with pytest.raises(
        ValueError, match=r"FAR of 0\.001 needs 1,000 impostor pairs outside each fold, but there are \d+"
    ):
        tar_over_folds(scores, same, 1e-3)
    with pytest.raises(ValueError, match="above 0"):
        tar_over_folds(scores, same, 0.0)
    failed = ~same & (fold_numbers(same, 10) == 3)
    with pytest.raises(ValueError, match="no impostor pair of fold 4 of 10"):
        tar_over_folds(scores, same, 0.1, failed=failed)


def test_two_lists_are_two_folds() -> None:
    first, second = _scores(5), _scores(6, pairs=300)
    result = transfer_threshold(*first, *second)
    np.testing.assert_array_equal(result.thresholds, [best_threshold(*second), best_threshold(*first)])
    np.testing.assert_array_equal(result.accepted, first[0] >= best_threshold(*second))
    assert result.accuracies[0] == np.mean(result.accepted == first[1])
    assert result.accuracies[1] == np.mean((second[0] >= best_threshold(*first)) == second[1])


def test_transfer_between_the_halves_of_a_list_is_its_two_fold_accuracy() -> None:
    scores, same = _scores(7)
    failed = np.arange(len(same)) % 9 == 0
    scores[failed] = np.nan
    half = fold_numbers(same, 2) == 0
    whole = k_fold_accuracy(scores, same, 2, failed)
    parts = transfer_threshold(scores[half], same[half], scores[~half], same[~half], failed[half], failed[~half])
    np.testing.assert_array_equal(parts.accuracies, whole.accuracies)
    np.testing.assert_array_equal(parts.thresholds, whole.thresholds)
    np.testing.assert_array_equal(parts.accepted, whole.accepted[half])


def test_nonsense_is_refused() -> None:
    scores, same = _scores(8)
    with pytest.raises(ValueError, match="do not match"):
        tar_over_folds(scores, same[1:], 0.1)
    with pytest.raises(ValueError, match="do not match"):
        transfer_threshold(scores, same, scores, same, [True])
    with pytest.raises(ValueError, match="finite"):
        transfer_threshold(scores, same, np.where(same, np.nan, scores), same)
    with pytest.raises(ValueError, match="finite"):
        tar_over_folds(np.where(same, np.nan, scores), same, 0.1)


def _listed(people: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores and labels of as many genuine as impostor pairs, alternating, of people who are more or less alike."""
    rng = np.random.default_rng(seed)
    ease, likeness = 0.15 * rng.normal(size=people), 0.1 * rng.normal(size=people)
    own = rng.permutation(np.repeat(np.arange(people), each))
    first = rng.integers(0, people, len(own))
    second = (first + rng.integers(1, people, len(own))) % people
    genuine = 0.4 + ease[own] + 0.1 * rng.normal(size=len(own))
    impostor = likeness[first] + likeness[second] + 0.1 * rng.normal(size=len(own))
    pairs = [np.stack(columns, axis=1).ravel() for columns in ((genuine, impostor), (own, first), (own, second))]
    return pairs[0], np.arange(2 * len(own)) % 2 == 0, pairs[1], pairs[2]


def test_the_error_by_people_is_that_of_a_slow_transcription() -> None:
    rng = np.random.default_rng(0)
    first, second, right = rng.integers(0, 9, 120), rng.integers(0, 9, 120), rng.random(120) < 0.7
    off = right - right.mean()
    # Two verdicts may depend on each other if their pairs share a person.
    variance = sum(
        off[i] * off[j] for i in range(120) for j in range(120) if {first[i], second[i]} & {first[j], second[j]}
    )
    independent = np.square(off).sum()
    assert standard_error_by_people(right, first, second) == pytest.approx(np.sqrt(max(variance, independent)) / 120)
    apart = np.arange(240).reshape(2, 120)
    assert standard_error_by_people(right, *apart) == pytest.approx(right.std() / np.sqrt(120))
    together = np.zeros(120, int)
    assert standard_error_by_people(right, together, together) == pytest.approx(right.std() / np.sqrt(120))
    with pytest.raises(ValueError, match="do not match"):
        standard_error_by_people(right, first[1:], second[1:])


def test_the_error_by_people_is_the_spread_where_folds_share_people() -> None:
    """Measured on 60 lists of 30 people; the folds would give less than half of the spread."""
    shares, by_people, by_folds = [], [], []
    for seed in range(60):
        scores, same, first, second = _listed(30, 40, seed)
        found = k_fold_accuracy(scores, same, 10)
        shares.append(found.mean)
        by_folds.append(found.standard_error)
        by_people.append(standard_error_by_people(found.accepted == same, first, second))
    assert 0.75 < np.mean(by_people) / np.std(shares) < 1.25
    assert np.mean(by_folds) / np.std(shares) < 0.5


def test_folds_share_people_or_do_not() -> None:
    folds = np.array([0, 0, 1, 1])
    assert not folds_share_people(folds, [0, 1, 2, 3], [0, 0, 2, 2])
    assert folds_share_people(folds, [0, 1, 2, 3], [0, 0, 2, 1])
