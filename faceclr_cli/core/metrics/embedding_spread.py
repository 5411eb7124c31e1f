"""Label-free metrics of embeddings: spread over the sphere, and agreement of two views of a picture.

All functions L2-normalize the rows first.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

Floats = NDArray[np.float64]

_BLOCK = 1024


def alignment(first: ArrayLike, second: ArrayLike) -> float:
    """Mean squared distance between the two views of a picture (Wang & Isola 2020, arXiv 2005.10242, section 4.1.1).

    Args:
        first: Embeddings of the first views. Shape: (pictures, dim).
        second: Embeddings of the second views, in the same order. Shape: (pictures, dim).

    Returns:
        From 0 (equal views) to 4 (opposite views).

    Raises:
        ValueError: The shapes differ, there are no pictures, or a value is not finite.
    """
    a, b = _views(first, second)
    return float(np.square(a - b).sum(axis=1).mean())


def uniformity(embeddings: ArrayLike, t: float = 2.0) -> float:
    """Logarithm of the mean Gaussian potential of all pairs (Wang & Isola 2020, arXiv 2005.10242, section 4.1.2).

    Args:
        embeddings: Shape: (pictures, dim).
        t: Rate at which the potential decreases with squared distance; above 0.

    Returns:
        0 if all embeddings are equal; the lower, the more evenly they cover the sphere, down to about -2 t.

    Raises:
        ValueError: There are fewer than two pictures, or a value is not finite.
    """
    rows = _normalize(embeddings).astype(np.float32)
    if len(rows) < 2:
        raise ValueError(f"at least two pictures are needed, not {len(rows)}")
    total = 0.0
    for start in range(0, len(rows), _BLOCK):
        # Columns start at the block's first row, so the upper triangle contains each pair once.
        squared = 2 - 2 * (rows[start : start + _BLOCK] @ rows[start:].T)
        total += float(np.triu(np.exp(-t * squared), 1).sum(dtype=np.float64))
    return math.log(total / math.comb(len(rows), 2))


def mean_cosine(embeddings: ArrayLike) -> float:
    """Mean cosine similarity of all pairs of different pictures.

    Args:
        embeddings: Shape: (pictures, dim).

    Returns:
        1 if all embeddings are equal, about 0 if they are spread evenly.

    Raises:
        ValueError: There are fewer than two pictures, or a value is not finite.
    """
    rows = _normalize(embeddings)
    if len(rows) < 2:
        raise ValueError(f"at least two pictures are needed, not {len(rows)}")
    # The squared norm of the sum is the sum over all ordered pairs, including each picture with itself.
    total = float(np.square(rows.sum(axis=0)).sum() - np.square(rows).sum())
    return total / (len(rows) * (len(rows) - 1))


def effective_rank(embeddings: ArrayLike) -> float:
    """Effective rank of embeddings (Roy & Vetterli 2007; RankMe, arXiv 2210.02885).

    The exponential of the entropy of the singular values, normalized to sum to 1. Embeddings are not centered, so
    a direction that all share counts as one dimension.

    Args:
        embeddings: Shape: (pictures, dim).

    Returns:
        From 1 (all embeddings on a line) to min(pictures, dim).

    Raises:
        ValueError: There are no pictures, all are zero, or a value is not finite.
    """
    rows = _normalize(embeddings)
    values = np.linalg.svd(rows, compute_uv=False)
    if not values.any():
        raise ValueError("all embeddings are zero")
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def views_top1(first: ArrayLike, second: ArrayLike) -> float:
    """Share of pictures whose first view is nearer to their second view than to those of all other pictures.

    Ties count as errors, so equal embeddings score 0.

    Args:
        first: Embeddings of the first views. Shape: (pictures, dim).
        second: Embeddings of the second views, in the same order. Shape: (pictures, dim).

    Raises:
        ValueError: The shapes differ, there are no pictures, or a value is not finite.
    """
    a, b = (rows.astype(np.float32) for rows in _views(first, second))
    right = 0
    for start in range(0, len(a), _BLOCK):
        similarity = a[start : start + _BLOCK] @ b.T
        own = similarity.diagonal(start)
        right += int(((similarity >= own[:, None]).sum(axis=1) == 1).sum())
    return right / len(a)


def _views(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = _normalize(first), _normalize(second)
    if a.shape != b.shape:
        raise ValueError(f"views of shapes {a.shape} and {b.shape} do not match")
    return a, b


def _normalize(embeddings: ArrayLike) -> Floats:
    """Validates embeddings and L2-normalizes them in float64."""
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"embeddings must have the shape (pictures, dim), not {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("an embedding is not finite")
    return normalize_rows(rows)
