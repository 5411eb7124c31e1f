"""How well embeddings are spread, and how close the two views of a picture are: what needs no labels.

All of it looks at directions alone: rows are L2-normalized first.
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
        second: Of the second views, in the same order. Shape: (pictures, dim).

    Returns:
        0 where views coincide, 4 where they are opposite.

    Raises:
        ValueError: The shapes differ, there are no pictures, or a value is not finite.
    """
    a, b = _views(first, second)
    return float(np.square(a - b).sum(axis=1).mean())


def uniformity(embeddings: ArrayLike, t: float = 2.0) -> float:
    """Logarithm of the mean Gaussian potential of all pairs (Wang & Isola 2020, arXiv 2005.10242, section 4.1.2).

    Args:
        embeddings: Shape: (pictures, dim).
        t: How quickly the potential falls with squared distance; above 0.

    Returns:
        0 where all pictures are one point; the lower, the more evenly they cover the sphere, down to about -2 t.

    Raises:
        ValueError: There are fewer than two pictures, or a value is not finite.
    """
    rows = _directions(embeddings).astype(np.float32)
    if len(rows) < 2:
        raise ValueError(f"pairs need two pictures, not {len(rows)}")
    total = 0.0
    for start in range(0, len(rows), _BLOCK):
        # Columns begin at the block's first row, so the upper triangle holds each pair once.
        squared = 2 - 2 * (rows[start : start + _BLOCK] @ rows[start:].T)
        total += float(np.triu(np.exp(-t * squared), 1).sum(dtype=np.float64))
    return math.log(total / math.comb(len(rows), 2))


def mean_cosine(embeddings: ArrayLike) -> float:
    """Mean cosine similarity of all pairs of different pictures.

    Args:
        embeddings: Shape: (pictures, dim).

    Returns:
        1 where all pictures are one point, about 0 where they are spread evenly.

    Raises:
        ValueError: There are fewer than two pictures, or a value is not finite.
    """
    rows = _directions(embeddings)
    if len(rows) < 2:
        raise ValueError(f"pairs need two pictures, not {len(rows)}")
    # The squared length of the sum is the sum over all ordered pairs, those of a picture with itself included.
    total = float(np.square(rows.sum(axis=0)).sum() - np.square(rows).sum())
    return total / (len(rows) * (len(rows) - 1))


def effective_rank(embeddings: ArrayLike) -> float:
    """How many dimensions embeddings make use of (Roy & Vetterli 2007; RankMe, arXiv 2210.02885).

    The exponential of the entropy of the singular values, as shares of their sum. Embeddings are not centered, so
    a direction that all share counts as one.

    Args:
        embeddings: Shape: (pictures, dim).

    Returns:
        From 1, where all pictures lie on a line, to the smaller of pictures and dim.

    Raises:
        ValueError: There are no pictures, all are zero, or a value is not finite.
    """
    rows = _directions(embeddings)
    values = np.linalg.svd(rows, compute_uv=False)
    if not values.any():
        raise ValueError("embeddings that are all zero have no rank")
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def views_top1(first: ArrayLike, second: ArrayLike) -> float:
    """Share of pictures whose second view is nearer to the first view than the second views of all others.

    A tie counts against: embeddings that are all the same know nothing.

    Args:
        first: Embeddings of the first views. Shape: (pictures, dim).
        second: Of the second views, in the same order. Shape: (pictures, dim).

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
    a, b = _directions(first), _directions(second)
    if a.shape != b.shape:
        raise ValueError(f"views of {a.shape} and {b.shape} don't go together")
    return a, b


def _directions(embeddings: ArrayLike) -> Floats:
    """Rows of length 1; a row of zeros stays one."""
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"embeddings are a table of (pictures, dim), not {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("embeddings have values that are not finite")
    return normalize_rows(rows)
