"""Linear discriminants from two covariance matrices."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

_SHARE_WITHIN = 0.9
"""Weight of the covariance within classes; the rest is the total covariance, which keeps estimates from few rows
invertible (regularized discriminant analysis)."""


def fit_discriminants(
    total: NDArray[np.float64], within: NDArray[np.float64], dim: int, share: float = _SHARE_WITHIN
) -> NDArray[np.float64]:
    """Finds the directions in which the total variance is largest in comparison with the variance within classes.

    Args:
        total: Covariance of all rows, positive definite. Shape: (D, D).
        within: Covariance of the differences from the mean of their class. Shape: (D, D).
        dim: Number of directions.
        share: Weight of `within` in the denominator, below 1; the rest is the weight of `total`.

    Returns:
        The directions as columns, the best first, with a weighted variance of 1 each. Shape: (D, dim).
    """
    _, vectors = scipy.linalg.eigh(total, share * within + (1 - share) * total)
    found: NDArray[np.float64] = vectors[:, ::-1][:, :dim].copy()
    return found
