"""How far people are apart among embeddings, and how far a map of them can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

_BLOCK = 512
_ROUNDING = 1e-9
"""Of a cosine distance in 64 bits between rows that were normalized in 32."""
ASKED = 2000
"""Faces that are asked for their neighbors on a map, at most."""


def cosine_silhouette(embeddings: ArrayLike, labels: Sequence[str]) -> float:
    """The mean silhouette of all embeddings by cosine distance (Rousseeuw 1987): 1 is apart, 0 mixed, -1 wrong.

    scikit-learn's `silhouette_score`, without its matrix of distances: since a cosine is linear in a normalized
    embedding, the mean distance to a person takes one product with the sum of the person's embeddings, so that no
    sample is needed. Distances that are nothing but rounding count as 0, so that a face as far from its own person as
    from the next, at no distance from both, counts 0.

    Args:
        embeddings: L2-normalized, or zeros. Shape: (faces, dim).
        labels: The person of each; the only face of a person counts 0. Shape: (faces,).

    Raises:
        ValueError: The shapes differ, or there are not two people, or as many people as faces.
    """
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim == 2:  # In 32 bits a row is not exactly as long as its copy.
        rows = normalize_rows(rows)
    _, people, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if rows.ndim != 2 or len(rows) != len(people):
        raise ValueError(f"embeddings of {rows.shape} and {len(people)} labels don't go together")
    if not 2 <= len(counts) < len(rows):
        raise ValueError(f"{len(counts)} people with {len(rows)} faces have no silhouette")
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, people, rows)
    total = 0.0
    for start in range(0, len(rows), _BLOCK):
        block, own = rows[start : start + _BLOCK], people[start : start + _BLOCK]
        each, several = np.arange(len(block)), counts[own] > 1
        cosines = block @ sums.T
        # A face is not at any distance from itself.
        to_own = counts[own] - 1 - (cosines[each, own] - np.square(block).sum(axis=1))
        to_own /= np.maximum(counts[own] - 1, 1)
        to_others = 1 - cosines / counts
        to_others[each, own] = np.inf
        nearest = to_others.min(axis=1)
        to_own, nearest = (np.where(distances < _ROUNDING, 0.0, distances) for distances in (to_own, nearest))
        largest = np.maximum(to_own, nearest)
        total += float(((nearest - to_own) / np.where(largest > 0, largest, 1.0))[several].sum())
    return total / len(rows)


def trustworthiness(embeddings: ArrayLike, points: ArrayLike, k: int, *, asked: int = ASKED, seed: int = 0) -> float:
    """How far neighbors on a map are neighbors in truth, by cosine (Venna and Kaski 2001): 1 is always.

    scikit-learn's `trustworthiness` in blocks, as its matrix takes memory that grows with the square of the faces.
    Of more than `asked` faces, a sample that the seed draws is asked for its neighbors, among all.

    Args:
        embeddings: L2-normalized, or zeros. Shape: (faces, dim).
        points: Their places on the map. Shape: (faces, 2).
        k: How many neighbors; at least 1 and below half of the faces.
        asked: How many faces are asked, at most.
        seed: Chooses them.

    Raises:
        ValueError: The shapes differ, or `k` is outside.
    """
    # It takes two seconds to import, for which others need not wait.
    from sklearn.neighbors import NearestNeighbors

    rows, places = np.asarray(embeddings, np.float32), np.asarray(points, np.float32)
    faces = len(rows)
    if rows.ndim != 2 or places.shape != (faces, 2):
        raise ValueError(f"embeddings of {rows.shape} and points of {places.shape} don't go together")
    if not 1 <= k < faces / 2:
        raise ValueError(f"k is at least 1 and below half of the {faces} faces; not {k}")
    chosen = np.arange(faces)
    if faces > asked:
        chosen = np.sort(np.random.default_rng(seed).choice(faces, asked, replace=False))
    near = NearestNeighbors(n_neighbors=k).fit(places).kneighbors(return_distance=False)
    excess = 0
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        excess += _excess(rows, block, near[block], k)
    return 1 - 2 * excess / (len(chosen) * k * (2 * faces - 3 * k - 1))


def _excess(rows: NDArray[np.float32], block: NDArray[np.int_], near: NDArray[np.int_], k: int) -> int:
    """By how much the ranks of the neighbors on the map exceed `k` among the embeddings, summed."""
    cosines = rows[block] @ rows.T
    cosines[np.arange(len(block)), block] = -np.inf
    found = np.take_along_axis(cosines, near, axis=1)
    ranks = [1 + (cosines > found[:, [place]]).sum(axis=1) for place in range(k)]
    return int(np.maximum(np.stack(ranks) - k, 0).sum())
