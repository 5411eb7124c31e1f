"""The people of a gallery who are most like a face: exact, in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_AT_ONCE = 1 << 24
"""Similarities that are held at a time."""


@dataclass(frozen=True)
class Matches:
    """The most similar people of some probes, from the first on.

    Attributes:
        people: Numbers of people. Shape: (probes, k).
        similarities: The cosine to the most similar picture of each. Shape: (probes, k).
        rows: That picture, as a row of the gallery. Shape: (probes, k).
    """

    people: NDArray[np.int64]
    similarities: NDArray[np.float32]
    rows: NDArray[np.int64]


class PeopleIndex:
    """Pictures of people, to find those of a probe among. A person is as similar as the most similar of their pictures.

    Args:
        embeddings: L2-normalised. Shape: (N, D).
        people: The person of each, as a number from 0, each number at least once. Shape: (N,).

    Raises:
        ValueError: The shapes don't go together, there are no rows, or a number is missing.
    """

    def __init__(self, embeddings: ArrayLike, people: ArrayLike) -> None:
        rows, numbers = np.asarray(embeddings, np.float32), np.asarray(people, np.int64)
        if rows.ndim != 2 or numbers.shape != rows.shape[:1] or not len(rows):
            raise ValueError(f"rows of {rows.shape} and people of {numbers.shape} don't make a gallery")
        # One person's pictures lie together, so that a maximum over them is one pass.
        self._order = np.argsort(numbers, kind="stable")
        self._rows = np.ascontiguousarray(rows[self._order])
        found, self._starts = np.unique(numbers[self._order], return_index=True)
        if not np.array_equal(found, np.arange(len(found))):
            raise ValueError("people are numbered from 0, without gaps")

    def __len__(self) -> int:
        """How many people there are."""
        return len(self._starts)

    def search(self, probes: ArrayLike, count: int) -> Matches:
        """Finds the people who are most like each probe.

        Args:
            probes: L2-normalised. Shape: (probes, D).
            count: How many to find, at most; all people, if there are fewer. Of equally similar ones the first.

        Raises:
            ValueError: The probes have another length.
        """
        wanted = np.asarray(probes, np.float32)
        if wanted.ndim != 2 or wanted.shape[1] != self._rows.shape[1]:
            raise ValueError(f"probes of {wanted.shape} don't fit a gallery of {self._rows.shape}")
        step = max(1, _AT_ONCE // len(self._rows))
        found = [
            self._nearest(wanted[start : start + step], min(count, len(self))) for start in range(0, len(wanted), step)
        ]
        if not found:
            shape = (0, min(count, len(self)))
            return Matches(np.empty(shape, np.int64), np.empty(shape, np.float32), np.empty(shape, np.int64))
        people, similarities, rows = (np.concatenate(column) for column in zip(*found, strict=True))
        return Matches(people, similarities, rows)

    def _nearest(
        self, probes: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        scores = np.clip(probes @ self._rows.T, -1, 1)
        best = np.maximum.reduceat(scores, self._starts, axis=1)
        # Sorted whole only where that is less work than to find the largest first.
        people = np.argsort(-best, axis=1, kind="stable")[:, :count] if len(self) <= 1000 else _largest(best, count)
        ends = np.append(self._starts[1:], len(self._rows))
        rows = np.empty_like(people)
        for probe, found in enumerate(people):
            for place, person in enumerate(found):
                start = self._starts[person]
                rows[probe, place] = self._order[start + int(np.argmax(scores[probe, start : ends[person]]))]
        return people, np.take_along_axis(best, people, axis=1), rows


def _largest(best: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The places of the largest of each row, falling; of equal ones the first."""
    # All that are at least the last of the largest, so that ties are broken by their places.
    least = -np.partition(-best, count - 1, axis=1)[:, count - 1]
    found = np.empty((len(best), count), np.int64)
    for row, (values, last) in enumerate(zip(best, least, strict=True)):
        places = np.flatnonzero(values >= last)
        found[row] = places[np.argsort(-values[places], kind="stable")[:count]]
    return found
