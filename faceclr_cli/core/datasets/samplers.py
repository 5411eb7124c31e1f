"""Which pictures make which batch.

All of it is a pure function of the seed and the epoch: nothing has to be saved for a run to be resumed
in mid-epoch, and every process computes the same global batches and takes its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.errors import ConfigError, DataError


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


def weighted_batches(
    sources: NDArray[np.int64], weights: Sequence[float], batch_size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Batches that hold the pictures of several folders in given proportions, whatever the folders' sizes.

    An epoch has as many pictures as all folders together, less an incomplete last batch. Every batch has the
    proportions as nearly as whole pictures allow. Each picture of a folder has its turn before one comes
    again, across epochs too, and none is in a batch twice. A set no larger than a batch gives one batch of all.

    Args:
        sources: The folder of each picture, counted from 0. Shape: (N,).
        weights: Of each folder, above zero; twice the weight, twice the pictures.
        batch_size: Pictures in a batch, over all processes.
        seed: Of the run.
        epoch: Each has its own batches.

    Returns:
        Indices of pictures in random order. Shape of each: (batch_size,).

    Raises:
        ConfigError: A folder has no weight, or one that is not above zero; or its share of a batch is none, or more
            than half of its pictures.
        DataError: There are fewer than two pictures.
    """
    sizes = np.bincount(sources, minlength=len(weights))
    if len(sizes) != len(weights) or not all(weight > 0 for weight in weights):
        raise ConfigError(f"{len(sizes)} folders need a weight above zero each, not {list(weights)}")
    if len(sources) <= batch_size:
        return shuffled_batches(len(sources), batch_size, seed=seed, epoch=epoch)
    count = len(sources) // batch_size
    quotas = apportion(count * batch_size, weights)
    # Each folder's pictures spread evenly over the epoch, from 0 to 1, and then cut into batches.
    when = np.concatenate([(np.arange(quota) + 0.5) / quota for quota in quotas if quota])
    slots = np.argsort(when, kind="stable").reshape(count, batch_size)
    folders = np.repeat(np.arange(len(quotas)), quotas)[slots]
    dealt = []
    for folder, (size, quota) in enumerate(zip(sizes.tolist(), quotas.tolist(), strict=True)):
        most = int((folders == folder).sum(axis=1).max())
        _check_share(folder, size, most)
        turns = _turns(size, epoch * quota, quota, apart=most, seed=seed, folder=folder)
        dealt.append(np.flatnonzero(sources == folder)[turns])
    # Shuffled, since the parts of a batch that processes work on are not to be of one folder alone.
    batches = _generator(seed, epoch).permuted(np.concatenate(dealt)[slots], axis=1)
    return list(batches)


def apportion(total: int, weights: ArrayLike) -> NDArray[np.int64]:
    """Whole numbers in the proportion of the weights, each at most one off, that add up to `total`."""
    reached = np.cumsum(np.asarray(weights, dtype=np.float64))
    counts: NDArray[np.int64] = np.diff(np.rint(reached / reached[-1] * total).astype(np.int64), prepend=0)
    return counts


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


def process_share(batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
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


def share_triplets(batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
    """The part of a global batch of triplets that one process works on.

    Parts are contiguous and hold whole triplets, all of them: one process may have a triplet more than another. So what
    a batch holds does not depend on how many processes there are.

    Args:
        batch: Indices of pictures: anchor, positive, negative, anchor, ... Shape: (3 T,).
        rank: Of the process.
        world: How many processes there are.

    Returns:
        Shape: (3 t,), where t is T / world, rounded down or up.

    Raises:
        DataError: There are fewer triplets than processes.
    """
    count = len(batch) // 3
    if count < world:
        raise DataError(f"{count} triplets don't suffice for {world} processes")
    return batch[3 * (rank * count // world) : 3 * ((rank + 1) * count // world)]


def _check_share(folder: int, size: int, most: int) -> None:
    if most == 0:
        raise ConfigError(f"folder {folder + 1} would give no picture in a whole epoch: raise its weight")
    if most > size // 2:
        raise ConfigError(
            f"folder {folder + 1} would give {most} of its {size} pictures to one batch, and half of them is the most: "
            "lower its weight or --batch-size"
        )


def _turns(size: int, start: int, count: int, *, apart: int, seed: int, folder: int) -> NDArray[np.int64]:
    """A stretch of a folder's endless sequence of permutations, in which any `apart` pictures in a row differ.

    Across the seam of two permutations they do because those pictures that end the first and begin the second
    begin it in the order in which they ended the first, behind the others of its beginning.
    """

    def shuffled(number: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, folder, number, 1]).permutation(size)

    first, last = start // size, (start + count - 1) // size
    orders = [shuffled(number) for number in range(max(0, first - 1), last + 1)]
    # The ends stay as they are (apart is at most half), so no permutation depends on those before the last one.
    for before, order in pairwise(orders):
        end, begin = before[-apart:], order[:apart]
        order[:apart] = np.concatenate([begin[~np.isin(begin, end)], end[np.isin(end, begin)]])
    turns = np.concatenate(orders[-(last - first + 1) :])
    return turns[start - first * size :][:count]


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
