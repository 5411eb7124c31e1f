"""L2 normalization of embeddings."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatType = TypeVar("FloatType", np.float32, np.float64)


def normalize_rows(rows: NDArray[FloatType]) -> NDArray[FloatType]:
    """Divides each row by its L2 norm. Rows of zeros stay zero.

    Args:
        rows: Shape: (N, D).

    Returns:
        A new array of the same type. Shape: (N, D).

    Examples:
        >>> normalize_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # The smallest normal float32, for float32 and float64 rows.
    normalized: NDArray[FloatType] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return normalized
