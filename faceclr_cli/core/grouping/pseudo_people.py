"""Groups of faces that probably show one person each, found without names, and signs of how pure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.linkage import (
    NONE,
    Labels,
    Vectors,
    cluster_by_linkage,
    distances_to_groups,
    number_groups,
)

FEWEST_EXPECTED = 3.0
"""Minimum expected number of certain negatives in one group by chance; with fewer, their count is not informative."""

LEAST_PRECISION = 0.8
"""Minimum precision of pairs of faces in one group, estimated from certain negatives."""

LEAST_SILHOUETTE = 0.7
"""Minimum mean silhouette of the faces in groups, if there are too few certain negatives.

Of 7,281 faces compared by their pixels, groups with a silhouette of 0.84, 0.74, 0.63 and 0.50 had a purity (B-cubed) of
89%, 84%, 77% and 69%. The limit is cautious for a good encoder: of 480 faces compared by sface, groups with a
silhouette of 0.44 were pure.
"""

LEAST_WHITENED_SILHOUETTE = 0.3
"""The same for whitened embeddings, in which faces of one person are less similar.

Of 15,000 faces compared by whitened gradients (HOG), groups with a silhouette of 0.42, 0.29 and 0.20 had a purity
(B-cubed) of 84%, 76% and 70%.
"""

_MIN_SIZE = 2
_LEAST_SHARE = 0.9  # Minimum share of the faces in groups, relative to the round before.
_SIMILARITIES_PER_BLOCK = 2**24


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoPeople:
    """Groups of faces.

    Attributes:
        groups: The group of each face, the largest first, or `NONE`. Shape: (faces,).
        target: The given share of the faces that decided the threshold.
        threshold: Minimum mean similarity of two groups to merge.
        share: Share of the faces that are in a group.
        joined: Share of the certain negatives whose two faces fall into one group if nothing prevents it; None if there
            are too few of them.
        precision: Share of the pairs of faces in one group that show one person, estimated from certain negatives; None
            if there are too few.
        silhouette: Mean silhouette of the faces in groups, -1 to 1. Must-links join dissimilar faces, so it is
            measured on the groups without them.
    """

    groups: Labels
    target: float
    threshold: float
    share: float
    joined: float | None
    precision: float | None
    silhouette: float

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.groups.max(initial=NONE)) + 1


def find_pseudo_people(
    embeddings: Vectors,
    photographs: Labels,
    shares: Sequence[float],
    constraints: Constraints | None = None,
    least_silhouette: float = LEAST_SILHOUETTE,
) -> PseudoPeople | None:
    """Groups the most similar faces by average linkage.

    A share of the faces decides the threshold: it is the similarity that this share of the faces reach with their
    nearest neighbor, apart from faces that must-links connect with them. The largest share whose groups are pure enough
    is used. Certain negatives, the pairs of faces of one photograph and the cannot-links, show how pure groups are:
    their precision must be at least `LEAST_PRECISION`. If there are too few certain negatives, the mean silhouette must
    be at least `least_silhouette`. Certain negatives never share a group of the result, and faces that must-links
    connect always do.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        shares: Shares of the faces, above 0 to 1, the largest first.
        constraints: Prior knowledge about the faces, or None.
        least_silhouette: Minimum mean silhouette of the faces in groups, if there are too few certain negatives.

    Returns:
        The groups; None if no share gives groups that are pure enough, or any group at all.
    """
    known = Constraints.none(len(embeddings)) if constraints is None else constraints
    blocks = known.blocks()
    unlinked = replace(Constraints.none(len(embeddings)), apart=known.apart)
    # Faces of one block are always in the same group, so each pair of blocks is one piece of evidence.
    linked = np.unique(np.sort(blocks[known.apart], axis=1), axis=0)
    first = np.unique(blocks, return_index=True)[1]
    pairs = np.concatenate([certain_negatives(photographs), first[linked]])
    nearest = np.sort(nearest_similarities(embeddings, blocks))[::-1]
    for share in shares:
        threshold = max(-1.0, float(nearest[max(0, round(share * len(nearest)) - 1)]))
        joined, precision = _judge(embeddings, pairs, threshold, blocks)
        if precision is not None and precision < LEAST_PRECISION:
            continue
        groups = number_groups(cluster_by_linkage(embeddings, photographs, threshold, known), _MIN_SIZE)
        alike = groups
        if len(first) < len(blocks):
            alike = number_groups(cluster_by_linkage(embeddings, photographs, threshold, unlinked), _MIN_SIZE)
        if min(groups.max(initial=NONE), alike.max(initial=NONE)) < 1:
            continue
        silhouette = mean_silhouette(embeddings, alike)
        if precision is not None or silhouette >= least_silhouette:
            return PseudoPeople(
                groups=groups,
                target=share,
                threshold=threshold,
                share=float((groups != NONE).mean()),
                joined=joined,
                precision=precision,
                silhouette=silhouette,
            )
    return None


def _judge(
    embeddings: Vectors, pairs: NDArray[np.int64], threshold: float, blocks: Labels
) -> tuple[float, float] | tuple[None, None]:
    """Returns the share of certain negatives in one group, and the precision that follows from it.

    Nearly all pairs of a collection show different people. If certain negatives are like all of them, the share of the
    pairs in one group that are wrong is the share of certain negatives in one group, divided by the share of all pairs
    in one group. Pairs of faces that must-links connect are in one group with any encoder, and do not count.
    """
    if len(pairs) < FEWEST_EXPECTED:
        return None, None
    linked = replace(Constraints.none(len(blocks)), tracks=blocks)
    groups = cluster_by_linkage(embeddings, np.arange(len(embeddings)), threshold, linked)
    inside = _count_pairs(blocks)
    of_all = (_count_pairs(groups) - inside) / max(1.0, len(groups) * (len(groups) - 1) / 2 - inside)
    if of_all * len(pairs) < FEWEST_EXPECTED:
        return None, None
    joined = float((groups[pairs[:, 0]] == groups[pairs[:, 1]]).mean())
    return joined, max(0.0, 1 - joined / of_all)


def _count_pairs(labels: Labels) -> float:
    """Returns the number of pairs with the same label."""
    sizes = np.bincount(labels).astype(np.float64)
    return float((sizes * (sizes - 1)).sum() / 2)


def certain_negatives(photographs: Labels) -> NDArray[np.int64]:
    """Returns all pairs of faces of one photograph, which show different people. Shape: (pairs, 2)."""
    order = np.argsort(photographs, kind="stable")
    pairs = [np.empty((0, 2), np.int64)]
    for members in np.split(order, np.flatnonzero(np.diff(photographs[order])) + 1):
        if len(members) > 1:
            first, second = np.triu_indices(len(members), 1)
            pairs.append(np.stack([members[first], members[second]], axis=1))
    return np.concatenate(pairs)


def nearest_similarities(embeddings: Vectors, blocks: Labels) -> NDArray[np.float32]:
    """Returns the similarity of each face to the most similar face of another block.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        blocks: The block of each face, as `Constraints.blocks` returns it. Shape: (faces,).

    Returns:
        The similarities; -inf if there is no other block. Shape: (faces,).
    """
    count = len(embeddings)
    found = np.empty(count, np.float32)
    step = max(1, _SIMILARITIES_PER_BLOCK // max(1, count))
    for start in range(0, count, step):
        similar = embeddings[start : start + step] @ embeddings.T
        similar[blocks[start : start + step, None] == blocks] = -np.inf
        found[start : start + step] = similar.max(axis=1)
    return found


def mean_silhouette(embeddings: Vectors, groups: Labels) -> float:
    """Returns the mean silhouette (Rousseeuw 1987) of the faces in groups, by cosine distance.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        groups: The group of each face, from 0, or `NONE`; at least two groups. Shape: (faces,).
    """
    chosen = groups != NONE
    rows, own = embeddings[chosen], groups[chosen]
    inner = np.nan_to_num(distances_to_groups(rows, own))
    sizes = np.bincount(own)
    # The mean distance to the faces of a group is the distance to the mean of its embeddings.
    sums = np.zeros((len(sizes), rows.shape[1]), np.float32)
    np.add.at(sums, own, rows)
    means = sums / np.maximum(sizes, 1)[:, None]
    outer = np.empty(len(rows))
    step = max(1, _SIMILARITIES_PER_BLOCK // len(means))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        similar = rows[block] @ means.T
        similar[np.arange(len(similar)), own[block]] = -np.inf
        outer[block] = 1 - similar.max(axis=1)
    spread = np.maximum(inner, outer)
    scores = np.where((sizes[own] > 1) & (spread > 0), (outer - inner) / np.maximum(spread, 1e-12), 0.0)
    return float(scores.mean())


def should_stop(before: PseudoPeople, now: PseudoPeople | None) -> str | None:
    """Decides whether to keep the groups of the round before and to form no others.

    That is the case if the groups of the same share of the faces are no longer pure enough, because more certain
    negatives fall into one group or because the silhouette has fallen; or if fewer faces are in groups than before.

    Args:
        before: The groups of the round before.
        now: The groups of this round, from `find_pseudo_people` with no share below that of the round before.

    Returns:
        The reason, or None to use the new groups.
    """
    if now is None:
        if before.precision is not None:
            return "more faces of one photograph would share a cluster"
        return "the clusters are less distinct"
    if now.share < _LEAST_SHARE * before.share:
        return f"fewer faces are in clusters ({now.share:.0%}, {before.share:.0%} before)"
    return None
