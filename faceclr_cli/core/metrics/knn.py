"""How often a face's nearest neighbors are pictures of the same person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

_MOST_PICTURES, _MOST_SIMILARITIES = 1024, 1 << 24
"""Of a block of pictures that are asked about: more save no time, and 64 MB of similarities fit beside anything."""


def _block(candidates: int) -> int:
    """How many pictures to compare with so many others at once."""
    return max(1, min(_MOST_PICTURES, _MOST_SIMILARITIES // candidates))


def knn_accuracy(embeddings: ArrayLike, labels: Sequence[str] | NDArray[np.int_], k: int = 1) -> float:
    """Leave-one-out k-nearest-neighbor accuracy by cosine similarity.

    Each picture is recognized among all the others by the vote of its `k` nearest; of people with
    equally many votes, the one with the nearest picture wins. The picture of a person who has no other
    can't be recognized: it stays among the candidates and is not itself asked about.

    Args:
        embeddings: Need not be normalized. Shape: (pictures, dim).
        labels: The person of each. Shape: (pictures,).
        k: At least 1.

    Raises:
        ValueError: The shapes differ, `k` is outside, or nobody has two pictures.

    Examples:
        >>> knn_accuracy([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2]], ["ann", "ann", "bob", "bob"])  # the last is wrong
        0.75
    """
    asked, right = knn_correct(embeddings, labels, k)
    return float(right[asked].mean())


def knn_correct(
    embeddings: ArrayLike, labels: Sequence[str] | NDArray[np.int_], k: int = 1
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """As `knn_accuracy`, of each picture: whether it was asked about, and whether it was recognized.

    Returns:
        Shapes: (pictures,), (pictures,).

    Raises:
        ValueError: As for `knn_accuracy`.
    """
    rows = np.asarray(embeddings, np.float32)
    names, people, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if rows.ndim != 2 or len(rows) != len(people):
        raise ValueError(f"embeddings of {rows.shape} and {len(people)} labels don't go together")
    if not 1 <= k < len(rows):
        raise ValueError(f"k is at least 1 and below the number of pictures, {len(rows)}; not {k}")
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

    A fraction below 1 is added to them, the greater the more similar the person's nearest picture is, so that it ranks
    people with equally many votes, also those with none.

    Args:
        embeddings: Of pictures that are asked about; need not be normalized. Shape: (pictures, dim).
        known: Of those that may be neighbors, likewise. Shape: (known, dim).
        labels: The person of each of these; all numbers from 0 on occur. Shape: (known,).
        k: At least 1; where it is more than the known pictures are, all of them vote.

    Returns:
        Shape: (pictures, people).

    Raises:
        ValueError: The shapes differ, a number is missing among the labels, or `k` is below 1.
    """
    rows, candidates = np.asarray(embeddings, np.float32), np.asarray(known, np.float32)
    counts = np.bincount(labels)
    if rows.ndim != 2 or candidates.shape != (len(labels), rows.shape[1]) or not counts.all() or k < 1:
        raise ValueError(f"pictures of {rows.shape}, {candidates.shape} known ones and k of {k} don't go together")
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
    """Which `k` rows are nearest to each row of the block, itself left out, nearest first. Shape: (block, k)."""
    similarity = rows[block] @ rows.T
    similarity[np.arange(len(block)), block] = -np.inf
    if k == 1:  # the usual question, and much faster
        nearest: NDArray[np.int_] = similarity.argmax(axis=1)[:, None]
        return nearest
    some = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(similarity, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def neighbor_purity(points: ArrayLike, labels: Sequence[str], k: int) -> float:
    """Of each point's `k` nearest others, the mean share that have its label, by Euclidean distance.

    Points whose label nothing else has stay among the neighbors and are not themselves asked about.

    Args:
        points: Shape: (pictures, dim).
        labels: Shape: (pictures,).
        k: At least 1.

    Raises:
        ValueError: The shapes differ, `k` is outside, or no label occurs twice.
    """
    # It takes two seconds to import, for which training need not wait.
    from sklearn.neighbors import NearestNeighbors

    rows, names = np.asarray(points, np.float32), np.asarray(labels)
    _, people, counts = np.unique(names, return_inverse=True, return_counts=True)
    if rows.ndim != 2 or len(rows) != len(people):
        raise ValueError(f"points of {rows.shape} and {len(people)} labels don't go together")
    if not 1 <= k < len(rows):
        raise ValueError(f"k is at least 1 and below the number of points, {len(rows)}; not {k}")
    asked = counts[people] > 1
    if not asked.any():
        raise ValueError("no label occurs twice")
    # Asked about the points that it knows, it leaves each itself out.
    neighbors = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors(return_distance=False)
    return float((people[neighbors] == people[:, None])[asked].mean())
