"""Containers of data sets: record files, Parquet files, LMDB databases and tar shards, read in place.

Unlike archives of photographs, they state a label for each picture, and may hold millions of pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.sources import lmdb_file, parquet_file, record_file
from faceclr_cli.core.sources.container_index import (
    ContainerIndex,
    ContainerListing,
    NameTable,
    PictureRow,
    container_stamp,
    index_path,
    open_index,
    write_index,
)
from faceclr_cli.core.sources.lmdb_file import LmdbFile, is_lmdb_file
from faceclr_cli.core.sources.parquet_file import ParquetTables, is_tables
from faceclr_cli.core.sources.record_file import RecordFile, is_record_file
from faceclr_cli.core.sources.tar_shards import TarShards, find_shards, is_shards
from faceclr_cli.core.text import canonical

_UNNAMED = "_"
_HEAD = 8
_LARGEST_SIZE = 2**32 - 1

Label = int | str | None


class _Reader(Protocol):
    """An open container in one of the supported formats."""

    def listing(self) -> ContainerListing:
        """Lists its pictures.

        Raises:
            DataError: It is damaged.
        """
        ...

    def read(self, row: PictureRow, place: int) -> bytes:
        """Returns the encoded picture, given its row of the index."""
        ...

    def close(self) -> None:
        """Closes all files."""
        ...


class Container:
    """Pictures with labels, in a fixed order. It can be sent to another process, which opens it again.

    Attributes:
        path: The file, the folder, or the pattern of the names of files.
        index: Its pictures.
        stamp: Digest of the path and the state of the files.
    """

    def __init__(self, path: Path, index: ContainerIndex, reader: _Reader, stamp: str) -> None:
        self.path, self.index = path, index
        self.stamp = stamp
        self._reader = reader

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return open_container, (self.path,)

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.index)

    @property
    def flaw(self) -> str | None:
        """Description of what cannot be read, or None."""
        return self.index.flaw

    @property
    def people(self) -> tuple[str, ...]:
        """The names of the people, sorted."""
        return self.index.people

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index into `people` of the person of each picture, -1 if it has no label. Shape: (N,)."""
        return self.index.persons.astype(np.int64)

    @property
    def names(self) -> NameTable:
        """The path of each picture inside the container: `<person>/<number>.jpg`, the same on any machine."""
        return self.index.names

    @property
    def bytes_together(self) -> int:
        """Maximum number of bytes that are read to get one picture; 0 if each picture is read by itself."""
        return self._reader.bytes_together if isinstance(self._reader, _Tables) else 0

    def identity(self, place: int) -> str | None:
        """Returns the name of the person, or None if the picture has no label."""
        person = int(self.index.persons[place])
        return None if person < 0 else self.index.people[person]

    def name(self, place: int) -> str:
        """Returns the path of a picture; see `names`."""
        return self.index.names[place]

    def number(self, place: int) -> int:
        """Returns the number by which messages name a picture: its key, or its place if it has none."""
        return self.index.row(place).key or place

    def size(self, place: int) -> int:
        """Returns the size of the encoded picture in bytes; 0 if it is not known before it is read."""
        return self.index.row(place).size

    def read(self, place: int) -> bytes:
        """Returns the encoded picture. May be called from several threads.

        Raises:
            DataError: The container is damaged there.
        """
        return self._reader.read(self.index.row(place), place)

    def rest(self) -> None:
        """Frees the memory that is needed only while pictures are read; the next read allocates it again."""
        if isinstance(self._reader, _Tables):
            self._reader.close()

    def close(self) -> None:
        """Closes all files."""
        self._reader.close()


def is_container(path: Path) -> bool:
    """Returns True if a file or folder is a container, by its first bytes or by its name.

    A folder of tar shards or of Parquet files is a container too, and so is a pattern of their names, such as
    `shards-*.tar` or `shards-{000..012}.tar`.
    """
    if is_shards(path) or is_lmdb_file(path) or is_tables(path):
        return True
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    suffix = path.suffix.lower()
    return (
        is_record_file(head)
        or head.startswith(parquet_file.MAGIC)
        or suffix in (record_file.SUFFIX, parquet_file.SUFFIX)
    )


def path_exists(path: Path) -> bool:
    """Returns True if a path exists, or is a pattern of the names of shards that exist."""
    return path.exists() or is_container(path)


def open_container(path: Path) -> Container:
    """Opens a container; see `is_container`. Its index is kept in the user's cache.

    Raises:
        DataError: It is damaged, or a package that reads it is missing.
    """
    reader, files = _open(path)
    try:
        stamp = container_stamp(path, files)
        target = index_path(stamp)
        index = open_index(target)
        if index is None:
            index = write_index(target, reader.listing())
    except BaseException:
        reader.close()
        raise
    return Container(path, index, reader, stamp)


def _open(path: Path) -> tuple[_Reader, list[Path]]:
    """Returns the reader of a container, and all files that it consists of."""
    if is_lmdb_file(path):
        return _Database(LmdbFile(path)), lmdb_file.data_files(path)
    if is_tables(path):
        tables = ParquetTables(path)
        return _Tables(tables), tables.files
    if not path.is_file() or is_shards(path):
        return _Shards(TarShards(path)), find_shards(path)
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head.startswith(parquet_file.MAGIC) or (path.suffix.lower() == parquet_file.SUFFIX and not is_record_file(head)):
        return _Tables(ParquetTables(path)), [path]
    beside = [path.with_suffix(suffix) for suffix in (".idx", ".lst")]
    return _Records(RecordFile(path)), [path, *(each for each in beside if each.is_file())]


def _listed_names(paths: Sequence[str | None]) -> list[str] | None:
    """Returns the `<person>/<file>` part of the paths in a container; None if these names are not unique."""
    names = []
    for path in paths:
        parts = PurePosixPath(path or "").parts[-2:]
        if len(parts) != 2 or any(part in ("..", "/", ".") or part.startswith(".") or "\0" in part for part in parts):
            return None
        names.append(canonical(parts[0]) + "/" + parts[1])
    return names if len(set(names)) == len(names) else None


def _identify(label: Label) -> str | None:
    """Returns the name of the person with a label."""
    if isinstance(label, int):
        return None if label < 0 else f"{label:07d}"
    safe = (label or "").replace("/", "_").replace("\0", "").strip().lstrip(".")
    return canonical(safe) if safe else None


def _list(
    labels: Iterable[Label],
    paths: Sequence[str | None] | None,
    numbers: Iterable[int],
    flaw: str | None,
    **columns: Any,
) -> ContainerListing:
    """Lists pictures with their names, which consist of label and number unless the paths are usable names.

    Args:
        labels: The label of each picture.
        paths: The path of each picture in the container, if it has any.
        numbers: The number of each picture, for its name.
        flaw: Description of what cannot be read.
        columns: The fields of a `PictureRow`.
    """
    known: dict[Label, str | None] = {}
    identities = [known[label] if label in known else known.setdefault(label, _identify(label)) for label in labels]
    listed = None if paths is None else _listed_names(paths)
    if listed is not None:
        people = (name.partition("/")[0] for name in listed)
        own = {person: None if person == _UNNAMED else person for person in set(map(_person, listed))}
        return ContainerListing(columns=columns, identities=[own[person] for person in people], names=listed, flaw=flaw)
    names = (f"{who or _UNNAMED}/{number:08d}.jpg" for who, number in zip(identities, numbers, strict=True))
    return ContainerListing(columns=columns, identities=identities, names=names, flaw=flaw)


def _person(name: str) -> str:
    return name.partition("/")[0]


def _limited(sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum(np.asarray(sizes, dtype=np.int64), _LARGEST_SIZE)


class _Records:
    def __init__(self, file: RecordFile) -> None:
        self._file = file
        self.close = file.close

    def listing(self) -> ContainerListing:
        """See `_Reader`."""
        index, listed = self._file.index, self._file.names()
        keys = index.keys.tolist()
        return _list(
            index.labels.tolist(), [listed.get(key) for key in keys] if listed else None, keys, self._file.flaw,
            key=index.keys, offset=index.offsets, size=_limited(index.sizes),
        )  # fmt: skip

    def read(self, row: PictureRow, place: int) -> bytes:
        """See `_Reader`."""
        del place
        return self._file.read_record(row.key, row.offset)


class _Shards:
    def __init__(self, shards: TarShards) -> None:
        self._shards = shards
        self.close = shards.close

    def listing(self) -> ContainerListing:
        """See `_Reader`."""
        found = self._shards.scan()
        return _list(
            found.labels, found.paths, range(len(found.labels)), found.flaw,
            file=found.shards, offset=found.offsets, size=_limited(found.sizes),
        )  # fmt: skip

    def read(self, row: PictureRow, place: int) -> bytes:
        """See `_Reader`."""
        return self._shards.read(row.file, row.offset, row.size, place)


class _Tables:
    """Parquet files, whose pictures are read in groups of rows."""

    def __init__(self, tables: ParquetTables) -> None:
        self._tables = tables
        self.close = tables.close

    @property
    def bytes_together(self) -> int:
        """See `Container`."""
        return self._tables.bytes_together

    def listing(self) -> ContainerListing:
        """See `_Reader`."""
        found = self._tables.scan()
        return _list(found.labels, found.paths, range(len(found.rows)), None, file=found.files, offset=found.rows)

    def read(self, row: PictureRow, place: int) -> bytes:
        """See `_Reader`."""
        del place
        return self._tables.read(row.file, row.offset)


class _Database:
    def __init__(self, file: LmdbFile) -> None:
        self._file = file
        self.close = file.close

    def listing(self) -> ContainerListing:
        """See `_Reader`."""
        found = self._file.scan()
        return _list(found.labels, None, found.keys, found.flaw, key=found.keys, size=_limited(found.sizes))

    def read(self, row: PictureRow, place: int) -> bytes:
        """See `_Reader`."""
        del place
        return self._file.read(row.key)
