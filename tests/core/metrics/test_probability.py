"""The probability that two faces with a given similarity show one person."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from faceclr_cli.core.metrics.probability import (
    Logistic,
    fit_logistic,
    fit_logistic_counts,
    fit_temperature,
)


def gaussians(genuine: int, impostor: int, seed: int = 0, apart: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = np.arange(genuine + impostor) < genuine
    return rng.normal(np.where(same, 0.1 + apart, 0.1), 0.15), same


def most_likely(scores: np.ndarray, same: np.ndarray) -> Logistic:
    """Likelihood and Jeffreys' prior, pair by pair and on the scores as they are, by a general minimizer."""
    fewest = min(same.sum(), (~same).sum())
    weights = np.where(same, fewest / same.sum(), fewest / (~same).sum())

    def loss(parameters: np.ndarray) -> float:
        chances = 1 / (1 + np.exp(-(parameters[0] * scores + parameters[1])))
        likelihood = np.sum(weights * np.log(np.where(same, chances, 1 - chances)))
        information = np.zeros((2, 2))
        for score, weight, chance in zip(scores, weights, chances, strict=True):
            information += weight * chance * (1 - chance) * np.outer([score, 1], [score, 1])
        return float(-likelihood - np.log(np.linalg.det(information)) / 2)

    found = minimize(loss, np.array([5.0, -1.0]), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    return Logistic(slope=found.x[0], offset=found.x[1])


@pytest.mark.parametrize(("genuine", "impostor", "apart"), [(90, 90, 0.4), (20, 200, 0.3), (90, 10, 0.1), (9, 30, 2.0)])
def test_the_fit_is_the_most_likely_curve(genuine: int, impostor: int, apart: float) -> None:
    scores, same = gaussians(genuine, impostor, apart=apart)
    fitted, expected = fit_logistic(scores, same), most_likely(scores, same)
    assert (fitted.slope, fitted.offset) == (
        pytest.approx(expected.slope, rel=1e-5),
        pytest.approx(expected.offset, rel=1e-5),
    )


def test_the_chance_is_that_of_the_population_where_both_kinds_are_equally_likely() -> None:
    """Gaussians of one width have a logistic posterior; that one kind has 20 times as many pairs must not matter."""
    fitted = fit_logistic(*gaussians(10_000, 200_000))
    similarity = np.linspace(-0.5, 1, 31)
    genuine, impostor = (np.exp(-0.5 * ((similarity - mean) / 0.15) ** 2) for mean in (0.5, 0.1))
    np.testing.assert_allclose(fitted(similarity), genuine / (genuine + impostor), atol=0.015)


def test_the_curve_is_steep_enough_for_kinds_with_little_overlap() -> None:
    """Means five deviations apart: one pair in 160 is on the wrong side."""
    slopes = [fit_logistic(*gaussians(3000, 3000, seed, apart=0.75)).slope for seed in range(10)]
    assert np.mean(slopes) == pytest.approx(0.75 / 0.15**2, rel=0.1)


def test_with_many_pairs_the_fit_is_plain_logistic_regression() -> None:
    scores, same = gaussians(20_000, 40_000, apart=0.2)
    model = LogisticRegression(C=np.inf, class_weight="balanced", solver="newton-cholesky", tol=1e-9)
    model.fit(scores[:, np.newaxis], same)
    assert fit_logistic(scores, same).slope == pytest.approx(model.coef_[0, 0], rel=1e-3)


def test_of_the_pairs_with_a_chance_that_share_is_genuine() -> None:
    fitted = fit_logistic(*gaussians(5_000, 5_000))
    scores, same = gaussians(50_000, 50_000, seed=1)
    chances = fitted(scores)
    for low in np.arange(0.0, 1.0, 0.1):
        inside = (chances >= low) & (chances < low + 0.1)
        assert same[inside].mean() == pytest.approx(chances[inside].mean(), abs=0.05)


def test_counts_give_what_the_pairs_give() -> None:
    rng = np.random.default_rng(0)
    centers = np.linspace(-1, 1, 41)
    genuine = rng.poisson(200 * np.exp(-0.5 * ((centers - 0.6) / 0.2) ** 2))
    impostor = rng.poisson(2000 * np.exp(-0.5 * ((centers - 0.0) / 0.2) ** 2))
    scores = np.concatenate([np.repeat(centers, genuine), np.repeat(centers, impostor)])
    same = np.arange(len(scores)) < genuine.sum()
    counted, paired = fit_logistic_counts(centers, genuine, impostor), fit_logistic(scores, same)
    assert counted.slope == pytest.approx(paired.slope, abs=1e-6)
    assert counted.offset == pytest.approx(paired.offset, abs=1e-6)


@pytest.mark.parametrize("pairs", [1, 30, 3000])
def test_scores_that_part_perfectly_give_a_steep_curve_that_is_as_sure_as_the_pairs_are_many(pairs: int) -> None:
    fitted = fit_logistic(np.repeat([0.8, 0.2], pairs), np.repeat([True, False], pairs))
    np.testing.assert_allclose(fitted([0.2, 0.5, 0.8]), [0.5 / (pairs + 1), 0.5, (pairs + 0.5) / (pairs + 1)])


def test_millions_of_perfectly_separated_pairs_converge(recwarn: pytest.WarningsRecorder) -> None:
    fitted = fit_logistic_counts([0.2, 0.25, 0.75, 0.8], [0, 0, 1e6, 1e6], [1e9, 1e9, 0, 0])
    assert not recwarn.list
    assert 0 < fitted(0.25) < 1e-4
    assert 1 - 1e-4 < fitted(0.75) < 1


@pytest.mark.parametrize("genuine", [0.3, 0.1])
def test_scores_that_say_nothing_or_the_wrong_give_a_chance_of_one_half(genuine: float) -> None:
    """Also if one kind has many more pairs."""
    same = np.arange(110) < 10
    fitted = fit_logistic(np.where(same, genuine, 0.3), same)
    np.testing.assert_array_equal(fitted([-1, 0, 1]), [0.5, 0.5, 0.5])


def test_the_scale_of_the_scores_does_not_matter() -> None:
    scores, same = gaussians(200, 300)
    small, large = fit_logistic(scores * 1e-6, same), fit_logistic(scores * 1e6 + 1e6, same)
    np.testing.assert_allclose(small(scores * 1e-6), large(scores * 1e6 + 1e6), atol=1e-6)


def test_chances_hold_at_any_log_odds_and_shape(recwarn: pytest.WarningsRecorder) -> None:
    curve = Logistic(slope=1e4, offset=-10.0)
    np.testing.assert_array_equal(curve([[-1.0, 1.0]]), [[0.0, 1.0]])
    assert curve(0.0) == pytest.approx(1 / (1 + np.exp(10)))
    assert not recwarn.list


@pytest.mark.parametrize(("people", "pictures"), [(30, 1), (30, 5), (30, 20), (100, 3)])
def test_of_the_names_with_a_chance_that_share_is_right(people: int, pictures: int) -> None:
    """One of the people, or a stranger, with even odds: the most similar of all pictures gives the name.

    Several pictures of a person are several chances of a stranger. With 20 each, a probability that counts people
    alone is 70% where 1% of the names are right.
    """
    rng = np.random.default_rng(people * pictures)

    def draw(count: int, each: int) -> np.ndarray:
        faces = rng.normal(size=(count, 1, 48)) + 1.1 * rng.normal(size=(count, each, 48))
        return faces / np.linalg.norm(faces, axis=2, keepdims=True)

    pairs = draw(1500, 2)
    scores = pairs[:, 0] @ pairs[:, 1].T
    own = np.eye(len(scores), dtype=bool)
    curve = fit_logistic(np.concatenate([scores[own], scores[~own][:200_000]]), np.arange(201_500) < 1500)
    chances, right = [], []
    for _ in range(10):
        faces = draw(people, pictures + 10)
        gallery = faces[:, :pictures].reshape(-1, 48)
        probes = np.concatenate([faces[:, pictures:].reshape(-1, 48), draw(people * 10, 1)[:, 0]])
        similarities = probes @ gallery.T
        named = similarities.argmax(axis=1) // pictures
        right.append(named == np.append(np.repeat(np.arange(people), 10), np.full(people * 10, -1)))
        chances.append(curve.among(people * pictures)(similarities.max(axis=1)))
    chance, is_right = np.concatenate(chances), np.concatenate(right)
    for low, high in ((0.6, 0.8), (0.8, 1.0)):
        some = (chance >= low) & (chance < high)
        assert some.sum() > 100
        assert is_right[some].mean() > chance[some].mean() - 0.1
    assert is_right[chance > 0.9].mean() < 1


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="both genuine and impostor"):
        fit_logistic([0.1, 0.2], [True, True])
    with pytest.raises(ValueError, match="finite"):
        fit_logistic([0.1, np.nan], [True, False])
    with pytest.raises(ValueError, match="do not match"):
        fit_logistic([0.1], [True, False])
    with pytest.raises(ValueError, match="negative"):
        fit_logistic_counts([0.1, 0.2], [1, -1], [1, 1])


def test_a_temperature_is_found_again() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 6, (20_000, 5))
    chances = np.exp(scores / 3) / np.exp(scores / 3).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random(len(scores))[:, None]).sum(axis=1)
    assert fit_temperature(scores, labels) == pytest.approx(3, rel=0.03)
    assert fit_temperature(1000 * scores, labels) == pytest.approx(3000, rel=0.03)


def test_confidence_is_limited_by_the_number_of_pictures_if_all_were_correct() -> None:
    labels = np.arange(100) % 4
    scores = 0.01 * np.eye(4)[labels]
    made = scores / fit_temperature(scores, labels)
    chances = np.exp(made) / np.exp(made).sum(axis=1, keepdims=True)
    assert chances[np.arange(100), labels] == pytest.approx(101 / 102, abs=1e-4)


def test_a_temperature_needs_pictures_of_two_people() -> None:
    for scores, labels in ((np.ones((0, 3)), []), (np.ones((2, 1)), [0, 0]), (np.ones((2, 3)), [0])):
        with pytest.raises(ValueError, match="do not match"):
            fit_temperature(scores, labels)
