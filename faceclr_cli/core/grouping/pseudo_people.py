"""Groups of faces that probably show one person each, found without names, and signs of how pure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.grouping.linkage import (
    NONE,
    Labels,
    Vectors,
    distances_to_groups,
    linkage_groups,
    number_groups,
)

FEWEST_EXPECTED = 3.0
"""Minimum number of certain negatives that chance alone would put into one group; with fewer, they tell nothing."""

LEAST_PRECISION = 0.8
"""Minimum precision of pairs of faces in one group, as certain negatives show it."""

LEAST_SILHOUETTE = 0.7
"""Minimum mean silhouette of the faces in groups, if there are too few certain negatives.

Of 7,281 faces compared by their pixels, groups with a silhouette of 0.84, 0.74, 0.63 and 0.50 had a purity (B-cubed) of
89%, 84%, 77% and 69%. The limit is cautious for a good encoder: of 480 faces compared by sface, groups with a
silhouette of 0.44 were pure.
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
            are too few to tell.
        precision: Share of the pairs of faces in one group that show one person, estimated from certain negatives; None
            if there are too few.
        silhouette: Mean silhouette of the faces in groups, -1 to 1.
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


def find_pseudo_people(embeddings: Vectors, photographs: Labels, shares: Sequence[float]) -> PseudoPeople | None:
    """Groups the most similar faces by average linkage.

    A share of the faces decides the threshold: it is the similarity that this share of the faces reach with their
    nearest neighbor. The largest share whose groups are pure enough is used. Certain negatives, the pairs of faces of
    one photograph, show how pure groups are: their precision must be at least `LEAST_PRECISION`. If there are too few
    certain negatives to tell, the mean silhouette must be at least `LEAST_SILHOUETTE`. Faces of one photograph never
    share a group of the result.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        shares: Shares of the faces, above 0 to 1, the largest first.

    Returns:
        The groups; None if no share gives groups that are pure enough, or any group at all.
    """
    pairs = certain_negatives(photographs)
    nearest = np.sort(nearest_similarities(embeddings))[::-1]
    for share in shares:
        threshold = float(nearest[max(0, round(share * len(nearest)) - 1)])
        joined, precision = _judge(embeddings, pairs, threshold)
        if precision is not None and precision < LEAST_PRECISION:
            continue
        groups = number_groups(linkage_groups(embeddings, photographs, threshold), _MIN_SIZE)
        if groups.max(initial=NONE) < 1:
            continue
        silhouette = mean_silhouette(embeddings, groups)
        if precision is not None or silhouette >= LEAST_SILHOUETTE:
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


def _judge(embeddings: Vectors, pairs: NDArray[np.int64], threshold: float) -> tuple[float, float] | tuple[None, None]:
    """Returns the share of certain negatives in one group, and the precision that follows from it.

    Nearly all pairs of a collection show different people. If certain negatives are like all of them, the share of the
    pairs in one group that are wrong is the share of certain negatives in one group, divided by the share of all pairs
    in one group.
    """
    if len(pairs) < FEWEST_EXPECTED:
        return None, None
    groups = linkage_groups(embeddings, np.arange(len(embeddings)), threshold)
    sizes = np.bincount(groups).astype(np.float64)
    of_all = float((sizes * (sizes - 1)).sum() / (len(groups) * (len(groups) - 1)))
    if of_all * len(pairs) < FEWEST_EXPECTED:
        return None, None
    joined = float((groups[pairs[:, 0]] == groups[pairs[:, 1]]).mean())
    return joined, max(0.0, 1 - joined / of_all)


def certain_negatives(photographs: Labels) -> NDArray[np.int64]:
    """Returns all pairs of faces of one photograph, which show different people. Shape: (pairs, 2)."""
    order = np.argsort(photographs, kind="stable")
    pairs = [np.empty((0, 2), np.int64)]
    for members in np.split(order, np.flatnonzero(np.diff(photographs[order])) + 1):
        if len(members) > 1:
            first, second = np.triu_indices(len(members), 1)
            pairs.append(np.stack([members[first], members[second]], axis=1))
    return np.concatenate(pairs)


def nearest_similarities(embeddings: Vectors) -> NDArray[np.float32]:
    """Returns the similarity of each face to the most similar other face. Shape: (faces,)."""
    count = len(embeddings)
    found = np.empty(count, np.float32)
    step = max(1, _SIMILARITIES_PER_BLOCK // max(1, count))
    for start in range(0, count, step):
        similar = embeddings[start : start + step] @ embeddings.T
        rows = np.arange(len(similar))
        similar[rows, start + rows] = -np.inf
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
