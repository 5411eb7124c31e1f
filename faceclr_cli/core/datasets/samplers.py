"""Which pictures make which batch.

All of it is a pure function of the seed and the epoch: nothing has to be saved for a run to be resumed
in mid-epoch, and every process computes the same global batches and takes its share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError


def shuffled_batches(count: int, batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Batches that hold each picture at most once, in random order.

    An incomplete last batch is left out; other pictures fall into it in the next epoch. A set smaller than
    a batch gives one batch of all.

    Args:
        count: How many pictures there are.
        batch_size: Pictures in a batch, over all processes.
        seed: Of the run.
        epoch: Each has its own order.

    Returns:
        Indices of pictures. Shape of each: (batch_size,).

    Raises:
        DataError: There are fewer than two pictures.
    """
    if count < 2:
        raise DataError(f"{count} pictures are too few to train on: at least 2 are needed")
    order = _generator(seed, epoch).permutation(count).astype(np.int64)
    size = min(batch_size, count)
    return [order[start : start + size] for start in range(0, count - size + 1, size)]


def people_batches(
    labels: NDArray[np.int64], batch_size: int, pictures: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Batches of P people with K pictures each, P = batch_size // pictures, as the triplet loss needs them.

    Where there are fewer than P people, all of them are in every batch, which is smaller then.

    People are dealt like cards: all have their turn before one comes again, except for the few left
    over when fewer than P remain. So are the pictures of a person. People with fewer than K
    pictures give each of theirs before they give one a second time; people with a single picture
    have no positive and are left out, like pictures of nobody known (label -1). Each person is equally
    likely, however many pictures there are of them (FaceNet, arXiv 1503.03832, section 3.2, samples likewise).

    Args:
        labels: The person of each picture, -1 where nobody knows. Shape: (N,).
        batch_size: Pictures in a batch, over all processes.
        pictures: K.
        seed: Of the run.
        epoch: Each has its own batches, about as many as would show each picture once.

    Returns:
        Indices of pictures, those of a person side by side. Shape of each: (P * K,).

    Raises:
        DataError: There are fewer than two people with two pictures or more.
    """
    generator = _generator(seed, epoch)
    owned = _pictures_of_people(labels)
    if len(owned) < 2:
        raise DataError(f"{len(owned)} people have two or more pictures; triplets need at least 2 such people")
    people = max(2, min(batch_size // pictures, len(owned)))
    decks = [_Deck(own, generator) for own in owned]
    batches: list[NDArray[np.int64]] = []
    wanted = max(1, sum(map(len, owned)) // (people * pictures))
    while len(batches) < wanted:
        order = generator.permutation(len(owned))
        for start in range(0, len(order) - people + 1, people):
            dealt = [decks[person].deal(pictures) for person in order[start : start + people]]
            batches.append(np.concatenate(dealt))
    return batches[:wanted]


def share(batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
    """The part of a global batch that one process works on.

    Parts are contiguous, so people stay whole where P divides among the processes, and equally
    long: what does not divide is left out, which happens only where the whole set is smaller than a batch.

    Args:
        batch: Indices of pictures. Shape: (B,).
        rank: Of the process.
        world: How many processes there are.

    Returns:
        Shape: (B // world,).

    Raises:
        DataError: There are fewer pictures than processes.
    """
    size = len(batch) // world
    if size == 0:
        raise DataError(f"{len(batch)} pictures don't suffice for {world} processes")
    return batch[rank * size : (rank + 1) * size]


class _Deck:
    """The pictures of one person, dealt without repetition as long as possible."""

    def __init__(self, pictures: NDArray[np.int64], generator: np.random.Generator) -> None:
        self._pictures = pictures
        self._generator = generator
        self._left = pictures[:0]

    def deal(self, count: int) -> NDArray[np.int64]:
        if len(self._left) < count:
            # What is left is not dealt: a picture from it could come twice in this hand.
            shuffled = self._generator.permutation(self._pictures)
            self._left = np.resize(shuffled, max(count, len(shuffled)))
        hand, self._left = self._left[:count], self._left[count:]
        return hand


def _pictures_of_people(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    order = np.argsort(labels, kind="stable").astype(np.int64)
    order = order[np.searchsorted(labels[order], 0) :]
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [group for group in groups if len(group) > 1]


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])
