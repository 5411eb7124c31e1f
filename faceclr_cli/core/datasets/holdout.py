"""Pictures that are never trained on, for when there is nothing else to watch."""

from __future__ import annotations

import hashlib
import math
import os

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.datasets.samplers import apportion

_MOST = 2000  # More would make what is watched hardly more certain, and the watching slower.
_FEWEST = 32  # With fewer, what is watched would be noise.
_FEWEST_OF_ONE = 5  # Whoever has fewer pictures needs them all for training.
_MOST_OF_ONE = 1 / 30  # A person with a larger part of what is held out would count for many.


def hold_out(faces: JoinedFaces, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divides pictures into those to train on and those to watch.

    People with several pictures are held out as a whole, so that nobody is in both; all other pictures singly.
    Who is held out is drawn by a hash of the person's name or the picture's path, in each folder, among people
    with names and pictures without, in proportion: more pictures change it little. Measures rest on people rather
    than pictures, so people with few pictures are drawn first: those with more than about a thirtieth of what is held
    out follow only where the others are too few. Two people are always left to train on, if possible two with several
    pictures.

    Args:
        faces: What to divide.
        share: How many of the pictures to hold out: about this share, never more, and at most 2,000. A person
            with more pictures than that is never held out.
        seed: Draws others.

    Returns:
        Indices of the pictures to train on and of those held out, each sorted. None are held out where they would
        be fewer than 32, or where fewer than two would be left.
    """
    pictures = np.arange(len(faces))
    wanted = min(round(share * len(faces)), _MOST)
    if wanted < _FEWEST:
        return pictures, pictures[:0]
    unit, first, sizes = _units(faces)
    keys = [_key(faces, place, size, seed) for place, size in zip(first.tolist(), sizes.tolist(), strict=True)]
    drawn = np.argsort(np.array(keys, dtype=np.uint64), kind="stable")
    is_named = faces.labels[first] >= 0
    people = drawn[is_named[drawn]]
    stay = people[np.argsort(sizes[people] > 1, kind="stable")][-2:]
    drawn = drawn[~np.isin(drawn, stay)]
    group = 2 * faces.sources[first] + is_named
    quotas = apportion(wanted, np.bincount(group, weights=sizes))
    is_held = np.zeros(len(first), dtype=bool)
    for number, quota in enumerate(quotas.tolist()):
        units = drawn[group[drawn] == number]
        units = units[np.argsort(_doublings(sizes[units], quota * _MOST_OF_ONE), kind="stable")]
        is_held[_fitting(units, sizes, quota)] = True
    kept, held = pictures[~is_held[unit]], pictures[is_held[unit]]
    return (pictures, held[:0]) if len(held) < _FEWEST or len(kept) < 2 else (kept, held)


def hold_out_pictures(faces: JoinedFaces, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divides the pictures of each person into those to train on and those to recognize afterwards.

    Which ones is drawn by a hash of their paths. Of a person with fewer than five pictures, or without a name, all are
    trained on; of each other one at least is held out.

    Args:
        faces: What to divide.
        share: How many of the pictures of a person to hold out, about; at most 2,000 in all.
        seed: Draws others.

    Returns:
        Indices of the pictures to train on and of those held out, each sorted.
    """
    keys = np.array([_hash(path, seed) for path in faces.paths], dtype=np.uint64)
    order = np.lexsort((keys, faces.labels))
    labels = faces.labels[order]
    own, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    place = np.arange(len(order)) - np.searchsorted(labels, labels)
    quotas = np.where(counts < _FEWEST_OF_ONE, 0, np.maximum(1, np.rint(share * counts)))[own]
    drawn = np.flatnonzero((place < quotas) & (labels >= 0) & (share > 0))
    # One of each person before a second of anybody.
    drawn = drawn[np.lexsort((keys[order[drawn]], place[drawn]))][:_MOST]
    held = np.sort(order[drawn]).astype(np.int64)
    return np.setdiff1d(np.arange(len(faces)), held), held


def _units(faces: JoinedFaces) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """What is held out together: the unit of each picture; the first picture and the size of each unit."""
    counts = np.bincount(faces.labels + 1)
    counts[0] = 0  # of nobody known
    alone = counts[faces.labels + 1] < 2
    owners = np.where(alone, len(faces.people) + np.arange(len(faces)), faces.labels)
    _, first, unit, sizes = np.unique(owners, return_index=True, return_inverse=True, return_counts=True)
    return unit, first, sizes


def _doublings(sizes: NDArray[np.intp], limit: float) -> NDArray[np.intp]:
    """How often the limit must be doubled to allow each size: 0 for those within it.

    It is a power of two, so that a few more pictures seldom change it.
    """
    exponent = max(1, math.floor(math.log2(limit))) if limit > 0 else 1
    doublings: NDArray[np.intp] = np.maximum(0, np.ceil(np.log2(sizes)) - exponent).astype(np.intp)
    return doublings


def _key(faces: JoinedFaces, place: int, size: int, seed: int) -> int:
    return _hash(faces.people[faces.labels[place]] if size > 1 else faces.paths[place], seed)


def _hash(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(name))).digest()[:8], "big")


def _fitting(units: NDArray[np.intp], sizes: NDArray[np.intp], quota: int) -> list[int]:
    """The units, in their order, that together are no more than `quota` pictures."""
    chosen = []
    for unit in units.tolist():
        if quota == 0:
            break
        if sizes[unit] <= quota:
            chosen.append(unit)
            quota -= int(sizes[unit])
    return chosen
