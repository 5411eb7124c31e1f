"""Linear discriminants against scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from faceclr_cli.core.metrics.discriminants import fit_discriminants

CLASSES, EACH, DIM = 8, 40, 6


def rows() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(CLASSES, DIM)) * np.array([5, 3, 1, 1, 0.5, 0.1])
    mixed = rng.normal(size=(DIM, DIM))
    labels = np.repeat(np.arange(CLASSES), EACH)
    return (means[labels] + rng.normal(size=(len(labels), DIM))) @ mixed, labels


def covariances() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found, labels = rows()
    within = found - np.stack([found[labels == label].mean(axis=0) for label in labels])
    return np.cov(found, rowvar=False, bias=True), within.T @ within / len(found)


def test_the_directions_are_those_of_scikit_learn() -> None:
    found, labels = rows()
    oracle = LinearDiscriminantAnalysis(solver="eigen").fit(found, labels).scalings_
    ours = fit_discriminants(*covariances(), 4, share=1.0)
    cosines = np.abs((ours * oracle[:, :4]).sum(axis=0)) / np.linalg.norm(ours, axis=0)
    np.testing.assert_allclose(cosines / np.linalg.norm(oracle[:, :4], axis=0), 1, atol=1e-6)


def test_every_direction_has_a_weighted_variance_of_one() -> None:
    total, within = covariances()
    ours = fit_discriminants(total, within, DIM, share=0.7)
    np.testing.assert_allclose(ours.T @ (0.7 * within + 0.3 * total) @ ours, np.eye(DIM), atol=1e-9)
    ratios = np.diag(ours.T @ total @ ours) / np.diag(ours.T @ within @ ours)
    assert (np.diff(ratios) < 0).all()
