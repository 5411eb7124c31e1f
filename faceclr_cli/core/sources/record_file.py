"""Record files (`.rec`) of MXNet, in which most face training sets are distributed: reading and writing.

The format is that of dmlc-core's RecordIO: each record is the magic number, its length with a continuation flag in the
upper three bits, and its data, padded to four bytes. A record whose data contains the magic number is stored in parts.
The data of a picture begins with MXNet's image header (flag, label, id, id2); with a flag above 0, as many labels
follow it. Beside the file are `.idx`, the positions of the records by key, and sometimes `.lst`, their names.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import MAX_BYTES
from faceclr_cli.core.sources.positional_read import read_at
from faceclr_cli.core.text import display_path

SUFFIX = ".rec"
MAGIC = 0xCED7230A
_MAGIC = struct.pack("<I", MAGIC)
_HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2
_HEADER_WORDS = _HEADER.size // 4
_FLAG_SHIFT = 29
_LENGTH = (1 << _FLAG_SHIFT) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_MAX_LABELS = 4096
_LARGEST_TEXT = 2**31
_BLOCK = 2**15  # Records whose headers are read together.
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"


@dataclass(frozen=True, eq=False)
class RecordIndex:
    """The pictures of a record file. Records without a picture, such as insightface's index of people, are omitted.

    Attributes:
        keys: Key of each record, ascending. Shape: (N,).
        offsets: Position of each record in bytes. Shape: (N,).
        labels: First label of each record, -1 if it is not a whole number from 0. Shape: (N,).
        sizes: Size of each picture in bytes. Shape: (N,).
    """

    keys: NDArray[np.int64]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)


def is_record_file(head: bytes) -> bool:
    """Returns True if a file that starts with these bytes is a record file."""
    return head.startswith(_MAGIC)


class RecordFile:
    """An open record file.

    Attributes:
        flaw: Description of what cannot be read, or None; known after `index`.

    Args:
        path: The file. Without an `.idx` beside it, its records are searched once and numbered from 0.

    Raises:
        DataError: The file is empty or unreadable, or not a record file; with `index`, its `.idx` belongs to another
            file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.flaw: str | None = None
        try:
            self._file = open(path, "rb")  # noqa: SIM115
            size = os.fstat(self._file.fileno()).st_size
            self._mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if size >= 4 else b""
            self._words = np.frombuffer(self._mapped, "<u4", size // 4)
        except OSError as error:
            raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
        if not len(self._words) or self._words[0] != MAGIC:
            self._file.close()
            raise DataError(f"{display_path(path)}: not a record file")

    @cached_property
    def index(self) -> RecordIndex:
        """The index of its pictures, created on first access."""
        beside = self._path.with_suffix(".idx")
        keys, offsets = self._read_positions(beside) if beside.is_file() else self._find_positions()
        parts = [
            self._read_headers(keys[start : start + _BLOCK], offsets[start : start + _BLOCK])
            for start in range(0, max(1, len(keys)), _BLOCK)
        ]
        lost = sum(lost for _, lost in parts)
        self._note_lost(lost, len(keys))
        columns = zip(*((part.keys, part.offsets, part.labels, part.sizes) for part, _ in parts), strict=True)
        return RecordIndex(*map(np.concatenate, columns))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def read(self, place: int) -> bytes:
        """Returns the encoded picture at a place of the index. May be called from several threads.

        Raises:
            DataError: The record is damaged.
        """
        return self.read_record(int(self.index.keys[place]), int(self.index.offsets[place]))

    def read_record(self, key: int, offset: int) -> bytes:
        """Returns the picture of the record at a position; see `read`."""
        try:
            record = b"".join(self._parts(offset))
            flag, _, _, _ = _HEADER.unpack_from(record)
        except (ValueError, struct.error, OSError) as error:
            raise DataError(f"{display_path(self._path)}#{key:08d}: damaged record ({error})") from error
        return record[_HEADER.size + 4 * flag :]

    def _parts(self, offset: int) -> Iterator[bytes]:
        """Yields the data of a record, with the magic numbers that were taken out of it."""
        expected, length_so_far = (_WHOLE, _FIRST), 0
        while True:
            magic, word = struct.unpack("<II", self._bytes(offset, 8))
            kind, length = word >> _FLAG_SHIFT, word & _LENGTH
            if magic != MAGIC or kind not in expected:
                raise ValueError("no record starts there" if magic != MAGIC else "its parts are not in order")
            length_so_far += length
            if length_so_far > MAX_BYTES + _HEADER.size + 4 * _MAX_LABELS:
                raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
            if kind in (_MIDDLE, _LAST):
                yield _MAGIC
            yield self._bytes(offset + 8, length)
            if kind in (_WHOLE, _LAST):
                return
            expected, offset = (_MIDDLE, _LAST), offset + 8 + _padded(length)

    def _bytes(self, offset: int, length: int) -> bytes:
        data = read_at(self._file, offset, length)
        if len(data) != length:
            raise ValueError("the end is missing")
        return data

    def _read_positions(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        try:
            if path.stat().st_size > _LARGEST_TEXT:
                raise ValueError("too large")
            pairs = np.loadtxt(path, dtype=np.int64, delimiter="\t", ndmin=2, usecols=(0, 1))
        except (OSError, ValueError, IndexError) as error:
            raise DataError(f"{display_path(path)}: not an index of records ({_first_line(error)})") from error
        keys, offsets = pairs[np.argsort(pairs[:, 0], kind="stable")].T
        if len(np.unique(keys)) < len(keys) or not len(keys) or keys[0] < 0:
            raise DataError(f"{display_path(path)}: not an index of records (a key is repeated or negative)")
        inside = (offsets >= 0) & (offsets % 4 == 0) & (offsets // 4 + 2 + _HEADER_WORDS <= len(self._words))
        starts = inside.copy()
        for block in np.array_split(np.flatnonzero(inside), max(1, len(keys) // _BLOCK)):
            starts[block] = self._words[offsets[block] // 4] == MAGIC
            self._drop_pages()
        if starts.mean() < 0.5:
            raise DataError(
                f"{display_path(path)}: not the index of {display_path(self._path)}; {int((~starts).sum())} of its "
                f"{len(keys)} positions do not start a record"
            )
        self._note_lost(int((~starts).sum()), len(keys))
        return keys[starts], offsets[starts]

    def _find_positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found: list[int] = []
        place, end = 0, len(self._words)
        while place + 2 <= end and self._words[place] == MAGIC:
            word = int(self._words[place + 1])
            if word >> _FLAG_SHIFT in (_WHOLE, _FIRST):
                found.append(4 * place)
            place += 2 + _padded(word & _LENGTH) // 4
        if place != end:
            lost = 4 * (end - (found[-1] // 4 if place > end else place))
            self.flaw = f"damaged or truncated: the last {lost:,} bytes cannot be read"
            if place > end:
                found.pop()
        whole = [offset for offset in found if offset // 4 + 2 + _HEADER_WORDS <= end]
        return np.arange(len(whole), dtype=np.int64), np.array(whole, dtype=np.int64)

    def _read_headers(self, keys: NDArray[np.int64], offsets: NDArray[np.int64]) -> tuple[RecordIndex, int]:
        """Reads the headers of some records. Returns those with a picture, and the number of damaged ones."""
        words, start = self._words, offsets // 4
        flags = words[start + 2].astype(np.int64)
        sound = flags <= _MAX_LABELS
        first = np.minimum(start + np.where(sound & (flags > 0), 2 + _HEADER_WORDS, 3), len(words) - 1)
        labels = words[first].view("<f4").astype(np.float64)
        whole = np.isfinite(labels) & (labels >= 0) & (labels == np.floor(labels)) & (labels < 2**31)
        kinds, lengths = words[start + 1] >> _FLAG_SHIFT, (words[start + 1] & _LENGTH).astype(np.int64)
        sizes = lengths - _HEADER.size - 4 * np.where(sound, flags, 0)
        for row in np.flatnonzero(kinds != _WHOLE):
            try:
                sizes[row] = sum(map(len, self._parts(int(offsets[row])))) - _HEADER.size - 4 * int(flags[row])
            except (ValueError, OSError):
                sizes[row] = max(1, sizes[row])  # Reading it gives the reason.
        self._drop_pages()
        kept = sound & (sizes > 0)
        index = RecordIndex(
            keys=keys[kept],
            offsets=offsets[kept],
            labels=np.where(whole, labels, -1)[kept].astype(np.int64),
            sizes=sizes[kept],
        )
        return index, int((~sound).sum())

    def _drop_pages(self) -> None:
        """Releases the pages of the mapped file. Reading the headers of small pictures touches nearly all of them."""
        if isinstance(self._mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def _note_lost(self, lost: int, total: int) -> None:
        if lost and self.flaw is None:
            self.flaw = f"damaged or truncated: {lost} of {total} records cannot be read"

    def names(self) -> Mapping[int, str]:
        """Returns the names of pictures by key from the `.lst` beside the file; empty without one.

        Both orders in use are read: `key, label, name` of MXNet and `flag, name, label` of insightface.

        Raises:
            DataError: The list cannot be read.
        """
        path = self._path.with_suffix(".lst")
        if not path.is_file():
            return {}
        try:
            if path.stat().st_size > _LARGEST_TEXT:
                raise ValueError("too large")
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"{display_path(path)}: cannot be read ({_first_line(error)})") from error
        cells = [line.split("\t") for line in lines if line.strip()]
        if all(len(row) >= 3 and row[0].isdigit() and _is_number(row[1]) for row in cells):
            return {int(row[0]): row[-1] for row in cells}
        return {}


def picture_suffix(start: bytes) -> str:
    """Returns the usual suffix of the name of a picture that starts with these bytes."""
    return ".png" if start.startswith(_PNG) else ".jpg"


class RecordWriter:
    """Writes pictures to a record file and its index. A context manager.

    Args:
        record: The `.rec` file.
        index: The `.idx` file.
    """

    def __init__(self, record: Path, index: Path) -> None:
        self._record: BinaryIO = open(record, "wb")  # noqa: SIM115
        self._index = open(index, "w", encoding="ascii", newline="\n")  # noqa: SIM115

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._record.close()
        self._index.close()

    def write(self, key: int, label: float | tuple[float, ...], picture: bytes) -> None:
        """Appends a record.

        Args:
            key: Key of the record; each one only once.
            label: One label, or several.
            picture: The encoded picture; may be empty.

        Raises:
            ValueError: The record exceeds the limit of the format.
            OSError: The file cannot be written.
        """
        if isinstance(label, tuple):
            header = _HEADER.pack(len(label), 0.0, key, 0) + struct.pack(f"<{len(label)}f", *label)
        else:
            header = _HEADER.pack(0, label, key, 0)
        self._index.write(f"{key}\t{self._record.tell()}\n")
        parts = _split_at_magic(header + picture)
        for place, part in enumerate(parts):
            kind = (
                _WHOLE if len(parts) == 1 else _FIRST if place == 0 else _LAST if place == len(parts) - 1 else _MIDDLE
            )
            if len(part) > _LENGTH:
                raise ValueError(f"a record of {len(part)} bytes exceeds the limit of the format")
            self._record.write(struct.pack("<II", MAGIC, kind << _FLAG_SHIFT | len(part)))
            self._record.write(part + bytes(_padded(len(part)) - len(part)))


def _split_at_magic(data: bytes) -> list[bytes]:
    """Splits data at magic numbers that start at a multiple of four bytes, which readers take for a new record."""
    parts, start, found = [], 0, data.find(_MAGIC)
    while found >= 0:
        if found % 4 == 0:
            parts.append(data[start:found])
            start = found + 4
            found = data.find(_MAGIC, start)
        else:
            found = data.find(_MAGIC, found + 1)
    return [*parts, data[start:]]


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]
