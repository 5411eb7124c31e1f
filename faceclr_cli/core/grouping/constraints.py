"""Prior knowledge about faces before they are grouped: must-links and cannot-links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from faceclr_cli.core.grouping.neighbor_graph import symmetric_matrix

Labels = NDArray[np.int64]

UNKNOWN = -1
"""The label of a face without constraints."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Constraints:
    """Must-links and cannot-links of faces.

    A must-link takes precedence over a cannot-link, and over the rule that a person is in a photograph only once.

    Attributes:
        people: Faces with the same label are one person, faces with different labels are different people; `UNKNOWN`
            for all others. Shape: (faces,).
        together: Faces with the same label belong together, as with `people`, but groups with different labels may
            still be joined. Shape: (faces,).
        tracks: Faces with the same label belong to one track of a film, and stay together like those of `together`;
            nothing else is known about the person. Shape: (faces,).
        apart: Pairs of faces of different people. Shape: (pairs, 2).
    """

    people: Labels
    together: Labels
    tracks: Labels
    apart: Labels

    @classmethod
    def none(cls, faces: int) -> Self:
        """Returns constraints that constrain nothing."""
        unknown = np.full(faces, UNKNOWN, np.int64)
        return cls(people=unknown, together=unknown, tracks=unknown, apart=np.empty((0, 2), np.int64))

    @property
    def is_empty(self) -> bool:
        """True if nothing is known."""
        labels = (self.people, self.together, self.tracks)
        return not len(self.apart) and all((each == UNKNOWN).all() for each in labels)

    def blocks(self) -> Labels:
        """Returns the block of each face, from 0. Faces that must-links connect share a block. Shape: (faces,)."""
        faces = np.arange(len(self.people))
        first = faces.copy()
        sources, targets = [], []
        for labels in (self.people, self.together, self.tracks):
            known = np.flatnonzero(labels != UNKNOWN)
            _, starts, places = np.unique(labels[known], return_index=True, return_inverse=True)
            sources.append(known)
            targets.append(first[known[starts]][places])
        edges = np.concatenate(sources), np.concatenate(targets)
        graph = coo_matrix((np.ones(len(edges[0]), bool), edges), shape=(len(faces), len(faces)))
        return np.asarray(connected_components(graph, directed=False)[1], np.int64)

    def take(self, faces: Labels) -> Self:
        """Returns the constraints between the faces with the given indices, in their order. Shape: (chosen,)."""
        place = np.full(len(self.people), UNKNOWN, np.int64)
        place[faces] = np.arange(len(faces))
        apart = place[self.apart]
        return type(self)(
            people=self.people[faces],
            together=self.together[faces],
            tracks=self.tracks[faces],
            apart=apart[(apart != UNKNOWN).all(axis=1)].reshape(-1, 2),
        )

    def separation(self, blocks: Labels, photographs: Labels) -> Separation:
        """Returns which blocks may not be joined.

        Args:
            blocks: The block of each face, from 0. Shape: (faces,).
            photographs: Index of the photograph of each face. Shape: (faces,).
        """
        count = int(blocks.max(initial=-1)) + 1
        photo = np.unique(photographs, return_inverse=True)[1]
        # Only photographs with several faces separate blocks.
        several = np.flatnonzero(np.bincount(photo, minlength=1)[photo] > 1)
        shows = coo_matrix(
            (np.ones(len(several), bool), (blocks[several], photo[several])),
            shape=(count, int(photo.max(initial=-1)) + 1),
        ).tocsr()
        shared = (shows @ shows.T).tocoo()
        left = np.concatenate([shared.row, *blocks[self.apart].T])
        right = np.concatenate([shared.col, *blocks[self.apart].T[::-1]])
        different = left != right
        pairs = symmetric_matrix(left[different], right[different], count)
        people = np.full(count, UNKNOWN, np.int64)
        known = self.people != UNKNOWN
        people[blocks[known]] = self.people[known]
        return Separation(pairs=pairs, people=people)


@dataclass(frozen=True, kw_only=True, eq=False)
class Separation:
    """The pairs of blocks that may not be joined.

    Attributes:
        pairs: Blocks that show one photograph or that a cannot-link separates. Symmetric, False on its diagonal.
            Shape: (blocks, blocks).
        people: Blocks with different labels are different people; `UNKNOWN` for all others. Shape: (blocks,).
    """

    pairs: csr_matrix
    people: Labels

    @property
    def is_empty(self) -> bool:
        """True if all blocks may be joined."""
        return not self.pairs.nnz and len(np.unique(self.people[self.people != UNKNOWN])) < 2

    def between(self, part: slice) -> Self:
        """Returns the separation of consecutive blocks."""
        return type(self)(pairs=self.pairs[part, part], people=self.people[part])

    def to_matrix(self) -> NDArray[np.bool_]:
        """Returns a symmetric matrix, False on its diagonal. Shape: (blocks, blocks)."""
        matrix: NDArray[np.bool_] = self.pairs.toarray()
        named = np.flatnonzero(self.people != UNKNOWN)
        matrix[np.ix_(named, named)] |= self.people[named][:, None] != self.people[named][None, :]
        return matrix
