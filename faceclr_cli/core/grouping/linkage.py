"""Embeddings to groups, one for each person, in which no two faces are of one photograph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import HDBSCAN, AgglomerativeClustering

from faceclr_cli.core.metrics.degeneracy import distinct_embeddings
from faceclr_cli.core.metrics.normalization import normalize_rows

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

NONE = -1
"""The label of a face without a group."""

MOST_AT_ONCE = 12_000
"""Faces that average linkage can take together, in about 3 GB: its distances grow with their square."""

_AT_ONCE = 2**24
_ROUNDING = 1e-5
_PASSES = 20


class TooManyFacesError(ValueError):
    """More faces are connected than average linkage can take together."""


def linkage_groups(embeddings: Vectors, photographs: Labels, threshold: float) -> Labels:
    """Average linkage on cosine distance, which joins groups as long as their mean similarity reaches a threshold.

    Two faces of one photograph are put so far apart that the mean over a pair of groups that holds them is beyond any
    threshold. Linkage is done in the connected parts of the graph of faces that are similar enough one by one. That
    changes nothing: a mean reaches the threshold only if one of its pairs does, so no group reaches out of its part.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: The photograph of each face, as a number. Shape: (faces,).
        threshold: Least mean similarity of two groups that are joined, -1 to 1.

    Returns:
        The group of each face, from 0; faces that are like nobody are alone in theirs. Shape: (faces,).

    Raises:
        TooManyFacesError: More than `MOST_AT_ONCE` faces are connected.
    """
    parts = _connected(embeddings, threshold - _ROUNDING)
    order = np.argsort(parts, kind="stable")
    groups, found = np.empty(len(parts), np.int64), 0
    for members in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
        if len(members) > MOST_AT_ONCE:
            raise TooManyFacesError(f"{len(members):,} faces are connected")
        groups[members] = found + _linked(embeddings[members], photographs[members], threshold)
        found = int(groups[members].max(initial=found - 1)) + 1
    return groups


def _linked(embeddings: Vectors, photographs: Labels, threshold: float) -> Labels:
    count = len(embeddings)
    if count < 2:
        return np.zeros(count, np.int64)
    distances = np.clip(1 - embeddings @ embeddings.T, 0, 2)
    # One such pair among at most count^2 / 4 makes their mean 4 or more.
    distances[photographs[:, None] == photographs[None, :]] = float(count) ** 2
    np.fill_diagonal(distances, 0)
    linkage = AgglomerativeClustering(
        n_clusters=None,
        # It joins below the distance, not at it.
        distance_threshold=float(np.nextafter(1 - threshold, 3)),
        metric="precomputed",
        linkage="average",
    )
    return np.asarray(linkage.fit(distances).labels_, np.int64)


def _connected(embeddings: Vectors, threshold: float) -> Labels:
    """The connected parts of the graph whose edges are similar pairs. Its memory grows with the number of faces."""
    count = len(embeddings)
    first = np.arange(count)  # of the part of each face
    step = max(1, _AT_ONCE // max(1, count))
    for start in range(0, count, step):
        left, right = np.nonzero(embeddings[start : start + step] @ embeddings[start:].T >= threshold)
        sources, targets = np.concatenate([left + start, np.arange(count)]), np.concatenate([right + start, first])
        graph = coo_matrix((np.ones(len(sources), bool), (sources, targets)), shape=(count, count))
        parts = connected_components(graph, directed=False)[1]
        first = np.unique(parts, return_index=True)[1][parts]
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def dense_groups(embeddings: Vectors, photographs: Labels, min_size: int) -> tuple[Labels, NDArray[np.float64]]:
    """HDBSCAN, then groups with two faces of one photograph divided.

    Of L2-normalized embeddings, Euclidean distances are in the order of cosine distances. Copies of an embedding, which
    would be a group of infinite density, are one face to HDBSCAN; where it leaves that one out, `min_size` copies or
    more are a group.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: The photograph of each face, as a number. Shape: (faces,).
        min_size: Faces of the smallest group, at least 2.

    Returns:
        The group of each face, or `NONE`, and how sure it is of it, 0 to 1. Shape of both: (faces,).
    """
    distinct = distinct_embeddings(embeddings)
    groups, sure = np.full(len(distinct), NONE, np.int64), np.zeros(len(distinct))
    if len(distinct) >= min_size:
        # Each face is its own only neighbor that must be near: with more, people of few pictures are lost.
        density = HDBSCAN(min_cluster_size=min_size, min_samples=1, copy=True).fit(embeddings[distinct.rows])
        groups, sure = np.asarray(density.labels_, np.int64), np.asarray(density.probabilities_, np.float64)
    copies = np.flatnonzero((groups == NONE) & (distinct.counts >= min_size))
    groups[copies], sure[copies] = groups.max(initial=NONE) + 1 + np.arange(len(copies)), 1.0
    groups, sure = groups[distinct.place], sure[distinct.place]
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if groups[members[0]] != NONE:
            parts = separate_photo_mates(embeddings[members], photographs[members])
            # The first part keeps the number of the group.
            groups[members] = np.where(parts == 0, groups[members], groups.max() + parts)
    return groups, sure


def separate_photo_mates(embeddings: Vectors, photographs: Labels) -> Labels:
    """Divides a group into as many parts as a photograph has faces in it, at most one of them in each part.

    They begin with the faces of the photograph that has the most. Each face goes to the part whose mean it is most
    like; of one photograph, the faces go where their similarities are the largest together. That is k-means with
    constraints, and is done until nothing changes.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: The photograph of each face, as a number. Shape: (faces,).

    Returns:
        The part of each, from 0. Shape: (faces,).
    """
    _, photo, counts = np.unique(photographs, return_inverse=True, return_counts=True)
    parts = np.zeros(len(embeddings), np.int64)
    if not len(photo) or counts.max() == 1:
        return parts
    several = [np.flatnonzero(photo == each) for each in np.flatnonzero(counts > 1)]
    means = embeddings[photo == int(np.argmax(counts))].astype(np.float64)
    for _ in range(_PASSES):
        likeness = embeddings @ means.T
        nearest = likeness.argmax(axis=1)
        for faces in several:
            nearest[faces] = linear_sum_assignment(likeness[faces], maximize=True)[1]
        if np.array_equal(nearest, parts):
            break
        parts = nearest
        # None is empty: the faces of the photograph with the most take one each.
        sums = np.stack([embeddings[parts == part].sum(axis=0) for part in range(len(means))])
        means = normalize_rows(sums)
    return parts


def number_groups(groups: Labels, min_size: int) -> Labels:
    """Groups numbered from 0, the largest first, of equal ones that with the first face; smaller ones are `NONE`."""
    found, starts, sizes = np.unique(groups[groups != NONE], return_index=True, return_counts=True)
    kept = np.flatnonzero(sizes >= min_size)
    ranked = kept[np.lexsort((starts[kept], -sizes[kept]))]
    number = dict(zip(found[ranked].tolist(), range(len(ranked)), strict=True))
    return np.array([number.get(group, NONE) for group in groups.tolist()], np.int64)


def distances_to_groups(embeddings: Vectors, groups: Labels) -> NDArray[np.float64]:
    """Mean cosine distance of each face to the others of its group; NaN where it has none. Shape: (faces,)."""
    distances = np.full(len(groups), np.nan)
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(members) > 1 and groups[members[0]] != NONE:
            rows = embeddings[members].astype(np.float64)
            to_all = rows @ rows.sum(axis=0)
            to_itself = np.einsum("ij,ij->i", rows, rows)
            distances[members] = np.clip(1 - (to_all - to_itself) / (len(members) - 1), 0, 2)
    return distances
