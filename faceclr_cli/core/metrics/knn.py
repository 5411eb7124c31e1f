"""k-nearest-neighbor metrics of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

_MOST_PICTURES, _MOST_SIMILARITIES = 1024, 1 << 24
"""Maximum size of a block of query pictures, and of its similarities (64 MB). Larger blocks are not faster."""


def _block(candidates: int) -> int:
    """Returns the number of query pictures for each block."""
    return max(1, min(_MOST_PICTURES, _MOST_SIMILARITIES // candidates))


def knn_accuracy(embeddings: ArrayLike, labels: Sequence[str] | NDArray[np.int_], k: int = 1) -> float:
    """Leave-one-out k-nearest-neighbor accuracy by cosine similarity.

    Each picture is classified by a vote of its `k` nearest other pictures. Ties go to the person with the nearest
    picture. The only picture of a person cannot be classified correctly: it is a candidate, but not a query.

    Args:
        embeddings: Need not be normalized. Shape: (pictures, dim).
        labels: The person of each picture. Shape: (pictures,).
        k: Number of neighbors, at least 1.

    Raises:
        ValueError: The shapes differ, `k` is out of range, or no person has two pictures.

    Examples:
        >>> knn_accuracy([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2]], ["ann", "ann", "bob", "bob"])  # the last is wrong
        0.75
    """
    queried, correct = knn_correct(embeddings, labels, k)
    return float(correct[queried].mean())


def knn_correct(
    embeddings: ArrayLike, labels: Sequence[str] | NDArray[np.int_], k: int = 1
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns the outcome of `knn_accuracy` for each picture.

    Returns:
        True for query pictures, and True for correctly classified ones. Shapes: (pictures,), (pictures,).

    Raises:
        ValueError: As for `knn_accuracy`.
    """
    rows = np.asarray(embeddings, np.float32)
    names, people, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if rows.ndim != 2 or len(rows) != len(people):
        raise ValueError(f"embeddings of shape {rows.shape} and {len(people)} labels do not match")
    if not 1 <= k < len(rows):
        raise ValueError(f"k must be at least 1 and below the number of pictures, {len(rows)}, not {k}")
    known = counts[people] > 1
    asked = np.flatnonzero(known)
    if not len(asked):
        raise ValueError(f"none of the {len(names)} people has two pictures")
    rows, right = normalize_rows(rows), np.zeros(len(rows), bool)
    size = _block(len(rows))
    for start in range(0, len(asked), size):
        block = asked[start : start + size]
        voters = people[_nearest(rows, block, k)]
        votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2)
        elected = voters[np.arange(len(block)), votes.argmax(axis=1)]
        right[block] = elected == people[block]
    return known, right


def knn_scores(embeddings: ArrayLike, known: ArrayLike, labels: NDArray[np.int_], k: int) -> NDArray[np.float32]:
    """Votes for each person among the `k` nearest known pictures, by cosine similarity.

    To rank people with equal votes, a value below 1 is added that increases with the similarity of the person's nearest
    picture.

    Args:
        embeddings: Embeddings of the query pictures; need not be normalized. Shape: (pictures, dim).
        known: Embeddings of the known pictures; need not be normalized. Shape: (known, dim).
        labels: Index of the person in each known picture; all indices from 0 occur. Shape: (known,).
        k: Number of neighbors, at least 1. If it exceeds the number of known pictures, all of them vote.

    Returns:
        Shape: (pictures, people).

    Raises:
        ValueError: The shapes differ, an index is missing among the labels, or `k` is below 1.
    """
    rows, candidates = np.asarray(embeddings, np.float32), np.asarray(known, np.float32)
    counts = np.bincount(labels)
    if rows.ndim != 2 or candidates.shape != (len(labels), rows.shape[1]) or not counts.all() or k < 1:
        shapes = f"embeddings of shape {rows.shape}, known ones of shape {candidates.shape}"
        raise ValueError(f"{shapes}, {len(labels)} labels and k={k} do not match")
    order = np.argsort(labels, kind="stable")
    rows, candidates, people = normalize_rows(rows), normalize_rows(candidates)[order], np.asarray(labels)[order]
    starts, k = np.append(0, np.cumsum(counts)[:-1]), min(k, len(people))
    scores = np.empty((len(rows), len(counts)), np.float32)
    size = _block(len(candidates))
    for start in range(0, len(rows), size):
        similarity = np.clip(rows[start : start + size] @ candidates.T, -1, 1)
        block = scores[start : start + size]
        # From 0 to 0.5, so that it stays below one vote.
        block[:] = (np.maximum.reduceat(similarity, starts, axis=1) + 1) / 4
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        np.add.at(block, (np.arange(len(block))[:, None], people[nearest]), 1)
    return scores


def _nearest(rows: NDArray[np.float32], block: NDArray[np.int_], k: int) -> NDArray[np.int_]:
    """Returns the `k` nearest other rows of each row in the block, nearest first. Shape: (block, k)."""
    similarity = rows[block] @ rows.T
    similarity[np.arange(len(block)), block] = -np.inf
    if k == 1:  # the most common case, and much faster
        nearest: NDArray[np.int_] = similarity.argmax(axis=1)[:, None]
        return nearest
    some = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(similarity, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def neighbor_purity(points: ArrayLike, labels: Sequence[str], k: int) -> float:
    """Mean share of each point's `k` nearest neighbors by Euclidean distance that have the same label.

    Points with a unique label are neighbors of others, but not evaluated themselves.

    Args:
        points: Shape: (pictures, dim).
        labels: Shape: (pictures,).
        k: Number of neighbors, at least 1.

    Raises:
        ValueError: The shapes differ, `k` is out of range, or no label occurs twice.
    """
    # Importing sklearn.neighbors takes two seconds, which would delay the start of training.
    from sklearn.neighbors import NearestNeighbors

    rows, names = np.asarray(points, np.float32), np.asarray(labels)
    _, people, counts = np.unique(names, return_inverse=True, return_counts=True)
    if rows.ndim != 2 or len(rows) != len(people):
        raise ValueError(f"points of shape {rows.shape} and {len(people)} labels do not match")
    if not 1 <= k < len(rows):
        raise ValueError(f"k must be at least 1 and below the number of points, {len(rows)}, not {k}")
    asked = counts[people] > 1
    if not asked.any():
        raise ValueError("no label occurs twice")
    # Without an argument, kneighbors excludes each point from its own neighbors.
    neighbors = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors(return_distance=False)
    return float((people[neighbors] == people[:, None])[asked].mean())
