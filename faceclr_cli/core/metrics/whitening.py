"""Whitening: a linear map that gives the directions of embeddings more equal variances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_VARIANCE = 1e-4  # Relative to the mean variance, so that directions of noise are not amplified.


def fit_whitening(embeddings: NDArray[np.float32], power: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fits a whitening without rotation (ZCA) to embeddings.

    Each principal direction is divided by its variance to the given power. With 0.5, all directions get the same
    variance; with less, strong directions stay stronger than others.

    Args:
        embeddings: Not normalized. Shape: (N, D).
        power: From 0, which keeps all variances, to 0.5.

    Returns:
        A symmetric matrix M and the mean m of the embeddings: `(rows - m) @ M` are whitened. Shapes: (D, D) and (D,).

    Raises:
        ValueError: There are fewer than two embeddings.
    """
    rows = np.asarray(embeddings, np.float64)
    if len(rows) < 2:
        raise ValueError(f"whitening needs at least two embeddings, not {len(rows)}")
    mean = rows.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(rows - mean, rowvar=False))
    # Equal embeddings have no variances to equalize.
    level = float(variances.mean()) or 1.0
    factors = np.maximum(variances / level, _LEAST_VARIANCE) ** -power
    return (directions * factors) @ directions.T, mean
