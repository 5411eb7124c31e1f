"""Embeddings that coincide, which libraries of clustering and mapping divide by the distances between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

_TOLERANCE = 1e-5
"""Euclidean distance of two normalized embeddings below which they count as one: far above the rounding of 32 bits, far
below the distance of any two photographs."""
_DIRECTIONS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class DistinctEmbeddings:
    """Embeddings without their copies.

    Attributes:
        rows: The first row of each distinct embedding, ascending. Shape: (distinct,).
        place: The place in `rows` of the embedding that each row is equal to. Shape: (N,).
        counts: How many rows are equal to each. Shape: (distinct,).
    """

    rows: NDArray[np.int64]
    place: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        """How many distinct embeddings there are."""
        return len(self.rows)


def distinct_embeddings(embeddings: ArrayLike) -> DistinctEmbeddings:
    """Finds the embeddings that are equal but for rounding.

    Copies of one picture have one embedding, and so do pictures without a face. Distances of zero break what divides by
    them: t-SNE crashes, UMAP fails, and HDBSCAN takes two copies for a group of infinite density.

    Equal rows lie together along any direction, so that rows are divided where they are apart along one of several
    fixed ones. That takes a few sorts. All pairs would take too long, and rounding would part copies at the edges of
    its cells.

    Args:
        embeddings: L2-normalized, or zeros. Shape: (N, D).

    Raises:
        ValueError: The embeddings are not a table, or one is not finite.
    """
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"embeddings of {rows.shape} are not a table")
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
