"""Clustering of embeddings into one group per person, with at most one face of each photograph in a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from faceclr_cli.core.grouping.constraints import Constraints, Separation
from faceclr_cli.core.grouping.graph_linkage import link_neighbors
from faceclr_cli.core.grouping.neighbor_graph import (
    contract,
    find_components,
    find_neighbors,
    is_large,
    search_neighbors,
)

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

NONE = -1
"""The label of a face without a group."""

MOST_AT_ONCE = 12_000
"""Maximum number of connected faces for average linkage without a graph. The matrix of their similarities takes about
1.2 GB."""

_ROUNDING = 1e-5


Search = Literal["exact", "neighbors", "approximate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Linkage:
    """The result of average linkage.

    Attributes:
        groups: The group of each face, from 0. A face that is similar to no other forms a group of its own.
            Shape: (faces,).
        search: Which groups were compared. `exact`: all; `neighbors`: if more than `MOST_AT_ONCE` faces are connected,
            or there are more than `neighbor_graph.MOST_EXACT`, groups with a face that is among the nearest neighbors
            of a face of the other; `approximate`: the same, and the neighbors were searched approximately.
        recall: Share of the pairs of neighbors that the approximate search has found, measured on a sample; None for
            other searches.
    """

    groups: Labels
    search: Search
    recall: float | None = None


def cluster_by_linkage(
    embeddings: Vectors, photographs: Labels, threshold: float, constraints: Constraints | None = None
) -> Labels:
    """Clusters faces as `link_faces` does, and returns the group of each face, from 0. Shape: (faces,)."""
    return link_faces(embeddings, photographs, threshold, constraints).groups


def link_faces(
    embeddings: Vectors, photographs: Labels, threshold: float, constraints: Constraints | None = None
) -> Linkage:
    """Clusters faces by average linkage on cosine similarity, with constraints.

    Two groups are merged while their mean similarity reaches the threshold, but not if they contain faces of the same
    photograph or faces that a constraint keeps apart. Faces that a must-link connects are one group from the beginning.

    Linkage runs separately in each connected component of the graph whose edges are pairs above the threshold and
    must-links. The result is the same as for all faces together: the mean of two groups reaches the threshold only if
    one of their pairs does, so a group never spans two components. In components of more than `MOST_AT_ONCE` faces,
    only groups that nearest neighbors connect are merged. Of more than `neighbor_graph.MOST_EXACT` faces, only pairs of
    nearest neighbors are edges of the graph.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        threshold: Minimum mean similarity of two groups to merge, -1 to 1.
        constraints: Prior knowledge about the faces, or None.

    See Also:
        neighbor_graph.is_search_approximate: When FAISS searches.
    """
    known = Constraints.none(len(embeddings)) if constraints is None else constraints
    blocks, least = known.blocks(), threshold - _ROUNDING
    graph, recall = None, None
    search: Search = "exact"
    if is_large(len(embeddings)):
        neighbors = search_neighbors(embeddings, least)
        graph, recall = contract(neighbors.matrix, blocks), neighbors.recall
        search = "neighbors" if recall is None else "approximate"
        parts = np.asarray(connected_components(graph, directed=False)[1], np.int64)
    else:
        parts = find_components(embeddings, least, blocks)
    # The blocks of a component get consecutive numbers, and so do their faces.
    order = np.argsort(parts, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    blocks, graph = place[blocks], None if graph is None else graph[order][:, order]
    separation, faces = known.separation(blocks, photographs), np.argsort(blocks, kind="stable")
    firsts = np.append(0, np.cumsum(np.bincount(blocks, minlength=len(order))))
    bounds = np.append(np.flatnonzero(np.diff(parts[order], prepend=-1)), len(order))
    groups = np.arange(len(order))
    for start in np.flatnonzero(np.diff(bounds) > 1):
        part = slice(int(bounds[start]), int(bounds[start + 1]))
        count = part.stop - part.start
        rows = embeddings[faces[firsts[part.start] : firsts[part.stop]]]
        sizes, apart = np.diff(firsts[part.start : part.stop + 1]), separation.between(part)
        if count <= MOST_AT_ONCE:
            found = _link_all(rows, sizes, apart, threshold)
        elif graph is not None:
            found = link_neighbors(rows, sizes, graph[part, part], apart, threshold)
        else:
            search = "neighbors"
            near = contract(find_neighbors(rows, least).matrix, np.repeat(np.arange(count), sizes))
            found = link_neighbors(rows, sizes, near, apart, threshold)
        groups[part] = part.start + found
    return Linkage(groups=np.unique(groups[blocks], return_inverse=True)[1], search=search, recall=recall)


def _link_all(rows: Vectors, sizes: Labels, separation: Separation, threshold: float) -> Labels:
    sums = np.add.reduceat(rows, np.cumsum(sizes) - sizes, axis=0, dtype=np.float64)
    # The product of two sums is the sum of the similarities of all pairs.
    means = sums @ sums.T
    means /= sizes[:, None]
    means /= sizes
    means[separation.to_matrix()] = -np.inf
    np.fill_diagonal(means, -np.inf)
    return _merge_nearest(means, sizes.astype(np.float64), threshold)


def _merge_nearest(means: NDArray[np.float64], sizes: NDArray[np.float64], threshold: float) -> Labels:
    """Merges groups by the nearest-neighbor chain algorithm, which gives the dendrogram of average linkage.

    A group whose nearest neighbor is below the threshold is complete: the mean similarity to a merged group is never
    above that to the nearer of its two halves.

    F. Murtagh, A survey of recent advances in hierarchical clustering algorithms, The Computer Journal, 1983.

    Args:
        means: Mean similarity of the groups; -inf for pairs that may not be merged. Shape: (groups, groups).
            Overwritten.
        sizes: Number of faces of each group. Shape: (groups,). Overwritten.
        threshold: Minimum mean similarity.

    Returns:
        The merged group of each group, from 0. Shape: (groups,).
    """
    merged_into, chain, start = np.arange(len(sizes)), list[int](), 0
    while start < len(sizes):
        if not chain:
            if not sizes[start]:
                start += 1
                continue
            chain.append(start)
        top = chain[-1]
        nearest = int(means[top].argmax())
        if len(chain) > 1 and means[top, chain[-2]] >= means[top, nearest]:
            nearest = chain[-2]  # Otherwise, ties would extend the chain forever.
        if means[top, nearest] < threshold:
            sizes[top] = 0
            means[:, top] = -np.inf
            chain.pop()
        elif len(chain) > 1 and nearest == chain[-2]:
            row = (sizes[top] * means[top] + sizes[nearest] * means[nearest]) / (sizes[top] + sizes[nearest])
            row[[top, nearest]] = -np.inf
            means[nearest] = means[:, nearest] = row
            means[:, top] = -np.inf
            sizes[nearest] += sizes[top]
            sizes[top], merged_into[top] = 0, nearest
            del chain[-2:]
        else:
            chain.append(nearest)
    while not np.array_equal(merged_into, merged_into[merged_into]):
        merged_into = merged_into[merged_into]
    return np.unique(merged_into, return_inverse=True)[1].astype(np.int64)


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
