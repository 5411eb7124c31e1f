"""Looks of known people: a person may look different in parts of their pictures, as with age."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.grouping.constraints import UNKNOWN, Constraints
from faceclr_cli.core.grouping.linkage import Labels, Vectors, linkage_groups

_SIMILARITIES_PER_BLOCK = 2**24


def join_by_look(
    embeddings: Vectors, photographs: Labels, groups: Labels, threshold: float, constraints: Constraints
) -> Labels:
    """Joins groups of unknown people to groups that must-links have made, by the most similar look.

    A user who declares that a child and an adult are one person makes a group whose mean is similar to neither. The
    faces of known people are therefore divided into looks by average linkage, and an unknown group joins if its mean
    similarity to one look reaches the threshold. The most similar pairs are joined first.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        photographs: Index of the photograph of each face. Shape: (faces,).
        groups: The group of each face, from 0, as `linkage_groups` returns it. Shape: (faces,).
        threshold: Minimum mean similarity, -1 to 1.
        constraints: What is known about the faces.

    Returns:
        The group of each face. Shape: (faces,).
    """
    known = np.unique(groups[(constraints.people != UNKNOWN) | (constraints.together != UNKNOWN)])
    looks, owners = _looks(embeddings, groups, threshold, known)
    free = np.setdiff1d(groups, known)
    if not len(owners) or not len(free):
        return groups
    order = np.argsort(groups, kind="stable")
    firsts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    # Every group has a face, and they are numbered from 0.
    means = np.add.reduceat(embeddings[order], firsts, axis=0)[free] / np.bincount(groups)[free, None]
    pairs: list[tuple[float, int, int]] = []
    step = max(1, _SIMILARITIES_PER_BLOCK // len(looks))
    for start in range(0, len(free), step):
        similarity = means[start : start + step] @ looks.T
        rows, columns = np.nonzero(similarity >= threshold)
        pairs += zip(-similarity[rows, columns], free[rows + start].tolist(), owners[columns].tolist(), strict=True)
    joined = _Joined(photographs, groups, constraints.apart)
    for _, group, owner in sorted(pairs):
        joined.join(group, owner)
    return np.array([joined.into.get(group, group) for group in groups.tolist()], np.int64)


def _looks(embeddings: Vectors, groups: Labels, threshold: float, known: Labels) -> tuple[NDArray[np.float32], Labels]:
    """The mean of each look, and the group that it belongs to; none for groups with only one look."""
    means, owners = [np.empty((0, embeddings.shape[1]), np.float32)], list[int]()
    for owner in known.tolist():
        own = embeddings[groups == owner]
        parts = linkage_groups(own, np.arange(len(own)), threshold)
        count = int(parts.max(initial=0)) + 1
        if count > 1:
            means.append(np.stack([own[parts == part].mean(axis=0) for part in range(count)]))
            owners += [owner] * count
    return np.concatenate(means), np.array(owners, np.int64)


class _Joined:
    """Groups that were joined, which never contain two faces that may not be together."""

    def __init__(self, photographs: Labels, groups: Labels, apart: Labels) -> None:
        self.into: dict[int, int] = {}
        self._photographs = defaultdict[int, set[int]](set)
        self._apart = defaultdict[int, set[int]](set)
        for group, photograph in zip(groups.tolist(), photographs.tolist(), strict=True):
            self._photographs[group].add(photograph)
        for left, right in groups[apart].tolist():
            self._apart[left].add(right)
            self._apart[right].add(left)

    def join(self, group: int, owner: int) -> None:
        """Joins a group to another, unless it has been joined already or may not be."""
        if group in self.into or owner in self._apart[group] or self._photographs[group] & self._photographs[owner]:
            return
        self.into[group] = owner
        self._photographs[owner] |= self._photographs[group]
        for other in self._apart[group]:
            self._apart[other].add(owner)
        self._apart[owner] |= self._apart[group]
