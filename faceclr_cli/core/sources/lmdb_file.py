"""LMDB databases of pictures in the format in which HSFace is distributed. Requires the package lmdb.

The keys are the numbers of the pictures from 0, as text. Each value is a MessagePack array of the encoded picture and
its label, a whole number. Further keys, such as `__keys__` and `__len__`, are not needed.
"""

from __future__ import annotations

import importlib.util
import os
from array import array
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import MAX_BYTES
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.pool import share_out

_SUFFIX = ".lmdb"
_DATA = "data.mdb"
_MAGIC = b"\xde\xc0\xef\xbe"
_MAGIC_AT = 16
_PAIR = 0x92
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xDA: 2, 0xDB: 4}
"""Bytes of the length field after the type of a MessagePack byte string, in the current and in the original format."""
_NUMBERS = {0xCC: (1, False), 0xCD: (2, False), 0xCE: (4, False), 0xCF: (8, False)}
_SIGNED = {0xD0: (1, True), 0xD1: (2, True), 0xD2: (4, True), 0xD3: (8, True)}


def is_lmdb_file(path: Path) -> bool:
    """Returns True if a path is an LMDB database: a file, or a folder that holds `data.mdb`."""
    place = path / _DATA if path.is_dir() else path
    try:
        if not place.is_file():  # Opening a named pipe would wait for its other end.
            return False
        with open(place, "rb") as file:
            head = file.read(_MAGIC_AT + len(_MAGIC))
    except OSError:
        return False
    return head[_MAGIC_AT:] == _MAGIC


def data_files(path: Path) -> list[Path]:
    """Returns the files of a database that hold its data."""
    return [path / _DATA if path.is_dir() else path]


@dataclass(frozen=True)
class LmdbListing:
    """The pictures of a database, by number.

    Attributes:
        keys: Number of each picture. Shape: (N,).
        labels: Label of each picture, -1 if it has none. Length: N.
        sizes: Size of each picture in bytes. Shape: (N,).
        flaw: Description of what cannot be read, or None.
    """

    keys: NDArray[np.int64]
    labels: list[int]
    sizes: NDArray[np.int64]
    flaw: str | None


class LmdbFile:
    """A database.

    LMDB trusts the pages of its file, and a damaged page crashes the process. Therefore a child process reads all pages
    before this one opens the database.

    Args:
        path: Its file or folder.

    Raises:
        DataError: lmdb is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if importlib.util.find_spec("lmdb") is None:
            raise DataError(
                f"{display_path(path)}: reading LMDB databases needs lmdb; run: pip install 'faceclr[lmdb]'"
            )

    def close(self) -> None:
        """Does nothing: a process opens a database once, for all of its readers."""

    def scan(self) -> LmdbListing:
        """Lists the pictures.

        Raises:
            DataError: The database is damaged, or has no pictures in this format.
        """
        try:
            with share_out(_scan, [[self._path]]) as (listing,):
                return listing.result()[0]
        except BrokenProcessPool as error:
            raise DataError(f"{display_path(self._path)}: damaged; LMDB cannot read all of its pages") from error

    def read(self, key: int) -> bytes:
        """Returns the picture with a number, as it was encoded. May be called from several threads.

        Raises:
            DataError: The value is damaged.
        """
        import lmdb

        origin = f"{display_path(self._path)}#{key:08d}"
        try:
            (data,) = data_files(self._path)
            status = data.stat()
            with _open(self._path, status.st_size, status.st_mtime_ns).begin(buffers=True) as transaction:
                value = transaction.get(b"%d" % key)
                if value is None:
                    raise DataError(f"{origin}: no such picture")
                start, size, _ = _parse(value)
                return bytes(value[start : start + min(size, MAX_BYTES + 1)])
        except (lmdb.Error, OSError, ValueError, IndexError) as error:
            raise DataError(f"{origin}: damaged value ({error})") from error


@lru_cache(maxsize=8)
def _open(path: Path, size: int, modified: int) -> Any:
    """Opens a database once per process and state of its files, as LMDB requires."""
    import lmdb

    del size, modified
    return lmdb.open(os.fspath(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, create=False)


def _scan(path: Path) -> LmdbListing:
    """Lists the pictures in this process; see `LmdbFile.scan`."""
    import lmdb

    keys, labels, sizes, others = array("q"), array("q"), array("q"), 0
    try:
        with (
            lmdb.open(os.fspath(path), subdir=path.is_dir(), readonly=True, lock=False, create=False) as environment,
            environment.begin(buffers=True) as transaction,
        ):
            for key, value in transaction.cursor():
                if not bytes(key[:20]).isdigit():
                    continue
                try:
                    _, size, label = _parse(value)
                    number = int(bytes(key))
                except (ValueError, IndexError):
                    others += 1
                    continue
                keys.append(number)
                labels.append(label)
                sizes.append(size)
    except (lmdb.Error, OSError, OverflowError) as error:
        raise DataError(f"{display_path(path)}: not an LMDB database, or damaged ({error})") from error
    if not keys:
        raise DataError(
            f"{display_path(path)}: no pictures in a known format; expected the number of a picture as each key, and a "
            "MessagePack array of the picture and its label as each value"
        )
    order = np.argsort(np.frombuffer(keys, np.int64), kind="stable")
    columns = [np.frombuffer(column, np.int64)[order] for column in (keys, labels, sizes)]
    flaw = f"{others} of {others + len(keys)} values cannot be read" if others else None
    return LmdbListing(columns[0], columns[1].tolist(), columns[2], flaw)


def _parse(value: memoryview) -> tuple[int, int, int]:
    """Returns the start and the size of the picture in a value, and the label, -1 if it is negative.

    Raises:
        ValueError, IndexError: The value has another format.
    """
    if value[0] != _PAIR or value[1] not in _LENGTHS:
        raise ValueError("not a picture and its label")
    start = 2 + _LENGTHS[value[1]]
    size = int.from_bytes(value[2:start], "big")
    at = start + size
    kind = value[at]
    if kind < 0x80 and len(value) == at + 1:
        return start, size, kind
    width, signed = _NUMBERS.get(kind) or _SIGNED.get(kind) or (0, False)
    if not width or len(value) != at + 1 + width:
        raise ValueError("its label is not a whole number")
    label = int.from_bytes(value[at + 1 :], "big", signed=signed)
    return start, size, label if 0 <= label < 2**31 else -1
