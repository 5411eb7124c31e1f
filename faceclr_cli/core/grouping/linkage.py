"""Clustering of embeddings into one group per person, with at most one face of each photograph in a group."""

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
"""Maximum number of connected faces for average linkage. Their distance matrix takes about 3 GB."""

_SIMILARITIES_PER_BLOCK = 2**24
_ROUNDING = 1e-5
_PASSES = 20


class TooManyFacesError(ValueError):
    """More than `MOST_AT_ONCE` faces are connected."""


def linkage_groups(embeddings: Vectors, photographs: Labels, threshold: float) -> Labels:
    """Clusters faces by average linkage on cosine distance, with a constraint on faces of the same photograph.

    Two groups are merged while their mean similarity reaches the threshold. Two faces of the same photograph get a
    distance so large that groups that contain them are never merged.

    Linkage runs separately in each connected component of the graph whose edges are pairs above the threshold. The
    result is the same as for all faces together: the mean of two groups reaches the threshold only if one of their
    pairs does, so a group never spans two components.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        threshold: Minimum mean similarity of two groups to merge, -1 to 1.

    Returns:
        The group of each face, from 0. A face that is similar to no other forms a group of its own. Shape: (faces,).

    Raises:
        TooManyFacesError: More than `MOST_AT_ONCE` faces are connected.
    """
    parts = _find_components(embeddings, threshold - _ROUNDING)
    order = np.argsort(parts, kind="stable")
    groups, found = np.empty(len(parts), np.int64), 0
    for members in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
        if len(members) > MOST_AT_ONCE:
            raise TooManyFacesError(f"{len(members):,} faces are connected")
        groups[members] = found + _link_component(embeddings[members], photographs[members], threshold)
        found = int(groups[members].max(initial=found - 1)) + 1
    return groups


def _link_component(embeddings: Vectors, photographs: Labels, threshold: float) -> Labels:
    count = len(embeddings)
    if count < 2:
        return np.zeros(count, np.int64)
    distances = np.clip(1 - embeddings @ embeddings.T, 0, 2)
    # Two groups have at most count^2 / 4 pairs, so a single pair at this distance makes their mean at least 4.
    distances[photographs[:, None] == photographs[None, :]] = float(count) ** 2
    np.fill_diagonal(distances, 0)
    linkage = AgglomerativeClustering(
        n_clusters=None,
        # scikit-learn merges below this distance, not at it.
        distance_threshold=float(np.nextafter(1 - threshold, 3)),
        metric="precomputed",
        linkage="average",
    )
    return np.asarray(linkage.fit(distances).labels_, np.int64)


def _find_components(embeddings: Vectors, threshold: float) -> Labels:
    """Finds the connected components of the graph whose edges are similar pairs.

    The similarities are computed in blocks, so memory grows linearly with the number of faces.
    """
    count = len(embeddings)
    first = np.arange(count)  # The first face of the component of each face.
    step = max(1, _SIMILARITIES_PER_BLOCK // max(1, count))
    for start in range(0, count, step):
        left, right = np.nonzero(embeddings[start : start + step] @ embeddings[start:].T >= threshold)
        sources, targets = np.concatenate([left + start, np.arange(count)]), np.concatenate([right + start, first])
        graph = coo_matrix((np.ones(len(sources), bool), (sources, targets)), shape=(count, count))
        parts = connected_components(graph, directed=False)[1]
        first = np.unique(parts, return_index=True)[1][parts]
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def dense_groups(embeddings: Vectors, photographs: Labels, min_size: int) -> tuple[Labels, NDArray[np.float64]]:
    """Clusters faces with HDBSCAN, then splits groups that contain two faces of the same photograph.

    For L2-normalized embeddings, Euclidean and cosine distances have the same order. Identical embeddings would form a
    group of infinite density, so HDBSCAN sees one face for all copies. If HDBSCAN labels that face as noise, `min_size`
    or more copies still form a group.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        min_size: Minimum number of faces in a group, at least 2.

    Returns:
        The group of each face, or `NONE`; and its membership probability, 0 to 1. Shape of both: (faces,).
    """
    distinct = distinct_embeddings(embeddings)
    groups, sure = np.full(len(distinct), NONE, np.int64), np.zeros(len(distinct))
    if len(distinct) >= min_size:
        # With min_samples above 1, people with few pictures become noise.
        density = HDBSCAN(min_cluster_size=min_size, min_samples=1, copy=True).fit(embeddings[distinct.rows])
        groups, sure = np.asarray(density.labels_, np.int64), np.asarray(density.probabilities_, np.float64)
    copies = np.flatnonzero((groups == NONE) & (distinct.counts >= min_size))
    groups[copies], sure[copies] = groups.max(initial=NONE) + 1 + np.arange(len(copies)), 1.0
    groups, sure = groups[distinct.place], sure[distinct.place]
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if groups[members[0]] != NONE:
            parts = separate_photo_mates(embeddings[members], photographs[members])
            # The first part keeps the label of the group.
            groups[members] = np.where(parts == 0, groups[members], groups.max() + parts)
    return groups, sure


def separate_photo_mates(embeddings: Vectors, photographs: Labels) -> Labels:
    """Splits a group so that each part has at most one face of each photograph, by constrained k-means.

    The number of parts is the largest number of faces that one photograph has in the group, and these faces are the
    initial means. Each face is assigned to the part with the most similar mean. Faces of the same photograph are
    assigned to different parts so that the sum of their similarities is largest. The assignment is repeated until it
    no longer changes, at most 20 times.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).

    Returns:
        The part of each face, from 0. Shape: (faces,).
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
        # No part is empty: the photograph with the most faces has one in each part.
        sums = np.stack([embeddings[parts == part].sum(axis=0) for part in range(len(means))])
        means = normalize_rows(sums)
    return parts


def number_groups(groups: Labels, min_size: int) -> Labels:
    """Renumbers groups by size and drops small ones.

    Args:
        groups: The group of each face, or `NONE`. Shape: (faces,).
        min_size: Minimum number of faces in a group.

    Returns:
        The groups numbered from 0, the largest first; ties are ordered by their first face. Faces of smaller groups
        get `NONE`. Shape: (faces,).
    """
    found, starts, sizes = np.unique(groups[groups != NONE], return_index=True, return_counts=True)
    kept = np.flatnonzero(sizes >= min_size)
    ranked = kept[np.lexsort((starts[kept], -sizes[kept]))]
    number = dict(zip(found[ranked].tolist(), range(len(ranked)), strict=True))
    return np.array([number.get(group, NONE) for group in groups.tolist()], np.int64)


def distances_to_groups(embeddings: Vectors, groups: Labels) -> NDArray[np.float64]:
    """Computes the mean cosine distance of each face to the other faces of its group.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        groups: The group of each face, or `NONE`. Shape: (faces,).

    Returns:
        The mean distances; NaN for a face without a group or alone in its group. Shape: (faces,).
    """
    distances = np.full(len(groups), np.nan)
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(members) > 1 and groups[members[0]] != NONE:
            rows = embeddings[members].astype(np.float64)
            to_all = rows @ rows.sum(axis=0)
            to_itself = np.einsum("ij,ij->i", rows, rows)
            distances[members] = np.clip(1 - (to_all - to_itself) / (len(members) - 1), 0, 2)
    return distances
