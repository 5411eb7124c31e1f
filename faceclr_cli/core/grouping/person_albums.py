"""Faces by person, with a center of each person that is robust to wrong names."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_NEIGHBORS = 3
"""Number of faces of a person that a face is compared with, besides the center. A single one may have a wrong name."""
_ROUNDS = 20
_AT_ONCE = 1 << 24
"""Maximum number of similarities in memory: 64 MiB."""
_STARTS = 256
"""Maximum number of a person's faces that are tried as the start of the core."""


class PersonAlbums:
    """The faces of each person.

    The core of a person is the half of the faces that are closest to their own mean, found by alternating between both
    from the face with the closest half (least trimmed squares: Rousseeuw and Van Driessen 2006). The other half has no
    influence on the center of the core, so that it is right if fewer than half of the names are wrong.

    Args:
        embeddings: L2-normalized, or zeros. Shape: (N, D).
        labels: The person of each face; all numbers from 0 occur. Shape: (N,).

    Attributes:
        embeddings: As given.
        labels: As given.
        is_core: True for the faces of a core. Shape: (N,).
        centers: Center of each core, L2-normalized. Shape: (people, D).

    Raises:
        ValueError: The shapes differ, there are no faces, or a number is missing.

    Examples:
        >>> faces = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], np.float32)
        >>> PersonAlbums(faces, np.array([0, 0, 0])).is_core
        array([ True,  True, False])
    """

    def __init__(self, embeddings: Vectors, labels: Rows) -> None:
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
            raise ValueError(f"embeddings of shape {embeddings.shape} and labels of shape {labels.shape} do not match")
        self.embeddings, self.labels = embeddings, labels
        self._order = np.argsort(labels, kind="stable").astype(np.int64)
        self.sizes = np.bincount(labels)
        if not self.sizes.all():
            raise ValueError("people must be numbered from 0 without gaps")
        self._ends = np.cumsum(self.sizes)
        self.is_core = np.zeros(len(labels), np.bool_)
        self._sums = np.zeros((len(self), embeddings.shape[1]), np.float32)
        for person in range(len(self)):
            rows = self.faces(person)
            core = rows[find_core(embeddings[rows])]
            self.is_core[core] = True
            self._sums[person] = embeddings[core].sum(axis=0)
        self.centers = normalize_rows(self._sums)

    def __len__(self) -> int:
        """Number of people."""
        return len(self.sizes)

    def faces(self, person: int) -> Rows:
        """Returns the rows of a person, in ascending order."""
        return self._order[self._ends[person] - self.sizes[person] : self._ends[person]]

    @cached_property
    def core(self) -> list[Rows]:
        """The rows of each core."""
        return [(rows := self.faces(person))[self.is_core[rows]] for person in range(len(self))]

    def affinities(self, rows: Rows, people: Rows) -> NDArray[np.float64]:
        """Computes how well faces match people: the mean of two similarities.

        One is the cosine with the center of the person's core, the other the mean cosine with the nearest three faces
        of the person, which a profile or a child's picture may have even if it is far from the center. A face is never
        compared with itself.

        Args:
            rows: The faces. Shape: (M,).
            people: A person for each of them. Shape: (M,).

        Returns:
            Affinities of at most 1; 0 for a person without another face. Shape: (M,).
        """
        found = np.zeros(len(rows))
        order = np.argsort(people, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(people[order])) + 1):
            if len(places):
                person = int(people[places[0]])
                step = max(1, _AT_ONCE // int(self.sizes[person]))
                for start in range(0, len(places), step):
                    some = places[start : start + step]
                    found[some] = self._affinities_to(person, rows[some])
        return found

    def _affinities_to(self, person: int, rows: Rows) -> NDArray[np.float64]:
        faces, embeddings = self.faces(person), self.embeddings[rows]
        belongs = self.labels[rows] == person
        # The center without the face itself, if the face is in the core.
        sums = self._sums[person] - np.where((belongs & self.is_core[rows])[:, None], embeddings, 0)
        lengths = np.linalg.norm(sums, axis=1)
        to_center = np.einsum("nd,nd->n", embeddings, sums) / np.where(lengths > 1e-6, lengths, np.inf)
        similarities = embeddings @ self.embeddings[faces].T
        similarities[belongs, np.searchsorted(faces, rows[belongs])] = -np.inf
        count = min(_NEIGHBORS, len(faces))
        nearest = -np.partition(-similarities, count - 1, axis=1)[:, :count]
        others = np.minimum(count, len(faces) - belongs)
        near = np.where(np.isfinite(nearest), nearest, 0).sum(axis=1) / np.maximum(others, 1)
        return np.asarray((to_center + near) / 2, np.float64)

    def nearest_others(self, rows: Rows, count: int) -> Rows:
        """Returns the people with the closest centers to each face, except its own, closest first.

        Args:
            rows: The faces. Shape: (M,).
            count: Number of people, at least 1; fewer are returned if there are fewer.

        Returns:
            Shape: (M, count).
        """
        count = min(count, len(self) - 1)
        found = np.empty((len(rows), count), np.int64)
        step = max(1, _AT_ONCE // len(self))
        for start in range(0, len(found), step):
            block = rows[start : start + step]
            similarities = self.embeddings[block] @ self.centers.T
            similarities[np.arange(len(block)), self.labels[block]] = -np.inf
            some = np.argpartition(-similarities, count - 1, axis=1)[:, :count]
            order = np.argsort(-np.take_along_axis(similarities, some, axis=1), axis=1, kind="stable")
            found[start : start + step] = np.take_along_axis(some, order, axis=1)
        return found


def find_core(embeddings: Vectors) -> Rows:
    """Finds the half of some faces that are closest to their own mean; see `PersonAlbums`.

    Args:
        embeddings: L2-normalized, or zeros; at least one. Shape: (N, D).

    Returns:
        The rows of the core in ascending order, half of all, rounded up.
    """
    count = -(-len(embeddings) // 2)
    # In a large album, every n-th face is tried as the start.
    starts = np.arange(0, len(embeddings), -(-len(embeddings) // _STARTS))
    similarities = embeddings[starts] @ embeddings.T
    halves = np.partition(similarities, len(embeddings) - count, axis=1)[:, len(embeddings) - count :]
    close = similarities[halves.mean(axis=1).argmax()]
    core = np.sort(np.argsort(-close, kind="stable")[:count])
    for _ in range(_ROUNDS):
        close = embeddings @ embeddings[core].sum(axis=0)
        before, core = core, np.sort(np.argsort(-close, kind="stable")[:count])
        if np.array_equal(before, core):
            break
    return core.astype(np.int64)
