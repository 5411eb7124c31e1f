"""The index of a container: the position, the person and the name of each picture.

It is created once and kept in the user's cache, so that a container of millions of pictures opens immediately. The
people of the pictures are memory-mapped; everything else is read from the file on demand.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path, cache_folder, evict
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.positional_read import read_at
from faceclr_cli.core.text import display_path

SUFFIX = ".index"
_LAYOUT = 1  # Increment when the format of index files changes.
_KEPT = 32  # Indexes and their marks in the cache; the least recently used ones are removed.
FEWEST = 4096  # Containers with fewer pictures are indexed as quickly as an index is opened.
_LENGTH = struct.Struct("<Q")
_ALIGNED = 64
_BLOCK = 65536  # Names that are read together.

_ROW = struct.Struct("<HqqI")


class PictureRow(NamedTuple):
    """The position of a picture.

    Attributes:
        file: Number of its file in the container.
        key: Its key.
        offset: Its position in the file.
        size: Its size in bytes.
    """

    file: int
    key: int
    offset: int
    size: int


class NameTable(Sequence[str]):
    """Names of pictures, in a file.

    Attributes:
        digest: SHA-256 of the names in their order.

    Args:
        file: The open file.
        count: Number of names.
        ends: Position in the file of the end of each name, counted from `names`.
        names: Position in the file of the first name.
        digest: See above.
    """

    def __init__(self, file: BinaryIO, count: int, ends: int, names: int, digest: str) -> None:
        self._file, self._count, self._ends, self._names = file, count, ends, names
        self.digest = digest

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Sends the path of the file to another process, or the names themselves if the file has no path."""
        places = self._count, self._ends, self._names, self.digest
        if isinstance(self._file.name, str | os.PathLike):
            return _open_names, (os.fspath(self._file.name), *places)
        end = self._names + (int.from_bytes(read_at(self._file, self._ends + 8 * self._count - 8, 8), "little"))
        return _copy_names, (read_at(self._file, self._ends, end - self._ends), self._ends, *places)

    def __iter__(self) -> Iterator[str]:
        return self.each(np.arange(self._count))

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self._count))]
        own = range(self._count)[place]
        return self._span(own, own + 1)[0]

    def each(self, rows: NDArray[Any]) -> Iterator[str]:
        """Yields the names of rows, shape (n,). Ascending rows are read together."""
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            first, last = int(some.min()), int(some.max())
            if last - first > 8 * len(some):
                yield from (self[int(row)] for row in some)
                continue
            found = self._span(first, last + 1)
            yield from (found[row] for row in (some - first).tolist())

    def _span(self, start: int, stop: int) -> list[str]:
        before = max(0, start - 1)
        ends = np.frombuffer(read_at(self._file, self._ends + 8 * before, 8 * (stop - before)), "<i8").tolist()
        bounds = ends if start else [0, *ends]
        data = read_at(self._file, self._names + bounds[0], bounds[-1] - bounds[0])
        return [
            data[left - bounds[0] : right - bounds[0]].decode("utf-8", "surrogateescape")
            for left, right in pairwise(bounds)
        ]


def _open_names(path: str, *places: Any) -> NameTable:
    return NameTable(open(path, "rb"), *places)


def _copy_names(content: bytes, start: int, *places: Any) -> NameTable:
    file: Any = tempfile.TemporaryFile()  # noqa: SIM115
    file.seek(start)
    file.write(content)
    file.flush()
    return NameTable(file, *places)


@dataclass(frozen=True, eq=False, kw_only=True)
class ContainerIndex:
    """The pictures of a container.

    Attributes:
        persons: Index into `people` of each picture's person, -1 if unknown, memory-mapped. Shape: (N,).
        people: The names of the people, sorted.
        names: The path of each picture inside the container, `<person>/<file>`.
        flaw: Description of what cannot be read, or None.
        path: The index in the cache; None if it is in an unnamed file.
        file: The file of the index.
        start: Position of the first row in the file.
    """

    persons: NDArray[np.int32]
    people: tuple[str, ...]
    names: NameTable
    flaw: str | None
    path: Path | None
    file: BinaryIO
    start: int

    def __len__(self) -> int:
        return len(self.persons)

    @property
    def identities(self) -> IndexIdentities:
        """The person of each picture, or None."""
        return IndexIdentities(self.persons, self.people)

    def row(self, place: int) -> PictureRow:
        """Returns the position of a picture, read from the file because mapped pages would stay in memory."""
        place = range(len(self))[place]
        return PictureRow._make(_ROW.unpack(read_at(self.file, self.start + place * _ROW.size, _ROW.size)))

    def has_mark(self, name: str) -> bool:
        """Returns True if `set_mark` was called for this index, now or by an earlier run."""
        return self.path is not None and self.path.with_suffix(f".{name}{SUFFIX}").exists()

    def set_mark(self, name: str) -> None:
        """Records in the cache that a check of the container succeeded."""
        if self.path is not None:
            with suppress(OSError):
                self.path.with_suffix(f".{name}{SUFFIX}").touch()


class IndexIdentities(Sequence[str | None]):
    """The person of each picture, or None; looked up on access, because there may be millions.

    Args:
        persons: Index into `people` of each picture's person, -1 if unknown. Shape: (N,).
        people: The names of the people, sorted.
    """

    def __init__(self, persons: NDArray[np.int32], people: tuple[str, ...]) -> None:
        self._persons, self._people = persons, people

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return IndexIdentities, (np.array(self._persons), self._people)

    def __len__(self) -> int:
        return len(self._persons)

    def __iter__(self) -> Iterator[str | None]:
        return map(self._name, self._persons.tolist())

    @overload
    def __getitem__(self, place: int) -> str | None: ...

    @overload
    def __getitem__(self, place: slice) -> list[str | None]: ...

    def __getitem__(self, place: int | slice) -> str | list[str | None] | None:
        if isinstance(place, slice):
            return [self._name(person) for person in self._persons[place].tolist()]
        return self._name(int(self._persons[place]))

    @property
    def people(self) -> tuple[str, ...]:
        """The names of the people, sorted."""
        return self._people

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index into `people` of the person of each picture, -1 if unknown. Shape: (N,)."""
        return self._persons.astype(np.int64)

    def _name(self, person: int) -> str | None:
        return None if person < 0 else self._people[person]


@dataclass(frozen=True, eq=False, kw_only=True)
class ContainerListing:
    """The pictures that a container lists, before they are indexed.

    Attributes:
        columns: The fields of a `PictureRow`; omitted fields are zero.
        identities: The person of each picture, or None.
        names: The path of each picture inside the container.
        flaw: Description of what cannot be read, or None.
    """

    columns: Mapping[str, Sequence[int] | NDArray[Any]]
    identities: Sequence[str | None]
    names: Iterable[str]
    flaw: str | None


def container_stamp(path: Path, files: Iterable[Path]) -> str:
    """Returns a digest of the path of a container and of the names, sizes and modification times of its files.

    As for folders of faces, these represent the content.

    Raises:
        DataError: A file is missing.
    """
    digest = hashlib.sha256(json.dumps([_LAYOUT, os.fspath(path.absolute())]).encode(errors="surrogateescape"))
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"{display_path(file)}: cannot be read ({error.strerror})") from error
        digest.update(os.fsencode(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return digest.hexdigest()[:32]


def index_path(stamp: str) -> Path | None:
    """Returns the path of a container's index in the cache; None if there is no cache."""
    try:
        return cache_folder() / f"{stamp}{SUFFIX}"
    except FileNotFoundError:
        return None


def open_index(path: Path | None) -> ContainerIndex | None:
    """Opens an index of the cache; returns None if it is missing or damaged."""
    if path is None:
        return None
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError:
        return None
    try:
        index = _read(file, path)
        os.utime(path)  # Records the last use for `evict`.
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        file.close()
        return None
    return index


def write_index(target: Path | None, listing: ContainerListing) -> ContainerIndex:
    """Writes an index and opens it: in the cache, or in an unnamed file if it is small or there is no cache."""
    if target is not None and len(listing.identities) >= FEWEST:
        with suppress(OSError):
            with atomic_path(target) as temporary, open(temporary, "wb") as file:
                _write(file, listing)
            evict(target, keep=_KEPT)
            if (written := open_index(target)) is not None:
                return written
    unnamed: Any = tempfile.TemporaryFile()  # noqa: SIM115
    _write(unnamed, listing)
    unnamed.flush()
    return _read(unnamed, None)


def _write(file: BinaryIO, listing: ContainerListing) -> None:
    identities = listing.identities
    people = sorted({name for name in identities if name is not None})
    place = {name: number for number, name in enumerate(people)}
    count = len(identities)
    persons = np.fromiter((-1 if name is None else place[name] for name in identities), "<i4", count)
    rows = np.zeros(count, [("file", "<u2"), ("key", "<i8"), ("offset", "<i8"), ("size", "<u4")])
    for name, values in listing.columns.items():
        rows[name] = values
    digest, ends, blob, total = hashlib.sha256(), np.empty(count, "<i8"), bytearray(), 0
    for number, name in enumerate(listing.names):
        encoded = name.encode("utf-8", "surrogateescape")
        digest.update(encoded + b"\n")
        blob += encoded
        total += len(encoded)
        ends[number] = total
    parts: dict[str, bytes | bytearray] = {
        "persons": persons.tobytes(),
        "rows": rows.tobytes(),
        "ends": ends.tobytes(),
        "names": blob,
        "people": "\0".join(people).encode("utf-8", "surrogateescape"),
    }
    about = {"count": count, "people": len(people), "flaw": listing.flaw, "digest": digest.hexdigest()}
    start, places = 0, {}
    for name, part in parts.items():
        places[name] = [start, len(part)]
        start = _aligned(start + len(part))
    header = json.dumps({**about, "parts": places}).encode()
    file.write(_LENGTH.pack(len(header)) + header)
    begin = _aligned(file.tell())
    for name, part in parts.items():
        file.seek(begin + places[name][0])
        file.write(part)
    file.truncate(begin + start)


def _read(file: BinaryIO, path: Path | None) -> ContainerIndex:
    (length,) = _LENGTH.unpack(read_at(file, 0, _LENGTH.size))
    header = json.loads(read_at(file, _LENGTH.size, min(length, 2**20)))
    begin, count = _aligned(_LENGTH.size + length), int(header["count"])
    places = {name: (begin + int(start), int(size)) for name, (start, size) in header["parts"].items()}
    end = max(start + size for start, size in places.values())
    if os.fstat(file.fileno()).st_size < end:
        raise ValueError("the index is damaged")
    persons = np.memmap(file, "<i4", "r", places["persons"][0], (count,)) if count else np.empty(0, "<i4")
    names = read_at(file, *places["people"]).decode("utf-8", "surrogateescape")
    return ContainerIndex(
        persons=persons,
        people=tuple(names.split("\0")) if header["people"] else (),
        names=NameTable(file, count, places["ends"][0], places["names"][0], str(header["digest"])),
        flaw=header["flaw"],
        path=path,
        file=file,
        start=places["rows"][0],
    )


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
