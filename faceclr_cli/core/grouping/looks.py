"""Looks of known people: a person may look different in parts of their pictures, as with age."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.grouping.constraints import UNKNOWN, Constraints
from faceclr_cli.core.grouping.linkage import Labels, Vectors, cluster_by_linkage

_SIMILARITIES_PER_BLOCK = 2**24


def join_by_look(
    embeddings: Vectors, photographs: Labels, groups: Labels, threshold: float, constraints: Constraints
) -> Labels:
    """Joins groups of unknown people to groups that must-links have made, by the most similar look.

    A user who declares that a child and an adult are one person makes a group whose mean is similar to neither, and a
    new picture may be similar to some of the many pictures of a person only. The faces of a known person are therefore
    clustered once more, without their must-links, together with the unknown groups that are similar to one of them. An
    unknown group joins if it falls into a cluster with faces of the person, as it would have if nothing were known. The
    most similar ones are joined first.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        groups: The group of each face, from 0, as `cluster_by_linkage` returns it. Shape: (faces,).
        threshold: Minimum mean similarity, -1 to 1.
        constraints: Prior knowledge about the faces.

    Returns:
        The group of each face. Shape: (faces,).
    """
    is_known = np.zeros(int(groups.max(initial=-1)) + 1, bool)
    is_known[groups[(constraints.people != UNKNOWN) | (constraints.together != UNKNOWN)]] = True
    candidates = _similar_groups(embeddings, groups, is_known, threshold)
    if not candidates:
        return groups
    joined = _Joined(photographs, groups, constraints.apart)
    order = np.argsort(groups, kind="stable")
    bounds = np.append(0, np.cumsum(np.bincount(groups)))
    similar: list[tuple[float, int, int]] = []
    for owner, others in candidates.items():
        chosen = [owner, *(other for other in others if joined.may_join(other, owner))]
        if len(chosen) > 1:
            faces = np.concatenate([order[bounds[group] : bounds[group + 1]] for group in chosen])
            similar += _find_looks(embeddings, photographs, groups, faces, owner, threshold, constraints)
    for _, group, owner in sorted(similar):
        joined.join(group, owner)
    return np.array([joined.into.get(group, group) for group in groups.tolist()], np.int64)


def _similar_groups(
    embeddings: Vectors, groups: Labels, is_known: NDArray[np.bool_], threshold: float
) -> dict[int, list[int]]:
    """For each known group, the unknown ones whose mean similarity to one of its faces reaches the threshold."""
    order, found = np.argsort(groups, kind="stable"), defaultdict[int, list[int]](list)
    known, free = np.flatnonzero(is_known[groups]), np.flatnonzero(~is_known)
    if not len(known) or not len(free):
        return found
    firsts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    means = np.add.reduceat(embeddings[order], firsts, axis=0)[free] / np.bincount(groups)[free, None]
    step = max(1, _SIMILARITIES_PER_BLOCK // len(free))
    pairs = set[tuple[int, int]]()
    for start in range(0, len(known), step):
        rows, columns = np.nonzero(embeddings[known[start : start + step]] @ means.T >= threshold)
        pairs |= set(zip(groups[known[rows + start]].tolist(), free[columns].tolist(), strict=True))
    for owner, group in sorted(pairs):
        found[owner].append(group)
    return found


def _find_looks(
    embeddings: Vectors,
    photographs: Labels,
    groups: Labels,
    faces: Labels,
    owner: int,
    threshold: float,
    constraints: Constraints,
) -> Iterator[tuple[float, int, int]]:
    """Clusters the faces of a known group with those of unknown groups.

    Yields:
        The negative mean similarity of an unknown group to the faces of the known group in its cluster, and the
        numbers of both groups.
    """
    own, taken = groups[faces] == owner, constraints.take(faces)
    none = np.full(len(faces), UNKNOWN, np.int64)
    free = replace(taken, people=none, together=np.where(own, UNKNOWN, groups[faces]))
    clusters = cluster_by_linkage(embeddings[faces], photographs[faces], threshold, free)
    for group in np.unique(groups[faces[~own]]).tolist():
        others = groups[faces] == group
        look = own & (clusters == clusters[np.argmax(others)])
        if look.any():
            similarity = embeddings[faces[others]].mean(axis=0) @ embeddings[faces[look]].mean(axis=0)
            yield -float(similarity), group, owner


class _Joined:
    """Joined groups, which never contain two faces that may not be together."""

    def __init__(self, photographs: Labels, groups: Labels, apart: Labels) -> None:
        self.into: dict[int, int] = {}
        self._photographs = defaultdict[int, set[int]](set)
        self._apart = defaultdict[int, set[int]](set)
        for group, photograph in zip(groups.tolist(), photographs.tolist(), strict=True):
            self._photographs[group].add(photograph)
        for left, right in groups[apart].tolist():
            self._apart[left].add(right)
            self._apart[right].add(left)

    def may_join(self, group: int, owner: int) -> bool:
        """Returns False if the groups show one photograph or must be kept apart."""
        return owner not in self._apart[group] and not self._photographs[group] & self._photographs[owner]

    def join(self, group: int, owner: int) -> None:
        """Joins a group to another, unless it has been joined already or may not be."""
        if group in self.into or not self.may_join(group, owner):
            return
        self.into[group] = owner
        self._photographs[owner] |= self._photographs[group]
        for other in self._apart[group]:
            self._apart[other].add(owner)
        self._apart[owner] |= self._apart[group]
