"""Average linkage of groups that neighboring faces connect."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from faceclr_cli.core.grouping.constraints import UNKNOWN, Separation

Labels = NDArray[np.int64]
Ids = NDArray[np.int32]

_TINY = 1e-12


def link_neighbors(
    embeddings: NDArray[np.float32],
    sizes: Labels,
    graph: csr_matrix,
    separation: Separation,
    threshold: float,
    *,
    by_center: bool = False,
) -> Labels:
    """Clusters groups of faces by average linkage, but only merges groups that an edge of the graph connects.

    Of all connected groups that may be merged, the two with the largest mean similarity are merged, as long as it
    reaches the threshold. The mean is that of all pairs of their faces, whether or not an edge connects them: it is
    the product of the sums of their embeddings. If the graph contains each pair of faces whose similarity reaches the
    threshold, the result is that of average linkage without a graph.

    Memory grows linearly with the number of groups and edges.

    Args:
        embeddings: L2-normalized, ordered by group. Shape: (faces, dim).
        sizes: Number of faces of each group. Shape: (groups,).
        graph: Symmetric. Shape: (groups, groups).
        separation: Which groups may not be merged.
        threshold: Minimum mean similarity, -1 to 1.
        by_center: Compare groups by the cosine similarity of their centers, instead of the mean similarity of their
            faces. The embeddings may have any length.

    Returns:
        The merged group of each group, from 0. Shape: (groups,).
    """
    sums = np.add.reduceat(embeddings, np.cumsum(sizes) - sizes, axis=0)
    return _Groups(sums, sizes, graph, separation, threshold, by_center=by_center).merge_all()


class _Groups:
    """Groups that are merged. A merged group has a new number, so a number always means the same faces."""

    def __init__(
        self,
        sums: NDArray[np.float32],
        sizes: Labels,
        graph: csr_matrix,
        separation: Separation,
        threshold: float,
        *,
        by_center: bool,
    ) -> None:
        self._count, self._threshold, self._by_center = len(sizes), threshold, by_center
        self._sums = sums
        # The divisor of the product of two sums.
        self._scales = np.maximum(np.linalg.norm(sums, axis=1), _TINY) if by_center else sizes.astype(np.float32)
        self._people, self._named = separation.people.copy(), bool((separation.people != UNKNOWN).any())
        self._near, self._apart = _Lists(graph), _Lists(separation.pairs)
        numbers = np.arange(2 * self._count, dtype=np.int32)
        self._into = numbers  # The group that each group was merged into, or the group itself.
        self._slot = numbers % max(1, self._count)  # Its row in the arrays, taken over from one of its two halves.

    def merge_all(self) -> Labels:
        heap = [pair for group in range(self._count) if (pair := self._best_pair(group)) is not None]
        heapq.heapify(heap)
        merged = self._count
        # Each pair is in the heap at its own position or at a better one: a new group has its own entry, and the
        # entry of any other group was made when the group had the same pairs, or more.
        while heap:
            _, group, other = heapq.heappop(heap)
            if self._into[group] != group:
                continue
            if self._into[other] == other:
                self._merge(group, other, merged)
                group, merged = merged, merged + 1
            pair = self._best_pair(group)
            if pair is not None:
                heapq.heappush(heap, pair)
        current = self._current(np.arange(self._count, dtype=np.int32))
        return np.unique(current, return_inverse=True)[1].astype(np.int64)

    def _best_pair(self, group: int) -> tuple[float, int, int] | None:
        """Returns the negative mean similarity of a group and its most similar partner for a merge, and both groups."""
        near = self._update(self._near, group)
        if len(apart := self._update(self._apart, group)):
            near = near[~np.isin(near, apart)]
        slot = self._slot[group]
        if self._named and self._people[slot] != UNKNOWN:
            people = self._people[self._slot[near]]
            near = near[(people == UNKNOWN) | (people == self._people[slot])]
        if not len(near):
            return None
        slots = self._slot[near]
        means = self._sums[slots] @ self._sums[slot] / (self._scales[slots] * self._scales[slot])
        best = int(means.argmax())
        return (-float(means[best]), group, int(near[best])) if means[best] >= self._threshold else None

    def _merge(self, group: int, other: int, merged: int) -> None:
        kept, freed = self._slot[group], self._slot[other]
        self._sums[kept] += self._sums[freed]
        if self._by_center:
            self._scales[kept] = max(float(np.linalg.norm(self._sums[kept])), _TINY)
        else:
            self._scales[kept] += self._scales[freed]
        self._people[kept] = max(self._people[kept], self._people[freed])
        self._into[[group, other]] = merged
        self._slot[merged] = kept
        for lists in (self._near, self._apart):
            lists.join(group, other, merged)

    def _update(self, lists: _Lists, group: int) -> Ids:
        """Returns the current groups in the list of a group, possibly repeated, but without the group itself."""
        listed = lists.get(group)
        if not len(listed):
            return listed
        current: Ids = self._current(listed)
        if group >= self._count:
            current = np.unique(current)
        current = current[current != group]
        lists.replace(group, current)
        return current

    def _current(self, groups: Ids) -> Ids:
        current: Ids = self._into[groups]
        while (current != (further := self._into[current])).any():
            current = further
        self._into[groups] = current  # Shortens the path of the next search.
        return current


class _Lists:
    """A list of groups for each group: rows of a sparse matrix until they are replaced."""

    def __init__(self, matrix: csr_matrix) -> None:
        self._indices: Ids = matrix.indices.astype(np.int32, copy=False)
        self._starts = matrix.indptr
        self._count = matrix.shape[0]
        self._replaced: dict[int, Ids] = {}

    def get(self, group: int) -> Ids:
        if group < self._count:
            return self._indices[self._starts[group] : self._starts[group + 1]]
        return self._replaced.get(group, self._indices[:0])

    def replace(self, group: int, listed: Ids) -> None:
        if group >= self._count:
            self._replaced[group] = listed

    def join(self, group: int, other: int, merged: int) -> None:
        both = np.concatenate([self.get(group), self.get(other)])
        if len(both):
            self._replaced[merged] = both
        self._replaced.pop(group, None)
        self._replaced.pop(other, None)
