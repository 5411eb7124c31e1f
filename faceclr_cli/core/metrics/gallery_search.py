"""Exact search for the most similar people of a gallery."""

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
"""Maximum number of similarities in memory: 256 MiB."""
_FEW_PROBES = 4
"""For more probes at once, one matrix product is faster than searching the quantized copy for each probe."""
_FEWEST, _EACH = 128, 4
"""Candidates whose similarity is computed exactly: the minimum, and the number for each requested person.
More are needed if people have very many pictures, and then the search takes longer."""
_MORE = 16
"""Factor by which the number of candidates grows."""
_GROUP = 64

_MOST_PRODUCTS = 1 << 27
"""Maximum number of similarities in `PeopleIndex.similarities_to_others`: about a second of work."""


@dataclass(frozen=True)
class Matches:
    """The most similar people of each probe, most similar first.

    Attributes:
        people: Indices of the people. Shape: (probes, k).
        similarities: Cosine similarity to the most similar picture of each person. Shape: (probes, k).
        rows: Gallery row of that picture. Shape: (probes, k).
    """

    people: NDArray[np.int64]
    similarities: NDArray[np.float32]
    rows: NDArray[np.int64]


class PeopleIndex:
    """Index of a gallery. The similarity to a person is that to the person's most similar picture.

    Similarities are summed in float64 and rounded to float32, so that equal pictures have equal similarities, and
    results do not depend on how candidates were found.

    Args:
        embeddings: L2-normalized. Shape: (N, D).
        people: Index of each row's person; all indices from 0 occur. Shape: (N,).

    Raises:
        ValueError: The shapes do not match, there are no rows, or an index is missing.

    Examples:
        >>> gallery = PeopleIndex([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], people=[0, 1, 1])
        >>> found = gallery.search([[0.0, 1.0]], count=2)
        >>> found.people, found.rows
        (array([[1, 0]]), array([[1, 0]]))
    """

    def __init__(self, embeddings: ArrayLike, people: ArrayLike) -> None:
        rows, numbers = np.asarray(embeddings, np.float32), np.asarray(people, np.int64)
        if rows.ndim != 2 or numbers.shape != rows.shape[:1] or not len(rows):
            raise ValueError(f"embeddings of shape {rows.shape} and people of shape {numbers.shape} do not match")
        # Sorted by person, so that the maximum over each person's pictures is one pass.
        self._order = np.argsort(numbers, kind="stable")
        self._rows = np.ascontiguousarray(rows[self._order])
        self._people = numbers[self._order]
        if self._people[0] != 0 or (np.diff(self._people) > 1).any():
            raise ValueError("people must be numbered from 0 without gaps")

    def __len__(self) -> int:
        """Number of people."""
        return int(self._people[-1]) + 1

    @cached_property
    def _copy(self) -> CoarseCopy | None:
        return CoarseCopy(self._rows) if is_worth_quantizing(len(self._rows)) else None

    def search(self, probes: ArrayLike, count: int) -> Matches:
        """Finds the most similar people of each probe.

        Args:
            probes: L2-normalized. Shape: (probes, D).
            count: Maximum number of people. Ties are resolved in favor of lower indices.

        Raises:
            ValueError: The probes have another dimension than the gallery.
        """
        wanted = np.asarray(probes, np.float32)
        if wanted.ndim != 2 or wanted.shape[1] != self._rows.shape[1]:
            raise ValueError(f"probes of shape {wanted.shape} do not match a gallery of shape {self._rows.shape}")
        count = min(count, len(self))
        shape = (len(wanted), count)
        found = Matches(np.empty(shape, np.int64), np.empty(shape, np.float32), np.empty(shape, np.int64))
        step = max(1, _AT_ONCE // len(self._rows))
        for start in range(0, len(wanted), step):
            for place, answer in enumerate(self._nearest(wanted[start : start + step], count), start=start):
                found.people[place], found.similarities[place], found.rows[place] = answer
        return found

    def similarities_to_others(self, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Computes the similarity of each picture to the most similar picture of another person.

        For large galleries, only a sample of pictures, balanced over people, is compared with all others.

        Args:
            seed: Seed of the sample.

        Returns:
            The similarity of each picture and the index of its person; empty for a single person. Shape: (pictures,).
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
        """Returns a sorted sample of rows that takes one picture of each person, then a second one, and so on."""
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
        """Searches the quantized copy. Returns None if its candidates may miss a result."""
        if self._copy is None:
            return None
        rows, others = self._copy.nearest(probe, min(len(self._rows), max(2 * _FEWEST, _EACH * count)))
        return self._rank_exactly(probe, rows, others, count)

    def _by_product(self, probe: NDArray[np.float32], scores: NDArray[np.float32], count: int) -> _Answer:
        """Searches the float32 similarities to all rows."""
        close = max(_FEWEST, _EACH * count)
        # Upper bound of the rounding error of float32 sums.
        slack = len(probe) * float(np.finfo(np.float32).eps) * max(1.0, float(np.linalg.norm(probe)))
        while close < len(scores):
            least = _rough_cutoff(scores, close)
            answer = self._rank_exactly(probe, np.flatnonzero(scores >= least), least + slack, count)
            if answer is not None:
                return answer
            close *= _MORE
        answer = self._rank_exactly(probe, np.arange(len(scores)), -np.inf, count)
        if answer is None:
            raise ValueError("a similarity is NaN")
        return answer

    def _rank_exactly(
        self, probe: NDArray[np.float32], rows: NDArray[np.int64], others: float, count: int
    ) -> _Answer | None:
        """Ranks the people of candidate rows, or returns None if another row could rank before the last of them.

        Args:
            probe: Shape: (D,).
            rows: Candidates, as sorted positions in `_rows`.
            others: Upper bound of the similarity of all other rows.
            count: Number of people.
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


def _rough_cutoff(scores: NDArray[np.float32], count: int) -> float:
    """Returns a value that at least `count` scores reach, but rarely many more."""
    groups = len(scores) // _GROUP
    if groups < 2 * count:
        return float(np.partition(scores, -count)[-count])
    # The maxima of groups are scores too: one pass, and few values to sort.
    highest = scores[: groups * _GROUP].reshape(groups, _GROUP).max(axis=1)
    return float(np.partition(highest, -count)[-count])


Vectors = NDArray[np.float32]

_LEAST_ROWS = 50_000
"""With fewer rows, a matrix product is as fast as the quantized copy."""
_FINEST = 127
_ROWS_AT_ONCE = 1 << 16


def is_worth_quantizing(rows: int) -> bool:
    """Returns True if a quantized copy speeds up the search of this many rows, and FAISS is installed."""
    return rows >= _LEAST_ROWS and find_spec("faiss") is not None


class CoarseCopy:
    """A copy of the gallery quantized to 8 bits, with a bound on the quantization error.

    Args:
        rows: L2-normalized, or zeros. Shape: (N, D).
    """

    def __init__(self, rows: Vectors) -> None:
        self._faiss: Any = import_module("faiss")
        self._step = _step(rows)
        self._rounding = 0.0
        # FAISS searches a single probe in one thread, so each thread gets a shard of the rows.
        self._index = self._faiss.IndexShards(rows.shape[1], True, True)
        self._parts = []  # The index does not keep its shards alive.
        for part in np.array_split(rows, max(1, self._faiss.omp_get_max_threads())):
            self._parts.append(self._quantize(part))
            self._index.add_shard(self._parts[-1])

    def _quantize(self, rows: Vectors) -> Any:
        faiss = self._faiss
        kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
        stored = faiss.IndexScalarQuantizer(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            block = rows[start : start + _ROWS_AT_ONCE]
            whole = np.rint(block / self._step)
            lost = np.linalg.norm(block - whole * self._step, axis=1)
            self._rounding = max(self._rounding, float(lost.max(initial=0)))
            stored.add(whole)
        return stored

    def nearest(self, probe: Vectors, count: int) -> tuple[NDArray[np.int64], float]:
        """Finds the approximately most similar rows of a probe.

        Args:
            probe: L2-normalized. Shape: (D,).
            count: Number of rows.

        Returns:
            The rows in ascending order, and an upper bound of the similarity of all other rows.
        """
        step = _step(probe)
        whole = np.rint(probe / step)
        products, rows = self._index.search(whole[None], count)
        # The Cauchy-Schwarz inequality bounds the error from quantizing the rows and the probe.
        lost = float(np.linalg.norm(probe)) * self._rounding
        lost += float(np.linalg.norm(probe - whole * step)) * (1 + self._rounding)
        return np.sort(rows[0].astype(np.int64)), float(products[0, -1]) * step * self._step + lost


def _step(values: Vectors) -> float:
    return max(float(values.max(initial=0)), -float(values.min(initial=0)), 1e-30) / _FINEST
