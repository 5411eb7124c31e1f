"""The crops of a folder in one memory-mapped array, decoded once and cached."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path, cache_folder, evict
from faceclr_cli.core.datasets.streamed_crops import MOST_DAMAGED, StreamedCrops, read_crop, too_many_damaged
from faceclr_cli.core.errors import DataError, UnreadableImageError
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.sources.container_index import SUFFIX as INDEX_SUFFIX
from faceclr_cli.core.workers.capacity import cores

_LAYOUT = 1  # Increment when the format of packed files changes.
_MAX_FILES = 16  # Maximum number of packed folders in the cache; the least recently used ones are removed.
_Damaged = tuple[tuple[int, str], ...]
_BLOCK = 32  # Crops per task of the thread pool; scheduling each crop individually would be slower.


@dataclass(frozen=True, eq=False)
class PackedFaces:
    """The crops of a folder, in the order of its paths.

    Attributes:
        crops: RGB, 0-255, read-only, memory-mapped if the cache is available. Shape: (N, size, size, 3). Or crops that
            are decoded on demand.
        labels: Index into `people` of each crop's person, -1 if unknown. Shape: (N,).
        people: Names of the people, sorted.
        paths: Path of each crop relative to the folder.
        fingerprint: How the crops were made.
        damaged: The place of each damaged crop of a container, and the reason. The pixels of damaged crops are zeros.
    """

    crops: NDArray[np.uint8] | StreamedCrops
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    paths: Sequence[str]
    fingerprint: Fingerprint
    damaged: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


def open_packed(folder: FaceFolder, reporter: Reporter, cache: Path | None = None) -> PackedFaces:
    """Decodes all crops of a folder, or maps the result of an earlier call.

    The packed file is stored in the user's cache under a key of the folder's contents (see `_key`). If the cache
    cannot be written, the crops are kept in memory, which other processes of this machine can map, and a notice is
    reported.

    Args:
        folder: The crops.
        reporter: Receives the progress.
        cache: Folder for packed files; by default $FACECLR_CACHE, or `faceclr` in the user's cache folder.

    Raises:
        UnreadableImageError: A crop of a folder is missing or damaged; the message names it. In a container, damaged
            crops are recorded in `damaged`.
        DataError: The size of a crop differs from the folder's fingerprint, or too many crops of a container are
            damaged.
    """
    crops, damaged = _crops(folder, reporter, cache)
    return PackedFaces(
        crops=crops,
        labels=folder.labels,
        people=folder.people,
        paths=folder.paths,
        fingerprint=folder.fingerprint,
        damaged=damaged,
    )


def stream(folder: FaceFolder) -> PackedFaces:
    """Opens the crops of a folder without decoding them."""
    return PackedFaces(
        crops=StreamedCrops(folder),
        labels=folder.labels,
        people=folder.people,
        paths=folder.paths,
        fingerprint=folder.fingerprint,
    )


def is_packed(folder: FaceFolder, cache: Path | None = None) -> bool:
    """Returns True if the cache has the decoded crops of a folder."""
    with suppress(OSError):  # There is no cache, or it cannot be read.
        # Computing the key of a folder accesses each of its files, which may be millions.
        if not any(cache_folder(cache).glob(f"{_root_key(folder.root)}-*.npy")):
            return False
        return _map(_target(folder, cache), _shape(folder)) is not None
    return False


def forget_packed(cache: Path | None = None) -> None:
    """Removes all packed files and indexes of containers from the cache; later runs create them again.

    The files of one folder cannot be distinguished from those of others, since the folder may have been moved or copied
    since it was decoded.

    Args:
        cache: As for `open_packed`.

    Raises:
        OSError: A file cannot be removed.
    """
    with suppress(FileNotFoundError):  # The user has no home folder, so nothing was ever cached.
        for pattern in ("*.npy", f"*{INDEX_SUFFIX}"):
            for path in cache_folder(cache).glob(pattern):
                path.unlink(missing_ok=True)


def _root_key(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def _target(folder: FaceFolder, cache: Path | None) -> Path:
    return cache_folder(cache) / f"{_root_key(folder.root)}-{_key(folder)}.npy"


def _crops(folder: FaceFolder, reporter: Reporter, cache: Path | None) -> tuple[NDArray[np.uint8], _Damaged]:
    try:
        target = _target(folder, cache)
        crops = _map(target, _shape(folder))
        if crops is None:
            with atomic_path(target) as temporary:
                _write(temporary, folder, reporter)
            crops = _map(target, _shape(folder))
            evict(target, keep=_MAX_FILES, group=f"{_root_key(folder.root)}-")
        if crops is not None:
            return crops, _damaged_in(crops)
        reason = f"{target} was changed in the meantime"
    except OSError as error:
        reason = str(error)
    reporter.report(Notice(level="warning", text=f"decoded faces are kept in memory, not in the cache: {reason}"))
    return _decode_to_memory(folder, reporter)


def _decode_to_memory(folder: FaceFolder, reporter: Reporter) -> tuple[NDArray[np.uint8], _Damaged]:
    if sys.platform == "linux":
        with suppress(OSError):  # Files of this size are not allowed (`ulimit -f`).
            crops = _decode_to_unnamed_file(folder, reporter)
            return crops, _damaged_in(crops)
    decoded = np.empty(_shape(folder), dtype=np.uint8)

    def store(start: int, block: NDArray[np.uint8]) -> None:
        decoded[start : start + len(block)] = block

    damaged = _decode(folder, store, reporter)
    decoded.flags.writeable = False
    return decoded, damaged


def _decode_to_unnamed_file(folder: FaceFolder, reporter: Reporter) -> NDArray[np.uint8]:
    """Decodes into a file in memory. It exists as long as the array, or its mapping in another process."""
    descriptor = os.memfd_create("faceclr-faces")
    try:
        # Other processes of the user can open it by this path.
        path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        _write(path, folder, reporter)
        crops = map_packed(path)
        weakref.finalize(crops.base, os.close, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return crops


def _key(folder: FaceFolder) -> str:
    """Returns a digest of the fingerprint and of the name, size and modification time of each file.

    As in `make` and `rsync`, these represent the content: hashing the content would require reading all files at every
    start. Replacing, adding or removing a crop changes the key.
    """
    digest = hashlib.sha256(json.dumps([_LAYOUT, folder.fingerprint.to_json()]).encode())
    if folder.indexed is not None:
        digest.update(folder.indexed.stamp.encode())
        return digest.hexdigest()[:32]
    if folder.container is not None:
        status = folder.root.stat()
        digest.update(os.fsencode(f"{status.st_size}\0{status.st_mtime_ns}\n"))
    for place, path in enumerate(folder.paths):
        try:
            size, modified = folder.stamp(place)
        except OSError as error:
            raise UnreadableImageError(f"{folder.root / path}: {error.strerror}") from error
        digest.update(os.fsencode(f"{path}\0{size}\0{modified}\n"))
    return digest.hexdigest()[:32]


def _shape(folder: FaceFolder) -> tuple[int, int, int, int]:
    size = folder.fingerprint.size
    return len(folder), size, size, 3


def map_packed(path: Path) -> NDArray[np.uint8]:
    """Maps a packed file that another process has opened. Shape: (N, size, size, 3)."""
    # As a string, since NumPy resolves the links of a `Path`, even the link in /proc to an unnamed file.
    return np.asarray(np.load(str(path), mmap_mode="r", allow_pickle=False))


def _map(path: Path, shape: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
    """Maps a packed file; returns None if it is missing or damaged."""
    try:
        crops = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    if crops.shape != shape or crops.dtype != np.uint8:
        return None
    with suppress(OSError):  # Records the last use for `evict`. A read-only cache is still readable.
        os.utime(path)
    return np.asarray(crops)


def _write(path: Path, folder: FaceFolder, reporter: Reporter) -> None:
    """Writes an .npy file with ordinary writes, which fail on a full disk, where a memory map would crash.

    The list of damaged crops follows the array.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": _shape(folder)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        begin = file.tell()

    def store(start: int, block: NDArray[np.uint8]) -> None:
        with open(path, "r+b") as file:
            file.seek(begin + start * block[0].nbytes)
            file.write(block.data)

    damaged = _decode(folder, store, reporter)
    with open(path, "ab") as file:
        file.write(json.dumps(damaged).encode())


def _damaged_in(crops: NDArray[np.uint8]) -> _Damaged:
    """Reads the list of damaged crops from a packed file; files of earlier versions have none."""
    mapped = crops.base
    if not isinstance(mapped, np.memmap) or mapped.filename is None:
        return ()
    with open(str(mapped.filename), "rb") as file, suppress(ValueError):
        file.seek(mapped.offset + mapped.nbytes)
        return tuple((int(place), str(reason)) for place, reason in json.loads(file.read()))
    return ()


def _decode(folder: FaceFolder, store: Callable[[int, NDArray[np.uint8]], None], reporter: Reporter) -> _Damaged:
    """Decodes all crops in threads and passes them to `store` in blocks, with the index of each block's first crop.

    Returns:
        The damaged crops of a container, with the reasons.
    """
    damaged: dict[int, str] = {}

    def work(start: int) -> int:
        places = range(start, min(start + _BLOCK, len(folder)))
        block = np.empty((len(places), *_shape(folder)[1:]), dtype=np.uint8)
        for row, place in enumerate(places):
            try:
                block[row] = _read(folder, place)
            except DataError as error:
                if folder.indexed is None:
                    raise
                block[row] = 0
                damaged[place] = str(error)
                if len(damaged) > max(1, MOST_DAMAGED * len(folder)):
                    raise too_many_damaged(folder, len(damaged), str(error)) from error
        store(start, block)
        return places.stop

    task = "decoding faces"
    reporter.report(TaskStarted(task=task, total=len(folder), unit="faces"))
    # Threads are enough, because OpenCV releases the GIL while it decodes.
    pool = ThreadPoolExecutor(min(16, cores()))
    try:
        for done in pool.map(work, range(0, len(folder), _BLOCK)):
            reporter.report(TaskAdvanced(task=task, done=done))
    finally:
        pool.shutdown(cancel_futures=True)
        reporter.report(TaskFinished(task=task))
    return tuple(sorted(damaged.items()))


def _read(folder: FaceFolder, place: int) -> NDArray[np.uint8]:
    path, size = folder.root / folder.paths[place], folder.fingerprint.size
    try:
        return read_crop(folder.read(place), path, size)
    except UnreadableImageError as error:
        advice = "" if folder.container is not None else "; prepare the faces again or delete this one"
        raise UnreadableImageError(f"{error}{advice}") from error
