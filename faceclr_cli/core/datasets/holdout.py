"""Selection of held-out pictures, which monitor training if no validation part is given."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path, cache_folder, evict
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.datasets.joined_paths import JoinedPaths
from faceclr_cli.core.datasets.samplers import apportion

_SUFFIX = ".held-out"
_MOST_REMEMBERED = 64
_MAX_HELD_OUT = 2000  # More pictures would reduce the uncertainty little, but slow validation down.
_MIN_HELD_OUT = 32  # With fewer pictures, the measurements would be noise.
_MIN_PER_PERSON = 5  # People with fewer pictures need all of them for training.
_MAX_PERSON_SHARE = 1 / 30  # A person with a larger share of the held-out pictures would dominate.


def hold_out(faces: JoinedFaces, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits pictures into a training and a validation set with different people.

    People with several pictures are held out completely; other pictures are held out individually. The selection is
    a hash of the person's name or the picture's path, so that additional pictures change it little. It is
    proportional in each folder and among pictures with and without an identity. Measurements depend on the number of
    people rather than pictures, so people with few pictures are selected first: people with more than about a
    thirtieth of the held-out pictures are selected only if the others are too few. Two people, if possible with
    several pictures each, always remain for training.

    Args:
        faces: The faces to split.
        share: Maximum share of the pictures to hold out, up to 2,000 pictures. A person with more pictures than that
            is never held out.
        seed: Random seed.

    Returns:
        Indices of the training pictures and of the held-out pictures, each sorted. No pictures are held out if they
        would be fewer than 32, or if fewer than two would remain. Shape of each: (pictures,).
    """
    pictures = np.arange(len(faces))
    wanted = min(round(share * len(faces)), _MAX_HELD_OUT)
    if wanted < _MIN_HELD_OUT:
        return pictures, pictures[:0]
    unit, first, sizes = _units(faces)
    keys = [_key(faces, place, size, seed) for place, size in zip(first.tolist(), sizes.tolist(), strict=True)]
    drawn = np.argsort(np.array(keys, dtype=np.uint64), kind="stable")
    is_named = faces.labels[first] >= 0
    people = drawn[is_named[drawn]]
    reserved = people[np.argsort(sizes[people] > 1, kind="stable")][-2:]
    drawn = drawn[~np.isin(drawn, reserved)]
    group = 2 * faces.sources[first] + is_named
    quotas = apportion(wanted, np.bincount(group, weights=sizes))
    is_held = np.zeros(len(first), dtype=bool)
    for number, quota in enumerate(quotas.tolist()):
        units = drawn[group[drawn] == number]
        units = units[np.argsort(_doublings(sizes[units], quota * _MAX_PERSON_SHARE), kind="stable")]
        is_held[_fill_quota(units, sizes, quota)] = True
    kept, held = pictures[~is_held[unit]], pictures[is_held[unit]]
    return (pictures, held[:0]) if len(held) < _MIN_HELD_OUT or len(kept) < 2 else (kept, held)


def hold_out_pictures(faces: JoinedFaces, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits the pictures of each person into training pictures and pictures to recognize afterward.

    The selection is a hash of the paths. People with fewer than five pictures and pictures without an identity are
    used for training only. Of each other person, at least one picture is held out.

    Args:
        faces: The faces to split.
        share: Approximate share of each person's pictures to hold out, up to 2,000 pictures in total.
        seed: Random seed.

    Returns:
        Indices of the training pictures and of the held-out pictures, each sorted. Shape of each: (pictures,).
    """
    keys = np.fromiter((_hash(path, seed) for path in faces.paths), dtype=np.uint64, count=len(faces))
    order = np.lexsort((keys, faces.labels))
    labels = faces.labels[order]
    own, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    place = np.arange(len(order)) - np.searchsorted(labels, labels)
    quotas = np.where(counts < _MIN_PER_PERSON, 0, np.maximum(1, np.rint(share * counts)))[own]
    drawn = np.flatnonzero((place < quotas) & (labels >= 0) & (share > 0))
    # Take one picture of each person before a second one of anyone.
    drawn = drawn[np.lexsort((keys[order[drawn]], place[drawn]))][:_MAX_HELD_OUT]
    held = np.sort(order[drawn]).astype(np.int64)
    return _others(len(faces), held), held


def remember(
    function: Callable[[JoinedFaces, float, int], tuple[NDArray[np.int64], NDArray[np.int64]]],
    faces: JoinedFaces,
    share: float,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Calls `hold_out` or `hold_out_pictures`, and keeps the result for containers in the user's cache.

    The selection needs a hash of the name of each picture, which takes long for large containers.
    """
    if not isinstance(faces.paths, JoinedPaths):
        return function(faces, share, seed)
    what = json.dumps([function.__name__, faces.digest(), share, seed])
    digest = hashlib.sha256(what.encode() + faces.labels.tobytes())
    name = f"{digest.hexdigest()[:32]}{_SUFFIX}"
    with suppress(OSError, ValueError):
        held = np.frombuffer((cache_folder() / name).read_bytes(), "<i8").astype(np.int64)
        if not len(held) or (held[0] >= 0 and held[-1] < len(faces)):
            return _others(len(faces), held), held
    kept, held = function(faces, share, seed)
    with suppress(OSError):
        with atomic_path(cache_folder() / name) as temporary:
            temporary.write_bytes(held.astype("<i8").tobytes())
        evict(cache_folder() / name, keep=_MOST_REMEMBERED)
    return kept, held


def _others(count: int, held: NDArray[np.int64]) -> NDArray[np.int64]:
    is_kept = np.ones(count, dtype=bool)
    is_kept[held] = False
    return np.flatnonzero(is_kept)


def _units(faces: JoinedFaces) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Groups pictures that are held out together: the unit of each picture; each unit's first picture and size."""
    counts = np.bincount(faces.labels + 1)
    counts[0] = 0  # pictures without an identity
    alone = counts[faces.labels + 1] < 2
    owners = np.where(alone, len(faces.people) + np.arange(len(faces)), faces.labels)
    _, first, unit, sizes = np.unique(owners, return_index=True, return_inverse=True, return_counts=True)
    return unit, first, sizes


def _doublings(sizes: NDArray[np.intp], limit: float) -> NDArray[np.intp]:
    """Returns how often the limit must be doubled to allow each size; 0 for sizes within it.

    The limit is rounded to a power of two, so that a few more pictures seldom change the result.
    """
    exponent = max(1, math.floor(math.log2(limit))) if limit > 0 else 1
    doublings: NDArray[np.intp] = np.maximum(0, np.ceil(np.log2(sizes)) - exponent).astype(np.intp)
    return doublings


def _key(faces: JoinedFaces, place: int, size: int, seed: int) -> int:
    return _hash(faces.people[faces.labels[place]] if size > 1 else faces.paths[place], seed)


def _hash(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(name))).digest()[:8], "big")


def _fill_quota(units: NDArray[np.intp], sizes: NDArray[np.intp], quota: int) -> list[int]:
    """Selects units in order that together have at most `quota` pictures."""
    chosen = []
    for unit in units.tolist():
        if quota == 0:
            break
        if sizes[unit] <= quota:
            chosen.append(unit)
            quota -= int(sizes[unit])
    return chosen
