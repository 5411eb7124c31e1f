"""Detection of duplicate embeddings, whose zero distances break clustering and mapping libraries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

_TOLERANCE = 1e-5
"""Euclidean distance below which normalized embeddings count as equal: far above float32 rounding, far below the
distance between any two photographs."""
_DIRECTIONS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class DistinctEmbeddings:
    """Embeddings without duplicates.

    Attributes:
        rows: First row of each distinct embedding, ascending. Shape: (distinct,).
        place: For each row, the position in `rows` of the embedding that it equals. Shape: (N,).
        counts: Number of rows that equal each distinct embedding. Shape: (distinct,).
    """

    rows: NDArray[np.int64]
    place: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of distinct embeddings."""
        return len(self.rows)


def distinct_embeddings(embeddings: ArrayLike) -> DistinctEmbeddings:
    """Finds embeddings that are equal up to rounding.

    Copies of a picture have equal embeddings, and so do pictures without a face. Zero distances break algorithms that
    divide by them: t-SNE crashes, UMAP fails, and HDBSCAN sees two copies as a cluster of infinite density.

    The rows are projected onto several fixed directions and separated at gaps between the sorted projections, since
    equal rows have equal projections. This takes a few sorts. Comparing all pairs would be too slow, and rounding to a
    grid would separate copies at cell borders.

    Args:
        embeddings: L2-normalized, or zeros. Shape: (N, D).

    Raises:
        ValueError: The embeddings do not have two dimensions, or a value is not finite.
    """
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"embeddings must have two dimensions, not shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("an embedding is not finite")
    directions = normalize_rows(np.random.default_rng(0).normal(size=(_DIRECTIONS, rows.shape[1])))
    groups = np.zeros(len(rows), np.int64)
    for places in directions @ rows.T:
        order = np.lexsort((places, groups))
        parted = (np.diff(groups[order]) > 0) | (np.diff(places[order]) > _TOLERANCE)
        groups[order] = np.append(0, np.cumsum(parted))[: len(rows)]
    _, first, place, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return DistinctEmbeddings(
        rows=first[order].astype(np.int64), place=rank[place], counts=counts[order].astype(np.int64)
    )
