"""Silhouette of embeddings by person, and trustworthiness of two-dimensional maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

_BLOCK = 512
_ROUNDING = 1e-9
"""Rounding error of a float64 cosine distance between rows that were normalized in float32."""
SAMPLE_SIZE = 2000
"""Default maximum number of faces whose neighbors `trustworthiness` evaluates."""


def cosine_silhouette(embeddings: ArrayLike, labels: Sequence[str]) -> float:
    """Mean silhouette coefficient of all embeddings by cosine distance (Rousseeuw 1987).

    The result is that of scikit-learn's `silhouette_score`, without its distance matrix: the cosine is linear in a
    normalized embedding, so the mean distance to a person takes one product with the sum of that person's embeddings,
    and no sampling is needed. Distances at the level of rounding count as 0, so a face at distance 0 from its own
    person and from the nearest other person has coefficient 0.

    Args:
        embeddings: L2-normalized, or zeros. Shape: (faces, dim).
        labels: The person of each face. A person's only face has coefficient 0. Shape: (faces,).

    Returns:
        From -1 (faces are nearer to other people) through 0 (people overlap) to 1 (people are well separated).

    Raises:
        ValueError: The shapes differ, there are fewer than two people, or no person has two faces.
    """
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim == 2:  # In float32, the norms of equal rows can differ by rounding.
        rows = normalize_rows(rows)
    _, people, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if rows.ndim != 2 or len(rows) != len(people):
        raise ValueError(f"embeddings of shape {rows.shape} and {len(people)} labels do not match")
    if not 2 <= len(counts) < len(rows):
        raise ValueError(f"the silhouette is undefined for {len(counts)} people with {len(rows)} faces")
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, people, rows)
    total = 0.0
    for start in range(0, len(rows), _BLOCK):
        block, own = rows[start : start + _BLOCK], people[start : start + _BLOCK]
        each, several = np.arange(len(block)), counts[own] > 1
        cosines = block @ sums.T
        # The mean distance to the own person excludes the face itself.
        to_own = counts[own] - 1 - (cosines[each, own] - np.square(block).sum(axis=1))
        to_own /= np.maximum(counts[own] - 1, 1)
        to_others = 1 - cosines / counts
        to_others[each, own] = np.inf
        nearest = to_others.min(axis=1)
        to_own, nearest = (np.where(distances < _ROUNDING, 0.0, distances) for distances in (to_own, nearest))
        largest = np.maximum(to_own, nearest)
        total += float(((nearest - to_own) / np.where(largest > 0, largest, 1.0))[several].sum())
    return total / len(rows)


def trustworthiness(
    embeddings: ArrayLike, points: ArrayLike, k: int, *, sample_size: int = SAMPLE_SIZE, seed: int = 0
) -> float:
    """Trustworthiness of a map by cosine similarity (Venna and Kaski 2001), from 0 to 1.

    It penalizes faces that are among the `k` nearest neighbors on the map but not among the embeddings. The result is
    that of scikit-learn's `trustworthiness`, computed in blocks, since scikit-learn's distance matrix needs memory that
    is quadratic in the number of faces.

    Args:
        embeddings: L2-normalized, or zeros. Shape: (faces, dim).
        points: Positions on the map. Shape: (faces, 2).
        k: Number of neighbors; at least 1 and below half of the faces.
        sample_size: Maximum number of faces whose neighbors are evaluated. If there are more, a random sample is
            evaluated, with neighbors among all faces.
        seed: Seed of the sample.

    Raises:
        ValueError: The shapes differ, or `k` is out of range.
    """
    # Importing sklearn.neighbors takes two seconds.
    from sklearn.neighbors import NearestNeighbors

    rows, places = np.asarray(embeddings, np.float32), np.asarray(points, np.float32)
    faces = len(rows)
    if rows.ndim != 2 or places.shape != (faces, 2):
        raise ValueError(f"embeddings of shape {rows.shape} and points of shape {places.shape} do not match")
    if not 1 <= k < faces / 2:
        raise ValueError(f"k must be at least 1 and below half of the {faces} faces, not {k}")
    chosen = np.arange(faces)
    if faces > sample_size:
        chosen = np.sort(np.random.default_rng(seed).choice(faces, sample_size, replace=False))
    near = NearestNeighbors(n_neighbors=k).fit(places).kneighbors(return_distance=False)
    excess = 0
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        excess += _excess(rows, block, near[block], k)
    return 1 - 2 * excess / (len(chosen) * k * (2 * faces - 3 * k - 1))


def _excess(rows: NDArray[np.float32], block: NDArray[np.int_], near: NDArray[np.int_], k: int) -> int:
    """Sum over the neighbors on the map of the amount by which their rank among the embeddings exceeds `k`."""
    cosines = rows[block] @ rows.T
    cosines[np.arange(len(block)), block] = -np.inf
    found = np.take_along_axis(cosines, near, axis=1)
    ranks = [1 + (cosines > found[:, [place]]).sum(axis=1) for place in range(k)]
    return int(np.maximum(np.stack(ranks) - k, 0).sum())
