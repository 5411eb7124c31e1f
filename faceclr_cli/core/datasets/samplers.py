"""Batch samplers.

All samplers are pure functions of the seed and the epoch. Therefore a run can be resumed in mid-epoch without saved
state, and every process computes the same global batches and takes its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.errors import ConfigError, DataError


def shuffled_batches(count: int, batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Returns batches in random order that contain each picture at most once.

    An incomplete last batch is dropped; it contains other pictures in each epoch. A set smaller than a batch gives one
    batch with all pictures.

    Args:
        count: Number of pictures.
        batch_size: Pictures per batch, over all processes.
        seed: Seed of the run.
        epoch: Epoch; each epoch has another order.

    Returns:
        Indices of pictures. Shape of each: (batch_size,).

    Raises:
        DataError: There are fewer than two pictures.
    """
    if count < 2:
        raise DataError(f"training needs at least 2 pictures, not {count}")
    order = _generator(seed, epoch).permutation(count).astype(np.int64)
    size = min(batch_size, count)
    return [order[start : start + size] for start in range(0, count - size + 1, size)]


def paired_batches(groups: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Returns batches like `shuffled_batches`, in which pictures of a group come in pairs.

    The pictures of each group are paired at random, differently in each epoch; a group of odd size has one picture
    without a partner. Pairs and single pictures are in random order. A pair is divided only where a batch ends between
    its two pictures.

    Args:
        groups: The group of each picture, below 0 for none. Shape: (N,).
        batch_size: Pictures per batch, over all processes.
        seed: Seed of the run.
        epoch: Epoch; each epoch has another order.

    Returns:
        Indices of pictures. Shape of each: (batch_size,).

    Raises:
        DataError: There are fewer than two pictures.
    """
    batches = shuffled_batches(len(groups), batch_size, seed=seed, epoch=epoch)
    generator = _generator(seed, epoch)
    order = generator.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    own = groups[order]
    begins = np.searchsorted(own, own, side="left")
    # Two neighbors in this order are a pair if they have one group and an even place in it.
    place = np.where(own >= 0, (np.arange(len(own)) - begins) // 2, np.arange(len(own)))
    starts = np.append(True, (own[1:] != own[:-1]) | (place[1:] != place[:-1]))
    keys = generator.permutation(int(starts.sum()))[np.cumsum(starts) - 1]
    flat = order[np.argsort(keys, kind="stable")].astype(np.int64)
    size = len(batches[0])
    return [flat[start : start + size] for start in range(0, size * len(batches), size)]


def weighted_batches(
    sources: NDArray[np.int64], weights: Sequence[float], batch_size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Returns batches with pictures of several folders in given proportions, independent of the folders' sizes.

    An epoch has as many pictures as all folders together, minus an incomplete last batch. Every batch has the given
    proportions up to rounding. No picture of a folder repeats before all others of the folder were used, even across
    epochs, and no picture is in a batch twice. A set no larger than a batch gives one batch with all pictures.

    Args:
        sources: The folder of each picture, counted from 0. Shape: (N,).
        weights: Weight of each folder, above zero; the number of pictures is proportional to it.
        batch_size: Pictures per batch, over all processes.
        seed: Seed of the run.
        epoch: Epoch; each epoch has other batches.

    Returns:
        Indices of pictures in random order. Shape of each: (batch_size,).

    Raises:
        ConfigError: A folder has no weight, or a weight that is not above zero; or it would contribute no picture to
            an epoch, or more than half of its pictures to one batch.
        DataError: There are fewer than two pictures.
    """
    sizes = np.bincount(sources, minlength=len(weights))
    if len(sizes) != len(weights) or not all(weight > 0 for weight in weights):
        raise ConfigError(f"{len(sizes)} folders need one weight above zero each, got {list(weights)}")
    if len(sources) <= batch_size:
        return shuffled_batches(len(sources), batch_size, seed=seed, epoch=epoch)
    count = len(sources) // batch_size
    quotas = apportion(count * batch_size, weights)
    # Spread each folder's pictures evenly over the epoch, from 0 to 1, then cut the epoch into batches.
    when = np.concatenate([(np.arange(quota) + 0.5) / quota for quota in quotas if quota])
    slots = np.argsort(when, kind="stable").reshape(count, batch_size)
    folders = np.repeat(np.arange(len(quotas)), quotas)[slots]
    dealt = []
    for folder, (size, quota) in enumerate(zip(sizes.tolist(), quotas.tolist(), strict=True)):
        most = int((folders == folder).sum(axis=1).max())
        _check_share(folder, size, most)
        turns = _section(size, epoch * quota, quota, distance=most, seed=seed, folder=folder)
        dealt.append(np.flatnonzero(sources == folder)[turns])
    # Shuffle each batch, because the share of a process must not come from one folder only.
    batches = _generator(seed, epoch).permuted(np.concatenate(dealt)[slots], axis=1)
    return list(batches)


def apportion(total: int, weights: ArrayLike) -> NDArray[np.int64]:
    """Splits `total` into integers proportional to the weights, each less than 1 off. Shapes: (n,) -> (n,)."""
    reached = np.cumsum(np.asarray(weights, dtype=np.float64))
    counts: NDArray[np.int64] = np.diff(np.rint(reached / reached[-1] * total).astype(np.int64), prepend=0)
    return counts


def people_batches(
    labels: NDArray[np.int64], batch_size: int, pictures: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Returns batches of P people with K pictures each, P = batch_size // pictures, for the triplet loss.

    With fewer than P people, every batch contains all of them and is smaller.

    People are dealt like cards: no person repeats before all others were dealt, except for the remainder of fewer
    than P people. The same holds for the pictures of a person. People with fewer than K pictures give each of them
    before one repeats. People with a single picture have no positive and are left out, as are pictures without an
    identity (label -1). All people are equally likely, regardless of their number of pictures, as in FaceNet
    (arXiv 1503.03832, section 3.2).

    Args:
        labels: The person of each picture, -1 if unknown. Shape: (N,).
        batch_size: Pictures per batch, over all processes.
        pictures: K.
        seed: Seed of the run.
        epoch: Epoch; each has other batches, about as many as are needed to show each picture once.

    Returns:
        Indices of pictures, grouped by person. Shape of each: (P * K,).

    Raises:
        DataError: There are fewer than two people with two or more pictures.
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
    """Returns the part of a global batch that one process works on.

    Parts are contiguous, so people stay together if P is divisible by the number of processes. All parts have the same
    length; a remainder is dropped, which happens only if the whole set is smaller than a batch.

    Args:
        batch: Indices of pictures. Shape: (B,).
        rank: Rank of the process.
        world: Number of processes.

    Returns:
        Shape: (B // world,).

    Raises:
        DataError: There are fewer pictures than processes.
    """
    size = len(batch) // world
    if size == 0:
        raise DataError(f"{len(batch)} pictures are not enough for {world} processes")
    return batch[rank * size : (rank + 1) * size]


def share_triplets(batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
    """Returns the part of a global batch of triplets that one process works on.

    Parts are contiguous, consist of whole triplets, and together contain all of them; some processes may have one
    triplet more than others. Therefore the batch does not depend on the number of processes.

    Args:
        batch: Indices of pictures: anchor, positive, negative, anchor, ... Shape: (3 T,).
        rank: Rank of the process.
        world: Number of processes.

    Returns:
        Shape: (3 t,), where t is T / world, rounded down or up.

    Raises:
        DataError: There are fewer triplets than processes.
    """
    count = len(batch) // 3
    if count < world:
        raise DataError(f"{count} triplets are not enough for {world} processes")
    return batch[3 * (rank * count // world) : 3 * ((rank + 1) * count // world)]


def _check_share(folder: int, size: int, most: int) -> None:
    if most == 0:
        raise ConfigError(f"folder {folder + 1} would contribute no picture to an epoch; increase its weight")
    if most > size // 2:
        raise ConfigError(
            f"folder {folder + 1} would contribute {most} of its {size} pictures to one batch, more than half; "
            "decrease its weight or --batch-size"
        )


def _section(size: int, start: int, count: int, *, distance: int, seed: int, folder: int) -> NDArray[np.int64]:
    """Returns a section of an endless sequence of permutations in which any `distance` consecutive pictures differ.

    To keep pictures apart across the boundary of two permutations, pictures at the end of the first that are also at
    the beginning of the second are moved to the end of that beginning, in the order in which they ended the first.
    """

    def shuffled(number: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, folder, number, 1]).permutation(size)

    first, last = start // size, (start + count - 1) // size
    orders = [shuffled(number) for number in range(max(0, first - 1), last + 1)]
    # The ends never change (distance is at most half), so a permutation depends only on the previous one.
    for before, order in pairwise(orders):
        end, begin = before[-distance:], order[:distance]
        order[:distance] = np.concatenate([begin[~np.isin(begin, end)], end[np.isin(end, begin)]])
    turns = np.concatenate(orders[-(last - first + 1) :])
    return turns[start - first * size :][:count]


class _Deck:
    """The pictures of one person, dealt without repetition for as long as possible."""

    def __init__(self, pictures: NDArray[np.int64], generator: np.random.Generator) -> None:
        self._pictures = pictures
        self._generator = generator
        self._left = pictures[:0]

    def deal(self, count: int) -> NDArray[np.int64]:
        if len(self._left) < count:
            # Do not deal the remainder: one of its pictures could then occur twice in this hand.
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
