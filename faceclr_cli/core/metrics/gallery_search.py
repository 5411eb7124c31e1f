"""The people of a gallery who are most like a face: exact, in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_AT_ONCE = 1 << 26
"""Similarities that are held at a time: 256 MiB."""
_FEW_PROBES = 4
"""Of more probes at once, their product with the gallery is faster than looking for each in a copy of it."""
_FEWEST, _EACH = 128, 4
"""Rows that are looked at closely: at least so many, and so many for each person wanted. Twice that is not enough where
people have very many pictures, and then it takes longer."""
_MORE = 16
_GROUP = 64


_MOST_PRODUCTS = 1 << 27
"""Of pictures that are compared with the whole gallery: a second's work."""


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

    Similarities are summed up in 64 bits and rounded to 32, so that equal pictures are equally similar wherever they
    lie, and the answer does not depend on how the candidates were found.

    Args:
        embeddings: L2-normalized. Shape: (N, D).
        people: The person of each, as a number from 0, each number at least once. Shape: (N,).

    Raises:
        ValueError: The shapes don't go together, there are no rows, or a number is missing.

    Examples:
        >>> gallery = PeopleIndex([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], people=[0, 1, 1])
        >>> found = gallery.search([[0.0, 1.0]], count=2)
        >>> found.people, found.rows
        (array([[1, 0]]), array([[1, 0]]))
    """

    def __init__(self, embeddings: ArrayLike, people: ArrayLike) -> None:
        rows, numbers = np.asarray(embeddings, np.float32), np.asarray(people, np.int64)
        if rows.ndim != 2 or numbers.shape != rows.shape[:1] or not len(rows):
            raise ValueError(f"rows of {rows.shape} and people of {numbers.shape} don't make a gallery")
        # One person's pictures lie together, so that a maximum over them is one pass.
        self._order = np.argsort(numbers, kind="stable")
        self._rows = np.ascontiguousarray(rows[self._order])
        self._people = numbers[self._order]
        if self._people[0] != 0 or (np.diff(self._people) > 1).any():
            raise ValueError("people are numbered from 0, without gaps")

    def __len__(self) -> int:
        """How many people there are."""
        return int(self._people[-1]) + 1

    @cached_property
    def _copy(self) -> CoarseCopy | None:
        return CoarseCopy(self._rows) if worth_quantizing(len(self._rows)) else None

    def search(self, probes: ArrayLike, count: int) -> Matches:
        """Finds the people who are most like each probe.

        Args:
            probes: L2-normalized. Shape: (probes, D).
            count: How many to find, at most; all people, if there are fewer. Of equally similar ones the first.

        Raises:
            ValueError: The probes have another length.
        """
        wanted = np.asarray(probes, np.float32)
        if wanted.ndim != 2 or wanted.shape[1] != self._rows.shape[1]:
            raise ValueError(f"probes of {wanted.shape} don't fit a gallery of {self._rows.shape}")
        count = min(count, len(self))
        shape = (len(wanted), count)
        found = Matches(np.empty(shape, np.int64), np.empty(shape, np.float32), np.empty(shape, np.int64))
        step = max(1, _AT_ONCE // len(self._rows))
        for start in range(0, len(wanted), step):
            for place, answer in enumerate(self._nearest(wanted[start : start + step], count), start=start):
                found.people[place], found.similarities[place], found.rows[place] = answer
        return found

    def similarities_to_others(self, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """How similar pictures are to the most similar picture of another person.

        Of a large gallery a sample of pictures, as evenly from all people as there are pictures, is compared with all.

        Args:
            seed: Draws the sample.

        Returns:
            The similarity of each picture and the person it shows, empty with a single person. Shape: (pictures,).
        """
        rows = self._sample(max(1, _MOST_PRODUCTS // len(self._rows)), seed) if len(self) > 1 else np.empty(0, np.int64)
        starts = np.append(np.flatnonzero(np.diff(self._people, prepend=-1)), len(self._people))
        closest, step = np.empty(len(rows), np.float32), max(1, _AT_ONCE // len(self._rows))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            scores = self._rows[block] @ self._rows.T
            for products, person in zip(scores, self._people[block], strict=True):
                products[starts[person] : starts[person + 1]] = -np.inf
            closest[start : start + step] = np.clip(scores.max(axis=1), -1, 1)
        return closest, self._people[rows]

    def _sample(self, count: int, seed: int) -> NDArray[np.int64]:
        """Rows, ascending: the first picture of each person in a random order, then the second, and so on."""
        if count >= len(self._rows):
            return np.arange(len(self._rows))
        shuffled = np.random.default_rng(seed).permutation(len(self._rows))
        by_person = shuffled[np.argsort(self._people[shuffled], kind="stable")]
        starts = np.flatnonzero(np.diff(self._people, prepend=-1))
        turn = np.empty(len(self._rows), np.int64)
        turn[by_person] = np.arange(len(self._rows)) - starts[self._people]
        return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")][:count])

    def _nearest(self, probes: NDArray[np.float32], count: int) -> Iterator[_Answer]:
        answers = [self._by_copy(probe, count) if len(probes) <= _FEW_PROBES else None for probe in probes]
        left = [place for place, answer in enumerate(answers) if answer is None]
        scores = probes[left] @ self._rows.T if left else None
        for place, answer in enumerate(answers):
            if answer is None and scores is not None:
                answer = self._by_product(probes[place], scores[left.index(place)], count)
            if answer is not None:
                yield answer

    def _by_copy(self, probe: NDArray[np.float32], count: int) -> _Answer | None:
        """The answer, if the rows that a copy holds for the nearest are sure to have it."""
        if self._copy is None:
            return None
        rows, others = self._copy.nearest(probe, min(len(self._rows), max(2 * _FEWEST, _EACH * count)))
        return self._settled(probe, rows, others, count)

    def _by_product(self, probe: NDArray[np.float32], scores: NDArray[np.float32], count: int) -> _Answer:
        """The answer, from 32-bit products with all rows."""
        close = max(_FEWEST, _EACH * count)
        # What summing in 32 bits can be off by.
        slack = len(probe) * float(np.finfo(np.float32).eps) * max(1.0, float(np.linalg.norm(probe)))
        while close < len(scores):
            least = _about(scores, close)
            answer = self._settled(probe, np.flatnonzero(scores >= least), least + slack, count)
            if answer is not None:
                return answer
            close *= _MORE
        answer = self._settled(probe, np.arange(len(scores)), -np.inf, count)
        if answer is None:
            raise ValueError("a similarity is no number")
        return answer

    def _settled(
        self, probe: NDArray[np.float32], rows: NDArray[np.int64], others: float, count: int
    ) -> _Answer | None:
        """The people of some rows, most similar first; or None where another row could come before the last of them.

        Args:
            probe: Shape: (D,).
            rows: Rows by their place here, rising.
            others: No other row is more similar.
            count: How many people.
        """
        exact = np.einsum("nd,d->n", self._rows[rows], probe, dtype=np.float64)
        scores = np.clip(exact, -1, 1).astype(np.float32)
        people = self._people[rows]
        starts = np.flatnonzero(np.diff(people, prepend=-1))
        best = np.maximum.reduceat(scores, starts)
        first = np.lexsort((people[starts], -best))[:count]
        if len(first) < count or not best[first[-1]] > others:
            return None
        ends = np.append(starts[1:], len(rows))
        pictures = [
            start + int(np.argmax(scores[start : ends[who]])) for who, start in zip(first, starts[first], strict=True)
        ]
        return people[starts][first], best[first], self._order[rows[pictures]]


_Answer = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def _about(scores: NDArray[np.float32], count: int) -> float:
    """A value that at least `count` of the scores reach, and seldom many more."""
    groups = len(scores) // _GROUP
    if groups < 2 * count:
        return float(np.partition(scores, -count)[-count])
    # The largest of each group, of which each is a score: one pass, and little to sort.
    highest = scores[: groups * _GROUP].reshape(groups, _GROUP).max(axis=1)
    return float(np.partition(highest, -count)[-count])


Vectors = NDArray[np.float32]

_LEAST_ROWS = 50_000
"""Of fewer rows, the product alone is as quick."""
_FINEST = 127
_AT_ONCE = 1 << 16


def worth_quantizing(rows: int) -> bool:
    """Whether a gallery of so many rows is searched faster with a copy, and FAISS is here to do so."""
    return rows >= _LEAST_ROWS and find_spec("faiss") is not None


class CoarseCopy:
    """Rows rounded to whole steps. What it finds is near the truth, and it says how near.

    Args:
        rows: L2-normalized, or zeros. Shape: (N, D).
    """

    def __init__(self, rows: Vectors) -> None:
        self._faiss: Any = import_module("faiss")
        self._step = _step(rows)
        self._rounding = 0.0
        # For a single probe FAISS has work for one thread only; so each thread gets a part of the rows.
        self._index = self._faiss.IndexShards(rows.shape[1], True, True)
        self._parts = []  # The shards are only referred to, not kept, by the index.
        for part in np.array_split(rows, max(1, self._faiss.omp_get_max_threads())):
            self._parts.append(self._stored(part))
            self._index.add_shard(self._parts[-1])

    def _stored(self, rows: Vectors) -> Any:
        faiss = self._faiss
        kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
        stored = faiss.IndexScalarQuantizer(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        for start in range(0, len(rows), _AT_ONCE):
            block = rows[start : start + _AT_ONCE]
            whole = np.rint(block / self._step)
            lost = np.linalg.norm(block - whole * self._step, axis=1)
            self._rounding = max(self._rounding, float(lost.max(initial=0)))
            stored.add(whole)
        return stored

    def nearest(self, probe: Vectors, count: int) -> tuple[NDArray[np.int64], float]:
        """The rows that are most like a probe, roughly.

        Args:
            probe: L2-normalized. Shape: (D,).
            count: How many.

        Returns:
            The rows, rising, and a similarity above which no other row is.
        """
        step = _step(probe)
        whole = np.rint(probe / step)
        products, rows = self._index.search(whole[None], count)
        # By the inequality of Cauchy and Schwarz, for what rounding took from the rows and from the probe.
        lost = float(np.linalg.norm(probe)) * self._rounding
        lost += float(np.linalg.norm(probe - whole * step)) * (1 + self._rounding)
        return np.sort(rows[0].astype(np.int64)), float(products[0, -1]) * step * self._step + lost


def _step(values: Vectors) -> float:
    """What one whole number stands for."""
    return max(float(values.max(initial=0)), -float(values.min(initial=0)), 1e-30) / _FINEST
