"""The crops of a folder in one memory-mapped array, decoded once and cached."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError, UnreadableImageError
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.workers.capacity import cores

CACHE_VARIABLE = "FACECLR_CACHE"
"""Environment variable for the cache folder."""

_LAYOUT = 1  # Increment when the format of packed files changes.
_MAX_FILES = 16  # Maximum number of packed folders in the cache; the least recently used ones are removed.
_BLOCK = 32  # Crops per task of the thread pool; scheduling each crop individually would be slower.
_DAY = 24 * 60 * 60


@dataclass(frozen=True, eq=False)
class PackedFaces:
    """The decoded crops of a folder, in the order of its paths.

    Attributes:
        crops: RGB, 0-255, read-only, memory-mapped if the cache is available. Shape: (N, size, size, 3).
        labels: Index into `people` of each crop's person, -1 if unknown. Shape: (N,).
        people: Names of the people, sorted.
        paths: Path of each crop relative to the folder.
        fingerprint: How the crops were made.
    """

    crops: NDArray[np.uint8]
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    paths: tuple[str, ...]
    fingerprint: Fingerprint

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
        UnreadableImageError: A crop is missing or damaged; the message names it.
        DataError: The size of a crop differs from the folder's fingerprint.
    """
    position = {name: index for index, name in enumerate(folder.people)}
    labels = [-1 if name is None else position[name] for name in folder.identities]
    return PackedFaces(
        crops=_crops(folder, reporter, cache),
        labels=np.array(labels, dtype=np.int64),
        people=folder.people,
        paths=tuple(folder.paths),
        fingerprint=folder.fingerprint,
    )


def forget_packed(cache: Path | None = None) -> None:
    """Removes all packed files from the cache, which will be decoded again.

    Those of one folder cannot be told from those of others: it may have been moved or copied since it was decoded.

    Args:
        cache: As for `pack`.

    Raises:
        OSError: A file cannot be removed.
    """
    with suppress(FileNotFoundError):  # The user has no home folder, so nothing was ever cached.
        for path in cache_folder(cache).glob("*.npy"):
            path.unlink(missing_ok=True)


def _root_key(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def _crops(folder: FaceFolder, reporter: Reporter, cache: Path | None) -> NDArray[np.uint8]:
    root = _root_key(folder.root)
    key = _key(folder)
    try:
        target = cache_folder(cache) / f"{root}-{key}.npy"
        crops = _map(target, _shape(folder))
        if crops is None:
            with atomic_path(target) as temporary:
                _write(temporary, folder, reporter)
            crops = _map(target, _shape(folder))
            _evict(target)
        if crops is not None:
            return crops
        reason = f"{target} was changed in the meantime"
    except OSError as error:
        reason = str(error)
    reporter.report(Notice(level="warning", text=f"decoded faces are kept in memory, not in the cache: {reason}"))
    return _decode_to_memory(folder, reporter)


def _decode_to_memory(folder: FaceFolder, reporter: Reporter) -> NDArray[np.uint8]:
    if sys.platform == "linux":
        with suppress(OSError):  # Files of this size are not allowed (`ulimit -f`).
            return _decode_to_unnamed_file(folder, reporter)
    decoded = np.empty(_shape(folder), dtype=np.uint8)

    def store(start: int, block: NDArray[np.uint8]) -> None:
        decoded[start : start + len(block)] = block

    _decode(folder, store, reporter)
    decoded.flags.writeable = False
    return decoded


def _decode_to_unnamed_file(folder: FaceFolder, reporter: Reporter) -> NDArray[np.uint8]:
    """Decodes into a file in memory. It exists as long as the array, or its mapping in another process."""
    descriptor = os.memfd_create("faceclr-faces")
    try:
        # By this path, other processes of the user can open it.
        path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        _write(path, folder, reporter)
        crops = map_packed(path)
        weakref.finalize(crops.base, os.close, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return crops


def cache_folder(cache: Path | None = None) -> Path:
    """Returns the folder for packed files.

    Args:
        cache: An explicit folder, which overrides $FACECLR_CACHE and the user's cache folder.

    Raises:
        FileNotFoundError: No folder is set, and the user has no home folder.
    """
    named = cache or os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    usual = platformdirs.user_cache_path("faceclr")
    if not usual.is_absolute():  # "~/.cache" is not expanded if the user has no home folder.
        raise FileNotFoundError(f"this user has no home folder; set {CACHE_VARIABLE}")
    return usual


def _key(folder: FaceFolder) -> str:
    """Returns a digest of the fingerprint and of the name, size and modification time of each file.

    As in `make` and `rsync`, these stand for the content: hashing the content would require reading all files at every
    start. Replacing, adding or removing a crop changes the key.
    """
    digest = hashlib.sha256(json.dumps([_LAYOUT, folder.fingerprint.to_json()]).encode())
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
    """Maps a packed file that another process has opened."""
    # As a string: NumPy resolves the links of a `Path`, even that of /proc to a file without a name.
    return np.asarray(np.load(str(path), mmap_mode="r", allow_pickle=False))


def _map(path: Path, shape: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
    """Maps a packed file; returns None if it is missing or damaged."""
    try:
        crops = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    if crops.shape != shape or crops.dtype != np.uint8:
        return None
    with suppress(OSError):  # Records the last use for `_evict`. A read-only cache is readable all the same.
        os.utime(path)
    return np.asarray(crops)


def _write(path: Path, folder: FaceFolder, reporter: Reporter) -> None:
    """Writes an .npy file with ordinary writes, which fail on a full disk, where a memory map would crash."""
    header = {"descr": "|u1", "fortran_order": False, "shape": _shape(folder)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        begin = file.tell()

    def store(start: int, block: NDArray[np.uint8]) -> None:
        with open(path, "r+b") as file:
            file.seek(begin + start * block[0].nbytes)
            file.write(block.data)

    _decode(folder, store, reporter)


def _decode(folder: FaceFolder, store: Callable[[int, NDArray[np.uint8]], None], reporter: Reporter) -> None:
    """Decodes all crops in threads and passes them to `store` in blocks, with the index of each block's first crop."""

    def work(start: int) -> int:
        places = range(start, min(start + _BLOCK, len(folder)))
        block = np.empty((len(places), *_shape(folder)[1:]), dtype=np.uint8)
        for row, place in enumerate(places):
            block[row] = _read(folder, place)
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


def _read(folder: FaceFolder, place: int) -> NDArray[np.uint8]:
    path, size = folder.root / folder.paths[place], folder.fingerprint.size
    try:
        picture = decode_picture(folder.read(place), path)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}; prepare the faces again or delete this one") from error
    if picture.shape != (size, size, 3):
        height, width = picture.shape[:2]
        raise DataError(f"{path}: is {width}x{height}, but the folder's faceclr.json says {size}x{size}")
    return picture


def _evict(target: Path) -> None:
    """Removes older files of the same folder, the least recently used files, and leftovers of killed runs."""
    root = target.name.split("-")[0]
    with suppress(OSError):
        entries = sorted(target.parent.glob("*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
        finished = [path for path in entries if not path.name.startswith(".") and path != target]
        for rank, path in enumerate(finished, start=1):
            if path.name.startswith(f"{root}-") or rank >= _MAX_FILES:
                path.unlink(missing_ok=True)
        for path in entries:
            if path.name.startswith(".") and path.stat().st_mtime < time.time() - _DAY:
                path.unlink(missing_ok=True)
