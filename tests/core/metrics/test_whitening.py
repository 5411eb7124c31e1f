"""Whitening of embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from faceclr_cli.core.metrics.whitening import fit_whitening


def rows(count: int = 400, dim: int = 6) -> np.ndarray:
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(count, dim)) * 2.0 ** np.arange(dim)
    return np.asarray(mixed @ np.linalg.qr(generator.normal(size=(dim, dim)))[0] + 3, np.float32)


def test_half_a_power_gives_all_directions_the_same_variance_as_another_library_does() -> None:
    found = rows()
    matrix, mean = fit_whitening(found, 0.5)
    whitened = (found - mean) @ matrix
    covariance = np.cov(whitened, rowvar=False)
    np.testing.assert_allclose(covariance, np.eye(6) * covariance[0, 0], atol=1e-3 * covariance[0, 0])
    library = PCA(whiten=True).fit_transform(found)
    ours, others = whitened @ whitened.T, library @ library.T
    np.testing.assert_allclose(ours / np.trace(ours), others / np.trace(others), atol=1e-6)


def test_less_power_keeps_the_order_of_the_variances() -> None:
    found = rows()
    before = np.linalg.eigvalsh(np.cov(found, rowvar=False))
    matrix, mean = fit_whitening(found, 0.25)
    after = np.linalg.eigvalsh(np.cov((found - mean) @ matrix, rowvar=False))
    # The variance of each direction is its old one to the power 1 - 2 * 0.25, up to a common factor.
    np.testing.assert_allclose(after / after[-1], (before / before[-1]) ** 0.5, rtol=1e-3)


def test_no_power_only_centers() -> None:
    matrix, mean = fit_whitening(rows(), 0.0)
    np.testing.assert_allclose(matrix, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(mean, rows().mean(axis=0), rtol=1e-5)


def test_directions_without_variance_stay_finite() -> None:
    found = rows()
    found[:, 2] = 1
    assert np.isfinite(fit_whitening(found, 0.5)[0]).all()
    assert np.isfinite(fit_whitening(np.ones((5, 3), np.float32), 0.5)[0]).all()


def test_one_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        fit_whitening(rows(1), 0.5)
