"""Density-based clustering of embeddings, which needs no threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.linkage import NONE, Labels, Vectors, cluster_by_linkage
from faceclr_cli.core.metrics.degeneracy import distinct_embeddings
from faceclr_cli.core.metrics.normalization import normalize_rows

_PASSES = 20


def cluster_by_density(
    embeddings: Vectors, photographs: Labels, min_size: int, constraints: Constraints | None = None
) -> tuple[Labels, NDArray[np.float64]]:
    """Clusters faces with HDBSCAN, then applies the constraints.

    Groups that a must-link connects are joined, and noise takes the group of the faces that it is linked to. Then,
    groups with faces that may not be together are split: those of one photograph by constrained k-means, others by
    average linkage without a threshold.

    For L2-normalized embeddings, Euclidean and cosine distances have the same order. Identical embeddings would form a
    group of infinite density, so HDBSCAN sees one face for all copies. If HDBSCAN labels that face as noise, `min_size`
    or more copies still form a group.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        min_size: Minimum number of faces in a group, at least 2. Faces that must-links connect may form smaller groups.
        constraints: Prior knowledge about the faces, or None.

    Returns:
        The group of each face, or `NONE`; and its membership probability, 0 to 1. Shape of both: (faces,).
    """
    distinct = distinct_embeddings(embeddings)
    groups, sure = np.full(len(distinct), NONE, np.int64), np.zeros(len(distinct))
    if len(distinct) >= min_size:
        from sklearn.cluster import HDBSCAN

        # With min_samples above 1, people with few pictures become noise.
        density = HDBSCAN(min_cluster_size=min_size, min_samples=1, copy=True).fit(embeddings[distinct.rows])
        groups, sure = np.asarray(density.labels_, np.int64), np.asarray(density.probabilities_, np.float64)
    copies = np.flatnonzero((groups == NONE) & (distinct.counts >= min_size))
    groups[copies], sure[copies] = groups.max(initial=NONE) + 1 + np.arange(len(copies)), 1.0
    groups, sure = groups[distinct.place], sure[distinct.place]
    known = Constraints.none(len(embeddings)) if constraints is None else constraints
    groups, sure = _join_blocks(groups, sure, known.blocks())
    return _separate(embeddings, photographs, groups, known), sure


def _join_blocks(groups: Labels, sure: NDArray[np.float64], blocks: Labels) -> tuple[Labels, NDArray[np.float64]]:
    """Joins the groups of the faces of each block, and assigns noise in a block to the group of its other faces."""
    linked = np.flatnonzero(np.bincount(blocks)[blocks] > 1)
    if not len(linked):
        return groups, sure
    count = int(groups.max()) + 1
    # A node for each group, then one for each block.
    inside = linked[groups[linked] != NONE]
    size = count + int(blocks.max()) + 1
    edges = coo_matrix((np.ones(len(inside), bool), (groups[inside], count + blocks[inside])), shape=(size, size))
    parts = np.asarray(connected_components(edges, directed=False)[1], np.int64)
    joined = np.where(groups == NONE, NONE, parts[groups])
    joined[linked] = parts[count + blocks[linked]]
    sure = sure.copy()
    sure[linked] = 1.0
    return joined, sure


def _separate(embeddings: Vectors, photographs: Labels, groups: Labels, known: Constraints) -> Labels:
    """Splits groups with faces that may not be together."""
    groups, highest = groups.copy(), int(groups.max(initial=NONE))
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if not len(members) or groups[members[0]] == NONE:
            continue
        own, photos = known.take(members), photographs[members]
        if own.is_empty:
            parts = separate_photo_mates(embeddings[members], photos)
        elif own.separation(own.blocks(), photos).is_empty:
            continue
        else:
            parts = cluster_by_linkage(embeddings[members], photos, -1.0, own)
        # The first part keeps the label of the group.
        groups[members] = np.where(parts == 0, groups[members], highest + parts)
        highest += int(parts.max())
    return groups


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
