"""Joining of groups whose faces match each other: a third pass after average linkage and centers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from faceclr_cli.core.grouping.constraints import UNKNOWN, Constraints, Separation
from faceclr_cli.core.grouping.neighbor_graph import find_neighbors

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

_MATCHES_PER_FACE = 2
"""One match of a face among many is too likely to be by chance; two are rare even among the faces of thousands."""


def join_matches(
    embeddings: Vectors, photographs: Labels, groups: Labels, threshold: float, constraints: Constraints
) -> Labels:
    """Joins groups whose faces match on average at least two faces of the other group.

    Pictures of a person in an unusual pose or of another age resemble neither the mean of the person nor most of the
    pictures, but some of them. Two faces match if their similarity reaches the threshold; a smaller group joins a
    larger one if there are at least twice as many matches between them as it has faces. The pairs of groups with the
    highest share of matching faces are joined first.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        groups: The group of each face, numbered from 0 without gaps. Shape: (faces,).
        threshold: Minimum cosine similarity of two faces that match.
        constraints: What is known about the faces; two groups with faces that may not be together are never joined.

    Returns:
        The group of each face, numbered from 0. Shape: (faces,).
    """
    matches = find_neighbors(embeddings, threshold).matrix
    while True:
        pairs = _rank_pairs(matches, groups, constraints, photographs)
        if not len(pairs):
            return groups
        into, taken = np.arange(int(groups.max()) + 1), set[int]()
        for smaller, larger in pairs.tolist():
            # Constraints and counts are those before this pass, so each group is joined with one other at a time.
            if smaller not in taken and larger not in taken:
                into[smaller] = larger
                taken |= {smaller, larger}
        groups = np.unique(into[groups], return_inverse=True)[1]


def _rank_pairs(matches: csr_matrix, groups: Labels, constraints: Constraints, photographs: Labels) -> Labels:
    """Returns the smaller and the larger of the groups that may be joined, best pairs first. Shape: (pairs, 2)."""
    sizes = np.bincount(groups)
    counts = _count_matches(matches, groups)
    smaller, larger = counts.row.astype(np.int64), counts.col.astype(np.int64)
    is_enough = (counts.data >= _MATCHES_PER_FACE * sizes[smaller]) & (sizes[smaller] <= sizes[larger])
    smaller, larger, found = smaller[is_enough], larger[is_enough], counts.data[is_enough]
    may_join = _may_join(smaller, larger, constraints.separation(groups, photographs))
    smaller, larger, found = smaller[may_join], larger[may_join], found[may_join]
    order = np.lexsort((larger, smaller, -found / (sizes[smaller] * sizes[larger])))
    pairs: Labels = np.stack([smaller, larger], axis=1)[order]
    return pairs


def _may_join(left: Labels, right: Labels, separation: Separation) -> NDArray[np.bool_]:
    count, pairs = len(separation.people), separation.pairs.tocoo()
    apart = np.isin(left * count + right, pairs.row.astype(np.int64) * count + pairs.col)
    names, others = separation.people[left], separation.people[right]
    return np.asarray(~apart & ((names == others) | (names == UNKNOWN) | (others == UNKNOWN)))


def _count_matches(matches: csr_matrix, groups: Labels) -> coo_matrix:
    """Counts the matches between each two groups."""
    count = int(groups.max(initial=-1)) + 1
    member = csr_matrix((np.ones(len(groups), np.int64), (groups, np.arange(len(groups)))), shape=(count, len(groups)))
    between = (member @ matches.astype(np.int64) @ member.T).tocoo()
    different = between.row != between.col
    return coo_matrix((between.data[different], (between.row[different], between.col[different])), between.shape)
