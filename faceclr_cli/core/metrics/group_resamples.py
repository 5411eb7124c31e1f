"""Resamples of people: sums over pairs with the weights of a bootstrap, in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Sums = NDArray[np.float64]

_AT_ONCE = 1 << 12
"""Number of people or pairs of people whose weights are in memory as floats."""


class PeopleResamples:
    """A bootstrap over people.

    Each person has the number of its draws as weight, and an impostor pair the product of the weights of its two
    people. One byte for each person and resample is kept.

    Args:
        people: Number of people.
        rounds: Number of resamples.
        seed: Seed of the resamples.
    """

    def __init__(self, people: int, rounds: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.rounds = rounds
        self._people = people
        self._draws = np.empty((people, rounds), np.uint8)
        for number in range(rounds):
            times = np.bincount(generator.integers(0, people, people), minlength=people)
            self._draws[:, number] = np.minimum(times, 255)

    def sums(self, values: Counts) -> Sums:
        """Sums values of people.

        Args:
            values: Shape: (people, columns).

        Returns:
            Shape: (columns, rounds).
        """
        return self._weighted(values, 1)

    def sums_of_squares(self, values: Counts) -> Sums:
        """Sums values of people, weighted by the square of their draws; see `sums`."""
        return self._weighted(values, 2)

    def add_pairs(self, codes: Counts, times: Counts, totals: Sums) -> None:
        """Adds the weights of pairs of people to the totals of their cells.

        Args:
            codes: Cell and people of each pair; see `encode`. Sorted. Shape: (pairs of people,).
            times: Number of pairs of pictures of each. Shape: (pairs of people,).
            totals: Changed in place. Shape: (cells, rounds).
        """
        for start in range(0, len(codes), _AT_ONCE):
            part = codes[start : start + _AT_ONCE]
            cells, first, second = part // self._people**2, part // self._people % self._people, part % self._people
            weights = self._draws[first].astype(np.float64) * self._draws[second]
            starts = np.flatnonzero(np.append(True, cells[1:] != cells[:-1]))
            for low, high in zip(starts, np.append(starts[1:], len(part)), strict=True):
                totals[cells[low]] += times[start + low : start + high] @ weights[low:high]

    def encode(self, cells: Counts, first: Counts, second: Counts) -> Counts:
        """Returns one number for the cell and the two people of each pair, regardless of their order."""
        low, high = np.minimum(first, second), np.maximum(first, second)
        return np.asarray((cells * self._people + low) * self._people + high, np.int64)

    def _weighted(self, values: Counts, power: int) -> Sums:
        total = np.zeros((values.shape[1], self.rounds))
        for start in range(0, len(values), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            total += values[part].T.astype(np.float64) @ self._draws[part].astype(np.float64) ** power
        return total
