"""Containers of data sets: record files, Parquet files and folders of tar shards, read in place.

Unlike archives of photographs they state a label for each picture, and hold millions of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from faceclr_cli.core.sources import parquet_file, record_file
from faceclr_cli.core.sources.parquet_file import ParquetFile
from faceclr_cli.core.sources.record_file import RecordFile, is_record_file
from faceclr_cli.core.sources.tar_shards import TarShards, is_shard_folder
from faceclr_cli.core.text import canonical

_UNNAMED = "_"
_HEAD = 8


class Container(Protocol):
    """Pictures with labels, in a fixed order.

    Attributes:
        path: The file or folder.
        flaw: What of it cannot be read, or None.
    """

    path: Path
    flaw: str | None

    def __len__(self) -> int:
        """The number of pictures."""
        ...

    def identity(self, place: int) -> str | None:
        """Returns the name of the person, or None if the picture has no label."""
        ...

    def name(self, place: int) -> str:
        """Returns the path of a picture inside the container: `<person>/<number>.jpg`, the same on any machine."""
        ...

    def size(self, place: int) -> int:
        """Returns the size of the encoded picture in bytes."""
        ...

    def read(self, place: int) -> bytes:
        """Returns the encoded picture. May be called from several threads.

        Raises:
            DataError: The container is damaged there.
        """
        ...

    def close(self) -> None:
        """Closes all files."""
        ...


def is_container(path: Path) -> bool:
    """Returns True if a file or folder is a container, by its first bytes or by its name."""
    if path.is_dir():
        return is_shard_folder(path)
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


def open_container(path: Path) -> Container:
    """Opens a container; see `is_container`.

    Raises:
        DataError: It is damaged, or a package that reads it is missing.
    """
    if path.is_dir():
        shards = TarShards(path)
        return _Labeled(path, shards.labels, shards.paths, shards.read, shards.close, shards.flaw, shards.sizes)
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head.startswith(parquet_file.MAGIC) or (path.suffix.lower() == parquet_file.SUFFIX and not is_record_file(head)):
        table = ParquetFile(path)
        return _Labeled(path, table.labels, table.paths, table.read, table.close, None, None)
    return _Records(path)


def _listed_names(paths: Sequence[str | None]) -> list[str] | None:
    """Returns `<person>/<file>` of the paths that a container gives its pictures; None if they are not unique names."""
    names = []
    for path in paths:
        parts = PurePosixPath(path or "").parts[-2:]
        if len(parts) != 2 or any(part in ("..", "/", ".") or part.startswith(".") or "\0" in part for part in parts):
            return None
        names.append(canonical(parts[0]) + "/" + parts[1])
    return names if len(set(names)) == len(names) else None


class _Records:
    """A record file as a container. Names are made when they are asked for, because there may be millions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = RecordFile(path)
        listed = self._file.names()
        self._names = _listed_names([listed.get(key) for key in self._file.index.keys.tolist()]) if listed else None
        self.flaw = self._file.flaw

    def __len__(self) -> int:
        return len(self._file.index)

    def identity(self, place: int) -> str | None:
        if self._names is not None:
            person = self._names[place].partition("/")[0]
            return None if person == _UNNAMED else person
        label = int(self._file.index.labels[place])
        return None if label < 0 else f"{label:07d}"

    def name(self, place: int) -> str:
        if self._names is not None:
            return self._names[place]
        return f"{self.identity(place) or _UNNAMED}/{int(self._file.index.keys[place]):08d}.jpg"

    def size(self, place: int) -> int:
        return int(self._file.index.sizes[place])

    def read(self, place: int) -> bytes:
        return self._file.read(place)

    def close(self) -> None:
        self._file.close()


class _Labeled:
    """Pictures with a list of labels as a container."""

    def __init__(
        self,
        path: Path,
        labels: Sequence[int | str | None],
        paths: Sequence[str | None],
        read: Callable[[int], bytes],
        close: Callable[[], None],
        flaw: str | None,
        sizes: Sequence[int] | None,
    ) -> None:
        self.path, self.flaw = path, flaw
        self._labels, self._names, self._sizes = labels, _listed_names(paths), sizes
        self.read, self.close = read, close

    def __len__(self) -> int:
        return len(self._labels)

    def identity(self, place: int) -> str | None:
        if self._names is not None:
            person = self._names[place].partition("/")[0]
            return None if person == _UNNAMED else person
        label = self._labels[place]
        if isinstance(label, int):
            return None if label < 0 else f"{label:07d}"
        safe = (label or "").replace("/", "_").replace("\0", "").strip().lstrip(".")
        return canonical(safe) if safe else None

    def name(self, place: int) -> str:
        return f"{self.identity(place) or _UNNAMED}/{place:08d}.jpg" if self._names is None else self._names[place]

    def size(self, place: int) -> int:
        return 0 if self._sizes is None else int(self._sizes[place])
