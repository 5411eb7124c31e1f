"""Near-duplicates in different parts: the same photo re-encoded, scaled, recolored or cropped differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.workers.capacity import cores

_Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

_MAX_BITS_OTHERS = 70  # Hash bits that may differ for pictures of different people; 1 in 30,000 pairs is a candidate.
_MAX_BITS_SAME_PERSON = 100  # Pictures of one person make fewer pairs, so more candidates can be compared.
_MOST_AMONG_ALL = 100_000  # Pictures of a folder; comparing all of them takes a minute.
_MAX_PER_PICTURE = 20  # Duplicates listed per picture and later part; the number of all grows quadratically.
_DECODED_AT_ONCE = 1024
_ROWS, _COLUMNS = 2048, 8192  # Size of a block of distances: 64 MB.
_CONFIRMED_AT_ONCE, _BATCH = 4096, 64  # Pairs. Scheduling each pair individually would double the time.


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Two crops of the same photo in different parts.

    Attributes:
        earlier: Part and path of the crop that `drop_duplicates` leaves out, such as `train/Ann/1.jpg`.
        later: Part and path of the other crop.
        correlation: Correlation of their details after registration; 1 for identical pixels.
    """

    earlier: str
    later: str
    correlation: float


@dataclass(frozen=True, kw_only=True)
class DuplicateFindings:
    """The result of the search.

    Attributes:
        pairs: All duplicates, but at most 20 per picture and later part.
        unreadable: Number of pictures that could not be decoded and were not compared.
    """

    pairs: tuple[Duplicate, ...]
    unreadable: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Hashes:
    """Thumbnails and hashes of all pictures. Shapes: thumbnails (N, 32, 32), bits (N, 32), usable (N,)."""

    thumbnails: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    usable: NDArray[np.bool_]


def find_duplicates(
    read: Callable[[str], bytes],
    parts: Mapping[str, Sequence[str]],
    identity_of: Mapping[str, str | None],
    reporter: Reporter,
) -> DuplicateFindings:
    """Finds pictures that are in two parts. Pictures of the same part are not compared.

    For photos that were re-encoded, halved in size or re-lit and then aligned again, recall is 99% under the same
    person's name and 95% under another name; for photos that were cropped differently before, it is 90% and 60%.
    Mirrored photos are not found. Takes about 1.2 kB of memory per picture.

    Args:
        read: Returns the encoded picture at a path; called from several threads.
        parts: Paths of the pictures, by part, earlier parts first.
        identity_of: The person of each path, or None if unknown.
        reporter: Receives the progress.
    """
    names = [(part, path) for part, paths in parts.items() for path in paths]
    edges = [int(edge) for edge in np.cumsum([0, *(len(paths) for paths in parts.values())])]
    if sum(len(paths) > 0 for paths in parts.values()) < 2:
        return DuplicateFindings(pairs=(), unreadable=0)
    hashes, unreadable = _hash_pictures(read, [path for _, path in names], reporter)
    number = {name: index for index, name in enumerate(sorted({name for name in identity_of.values() if name}))}
    people = np.array([number.get(identity_of[path] or "", -1) for _, path in names])
    pairs = []
    with ThreadPoolExecutor(_cores()) as pool:
        for start, stop in pairwise(edges[1:]):
            proposed = _propose(hashes, people, start, stop, reporter)
            pairs += sorted(_confirm(hashes, proposed, pool))
    return DuplicateFindings(
        pairs=tuple(
            Duplicate(earlier="/".join(names[one]), later="/".join(names[other]), correlation=round(correlation, 4))
            for one, other, correlation in pairs
        ),
        unreadable=unreadable,
    )


def find_repeated_pictures(
    read: Callable[[str], bytes], paths: Sequence[str], identities: Sequence[str | None], reporter: Reporter
) -> tuple[Duplicate, ...]:
    """Finds pictures that are in a folder twice; see `find_duplicates` for what is found.

    The time grows with the square of the number of pictures, so above 100,000 only pictures of the same person are
    compared.

    Args:
        read: Returns the encoded picture at a path; called from several threads.
        paths: Paths of the pictures.
        identities: The person of each path, or None if unknown.
        reporter: Receives the progress.

    Returns:
        Pairs in which `earlier` is before `later` in `paths`.
    """
    hashes, _ = _hash_pictures(read, paths, reporter)
    number = {name: index for index, name in enumerate(sorted({name for name in identities if name}))}
    people = np.array([number.get(name or "", -1) for name in identities])
    with ThreadPoolExecutor(_cores()) as pool:
        pairs = sorted(_confirm(hashes, _propose_repeated(hashes, people), pool))
    return tuple(
        Duplicate(earlier=paths[one], later=paths[other], correlation=round(correlation, 4))
        for one, other, correlation in pairs
    )


def _propose_repeated(hashes: _Hashes, people: NDArray[np.int64]) -> Iterator[_Pairs]:
    """Yields pairs with similar hashes, the earlier picture first."""
    usable = np.flatnonzero(hashes.usable)
    for person in np.unique(people[usable]):
        if person >= 0:
            album = usable[people[usable] == person]
            for one, other in _similar_pairs(hashes, album, album, _MAX_BITS_SAME_PERSON):
                yield one[one < other], other[one < other]
    if len(people) <= _MOST_AMONG_ALL:
        for one, other in _similar_pairs(hashes, usable, usable, _MAX_BITS_OTHERS):
            fresh = (one < other) & ((people[one] != people[other]) | (people[one] < 0))
            yield one[fresh], other[fresh]


def _cores() -> int:
    return min(16, cores())


def _hash_pictures(read: Callable[[str], bytes], paths: Sequence[str], reporter: Reporter) -> tuple[_Hashes, int]:
    """Decodes and hashes all pictures; returns them and the number of unreadable pictures."""
    thumbnails = np.zeros((len(paths), SIDE, SIDE), dtype=np.uint8)
    bits = np.zeros((len(paths), HASH_BITS // 8), dtype=np.uint8)
    unreadable = 0
    pictures = track(_thumbnails(read, paths), reporter, "looking for near-duplicates", total=len(paths), unit="faces")
    for index, thumbnail in enumerate(pictures):
        if thumbnail is None:
            unreadable += 1
        else:
            thumbnails[index], bits[index] = thumbnail, perceptual_hash(thumbnail)
    # A picture of a single color matches nothing.
    return _Hashes(thumbnails=thumbnails, bits=bits, usable=np.ptp(thumbnails, axis=(1, 2)) > 0), unreadable


def _thumbnails(read: Callable[[str], bytes], paths: Sequence[str]) -> Iterator[NDArray[np.uint8] | None]:
    # Threads are enough, because OpenCV releases the GIL while it decodes.
    with ThreadPoolExecutor(_cores()) as pool:
        for start in range(0, len(paths), _DECODED_AT_ONCE):
            yield from pool.map(lambda path: _thumbnail_or_none(read, path), paths[start : start + _DECODED_AT_ONCE])


def _thumbnail_or_none(read: Callable[[str], bytes], path: str) -> NDArray[np.uint8] | None:
    try:
        return read_thumbnail(read(path), path)
    except DataError:
        return None


def _propose(hashes: _Hashes, people: NDArray[np.int64], start: int, stop: int, reporter: Reporter) -> Iterator[_Pairs]:
    """Yields pairs with similar hashes: one picture before `start`, the other in `start` to `stop`."""
    earlier, later = np.flatnonzero(hashes.usable[:start]), start + np.flatnonzero(hashes.usable[start:stop])
    for person in np.intersect1d(people[earlier], people[later]):
        if person >= 0:
            albums = earlier[people[earlier] == person], later[people[later] == person]
            yield from _similar_pairs(hashes, *albums, _MAX_BITS_SAME_PERSON)
    blocks = -(-len(earlier) // _ROWS) * -(-len(later) // _COLUMNS)
    for one, other in track(
        _similar_pairs(hashes, earlier, later, _MAX_BITS_OTHERS),
        reporter,
        "comparing parts",
        total=blocks,
        unit="blocks",
    ):
        fresh = (people[one] != people[other]) | (people[one] < 0)
        yield one[fresh], other[fresh]


def _similar_pairs(hashes: _Hashes, earlier: NDArray[np.intp], later: NDArray[np.intp], limit: int) -> Iterator[_Pairs]:
    for row in range(0, len(earlier), _ROWS):
        for column in range(0, len(later), _COLUMNS):
            one, other = earlier[row : row + _ROWS], later[column : column + _COLUMNS]
            # The dot product of two sign vectors is 256 minus twice the Hamming distance, faster than counting bits.
            a, b = np.nonzero(_signs(hashes, one) @ _signs(hashes, other).T >= HASH_BITS - 2 * limit)
            yield one[a], other[b]


def _signs(hashes: _Hashes, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    return np.unpackbits(hashes.bits[rows], axis=1).astype(np.float32) * 2 - 1


def _confirm(hashes: _Hashes, proposed: Iterator[_Pairs], pool: ThreadPoolExecutor) -> Iterator[tuple[int, int, float]]:
    counts = np.zeros(len(hashes.usable), dtype=np.int64)
    pictures = hashes.thumbnails
    for one, other in proposed:
        # Process every picture's first pair, then every picture's second pair, to skip pictures with enough early.
        rank = np.arange(len(one)) - np.searchsorted(one, one)
        order = np.argsort(rank, kind="stable")
        for start in range(0, len(order), _CONFIRMED_AT_ONCE):
            chosen = order[start : start + _CONFIRMED_AT_ONCE]
            chosen = chosen[counts[one[chosen]] < _MAX_PER_PICTURE]
            pairs = list(zip(one[chosen].tolist(), other[chosen].tolist(), strict=True))
            batches = (pairs[first : first + _BATCH] for first in range(0, len(pairs), _BATCH))
            found = pool.map(lambda batch: [correlation(pictures[a], pictures[b]) for a, b in batch], batches)
            for (a, b), similarity in zip(pairs, chain.from_iterable(found), strict=True):
                if similarity >= SAME and counts[a] < _MAX_PER_PICTURE:
                    counts[a] += 1
                    yield a, b, similarity


SIDE = 32
"""Side of thumbnails in pixels: details that a photo keeps at half its size."""

HASH_BITS = 256

SAME = 0.905
"""Threshold on the correlation: above it, two crops show the same photo.

Chosen on 22,000 crops of 422 people and on photos that were altered and aligned again. Of 1,000 altered photos, at most
8 are below the threshold. Of the 641 pairs above it, the 30 closest to it were inspected, and all show the same photo.
"""

_FREQUENCIES = 16
_FIRST_STEPS, _STEPS = 3, 15
_PROMISING = 0.7  # Correlation after the first steps. The same photo is above it, and most other pairs are below.


def read_thumbnail(content: bytes, origin: str) -> NDArray[np.uint8]:
    """Decodes a crop and reduces its size.

    Args:
        content: The encoded crop.
        origin: Its name in errors.

    Returns:
        Gray, 0-255. Shape: (32, 32).

    Raises:
        DataError: The crop cannot be decoded.
    """
    gray = cv2.cvtColor(decode_picture(content, origin), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def perceptual_hash(thumbnail: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Computes the signs of the 16 x 16 lowest DCT frequencies without the mean.

    Args:
        thumbnail: Gray, 0-255. Shape: (32, 32).

    Returns:
        255 bits, and one that is always 0. Shape: (32,).
    """
    frequencies = cv2.dct(thumbnail.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES].ravel()
    return np.packbits(np.append(frequencies[1:] > 0, False))


def correlation(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Correlates the details of two thumbnails after registering one to the other by an affine transform.

    Black borders, as in crops at the edge of a photo, are ignored.

    Args:
        one: Gray, 0-255. Shape: (32, 32).
        other: Gray, 0-255. Shape: (32, 32).

    Returns:
        At most 1; -1 if registration fails.
    """
    if np.array_equal(one, other):
        return 1.0
    found = _register(one, other)
    # Only the border of the moved picture is masked, so both directions must match.
    return min(found, _register(other, one)) if found >= SAME else found


def _register(still: NDArray[np.uint8], moved: NDArray[np.uint8]) -> float:
    mask = cv2.erode((moved > 2).astype(np.uint8), np.ones((5, 5), np.uint8))
    details = _detail(still), _detail(moved)
    warp: cv2.typing.MatLike = np.eye(2, 3, dtype=np.float32)
    found = -1.0
    try:
        for steps in (_FIRST_STEPS, _STEPS):
            stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-3)
            found, warp = cv2.findTransformECC(*details, warp, cv2.MOTION_AFFINE, stop, mask, 1)
            if found < _PROMISING:
                break
    except cv2.error:  # no convergence, or not enough area to compare
        return -1.0
    return float(found)


def _detail(thumbnail: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Extracts edges and texture with uniform contrast, so that lighting has little effect."""
    gray = thumbnail.astype(np.float32)
    edges = gray - cv2.GaussianBlur(gray, (0, 0), 3)
    return np.asarray(edges / (np.sqrt(cv2.GaussianBlur(edges * edges, (0, 0), 4)) + 4), dtype=np.float32)
