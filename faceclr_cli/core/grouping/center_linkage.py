"""Joining of groups with similar centers: a second pass after average linkage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.graph_linkage import link_neighbors
from faceclr_cli.core.grouping.neighbor_graph import search_neighbors
from faceclr_cli.core.metrics.normalization import normalize_rows

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]

_PASSES = 10


def join_centers(
    embeddings: Vectors, photographs: Labels, groups: Labels, threshold: float, constraints: Constraints
) -> Labels:
    """Joins groups by the cosine similarity of their centers.

    Two groups of one person have a low mean similarity if the pictures in each of them vary. A threshold on the mean
    that suits single faces therefore divides people with many pictures. Averaging removes most of the pose and the
    light of the pictures from the center of a group: two centers of one person are far more similar than two pictures,
    whereas two centers of different people are only slightly more similar. The two groups with the most similar centers
    are joined, as long as the similarity reaches the threshold.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        groups: The group of each face, numbered from 0 without gaps. Shape: (faces,).
        threshold: Minimum cosine similarity of two centers.
        constraints: Prior knowledge about the faces; two groups whose faces may not be together are never joined.

    Returns:
        The group of each face, numbered from 0. Shape: (faces,).
    """
    for _ in range(_PASSES):
        order = np.argsort(groups, kind="stable")
        sums = np.add.reduceat(embeddings[order], np.flatnonzero(np.diff(groups[order], prepend=-1)), axis=0)
        near = search_neighbors(normalize_rows(sums).astype(np.float32, copy=False), threshold).matrix
        separation = constraints.separation(groups, photographs)
        found = link_neighbors(sums, np.ones(len(sums), np.int64), near, separation, threshold, by_center=True)
        # Centers have moved, and may now be close to others.
        if len(np.unique(found)) == len(sums):
            break
        groups = found[groups]
    return groups
