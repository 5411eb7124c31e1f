"""Parquet files of pictures, in the format of Hugging Face datasets. Requires pyarrow.

The format is a column of structures with `bytes` and `path`, or of bytes, and a column of labels: texts, or whole
numbers, whose names are in the metadata of the schema if the data set has names.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.file_patterns import find_parts
from faceclr_cli.core.text import display_path

if TYPE_CHECKING:
    import pyarrow

SUFFIX = ".parquet"
MAGIC = b"PAR1"
_LABELS = ("label", "labels", "identity", "person", "class", "cls", "name", "id", "person_id", "identity_id")
_PICTURES = ("image", "img", "picture", "face", "jpg", "jpeg", "png", "bytes")
_MISSING = "reading Parquet files needs pyarrow; run: pip install 'faceclr[parquet]'"
_LARGEST_GROUP = 2**30
_MOST_OPEN = 64
"""Maximum number of files that are open at once."""


class ParquetFile:
    """An open Parquet file of pictures.

    Args:
        path: The file.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged or has no column of pictures.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise DataError(f"{display_path(path)}: {_MISSING}") from error
        self._errors = (OSError, ValueError, KeyError, pyarrow.ArrowException)
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
            schema = self._file.schema_arrow
            self._column, self._is_struct = _picture_column(schema)
            self._schema = schema
        except self._errors as error:
            raise DataError(f"{display_path(path)}: {_reason(error)}") from error
        metadata = self._file.metadata
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
        self._group, self._pictures = -1, None

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def bytes_together(self) -> int:
        """The size of the largest group of rows in bytes. To get one picture, its whole group is read."""
        metadata = self._file.metadata
        columns = [n for n in range(metadata.num_columns) if self._is_picture(metadata.schema.column(n).path)]
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        sizes = (sum(group.column(column).total_uncompressed_size for column in columns) for group in groups)
        return max(sizes, default=0)

    def _is_picture(self, path: str) -> bool:
        return path in (self._column, f"{self._column}.bytes")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def labels(self) -> Sequence[int | str | None]:
        """Returns the label of each picture: a whole number, a name, or None.

        Raises:
            DataError: The file is damaged.
        """
        try:
            return self._read_labels(self._schema)
        except self._errors as error:
            raise DataError(f"{display_path(self._path)}: {_reason(error)}") from error

    def paths(self) -> Sequence[str | None]:
        """Returns the path of each picture, or None.

        Raises:
            DataError: The file is damaged.
        """
        try:
            return self._read_paths(self._schema)
        except self._errors as error:
            raise DataError(f"{display_path(self._path)}: {_reason(error)}") from error

    def read(self, place: int) -> bytes:
        """Returns an encoded picture. Neighbors are read together, so ascending places are the fastest.

        Raises:
            DataError: The file is damaged there, or the row has no picture.
        """
        group = bisect_right(self._starts, place) - 1
        try:
            with self._lock:
                if group != self._group:
                    self._pictures, self._group = self._read_group(group), group
                value = self._pictures[place - self._starts[group]].as_py()  # type: ignore[index]
        except self._errors as error:
            raise DataError(f"{display_path(self._path)}#{place:08d}: {_reason(error)}") from error
        if not value:
            raise DataError(f"{display_path(self._path)}#{place:08d}: no picture in this row")
        return bytes(value)

    def _read_group(self, group: int) -> pyarrow.ChunkedArray:
        size = self._file.metadata.row_group(group).total_byte_size
        if size > _LARGEST_GROUP:
            raise ValueError(f"a group of rows has {size / 2**30:.1f} GiB; write it with smaller groups")
        name = f"{self._column}.bytes" if self._is_struct else self._column
        column = self._file.read_row_group(group, columns=[name], use_threads=False).column(0)
        return column.combine_chunks().field("bytes") if self._is_struct else column

    def _read_labels(self, schema: pyarrow.Schema) -> Sequence[int | str | None]:
        import pyarrow

        for name in _LABELS:
            index = schema.get_field_index(name)
            kind = schema.field(index).type if index >= 0 else None
            if kind is None or not (
                pyarrow.types.is_integer(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
            ):
                continue
            names = _class_names(schema, name)
            values: list[int | str | None] = self._file.read(columns=[name]).column(0).to_pylist()
            return [names.get(value, value) if isinstance(value, int) else value for value in values]
        return [None] * self._file.metadata.num_rows

    def _read_paths(self, schema: pyarrow.Schema) -> Sequence[str | None]:
        rows = self._file.metadata.num_rows
        field = schema.field(self._column).type
        if not self._is_struct or field.get_field_index("path") < 0:
            return [None] * rows
        column = self._file.read(columns=[f"{self._column}.path"]).column(0)
        paths: list[str | None] = column.combine_chunks().field("path").to_pylist()
        return paths


class ParquetTables:
    """Parquet files of pictures: a folder of them, those that match a pattern, or a single file.

    A file is opened when it is read, since the list of its groups of rows takes memory.

    Args:
        path: See `find_parts`.

    Raises:
        DataError: pyarrow is not installed, or there is no file.
    """

    def __init__(self, path: Path) -> None:
        self.files = [path] if path.is_file() else find_parts(path, SUFFIX)
        self._path = path
        self._open = lru_cache(maxsize=_MOST_OPEN)(ParquetFile)
        if not self.files:
            raise DataError(f"{display_path(path)}: contains no Parquet files")
        if find_spec("pyarrow") is None:
            raise DataError(f"{display_path(path)}: {_MISSING}")

    @property
    def bytes_together(self) -> int:
        """The size of the largest group of rows of any file in bytes."""
        return max(self._open(file).bytes_together for file in self.files)

    def scan(self) -> TableListing:
        """Lists the pictures.

        Raises:
            DataError: A file is damaged.
        """
        labels, paths = list[int | str | None](), list[str | None]()
        numbers, rows = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
        for number, file in enumerate(self.files):
            table = self._open(file)
            labels += table.labels()
            paths += table.paths()
            numbers.append(np.full(len(table), number, np.int64))
            rows.append(np.arange(len(table), dtype=np.int64))
        return TableListing(labels, paths, np.concatenate(numbers), np.concatenate(rows))

    def read(self, number: int, row: int) -> bytes:
        """Returns an encoded picture; see `ParquetFile.read`."""
        return self._open(self.files[number]).read(row)

    def close(self) -> None:
        """Closes all files."""
        self._open.cache_clear()


@dataclass(frozen=True)
class TableListing:
    """The pictures of Parquet files, in the order of the files' names.

    Attributes:
        labels: Label of each picture. Length: N.
        paths: Path of each picture in its file, or None. Length: N.
        files: Number of the file of each picture. Shape: (N,).
        rows: Row of each picture in its file. Shape: (N,).
    """

    labels: list[int | str | None]
    paths: list[str | None]
    files: NDArray[np.int64]
    rows: NDArray[np.int64]


def is_tables(path: Path) -> bool:
    """Returns True for a folder or a pattern of Parquet files if the first file has pictures."""
    try:
        found = [] if path.suffix == SUFFIX and path.is_file() else find_parts(path, SUFFIX)
        if not found:
            return False
        if find_spec("pyarrow") is None:
            return found[0].read_bytes()[: len(MAGIC)] == MAGIC  # Opening it reports what is missing.
        ParquetFile(found[0]).close()
    except (OSError, DataError):
        return False
    return True


def _picture_column(schema: pyarrow.Schema) -> tuple[str, bool]:
    """Returns the name of the column of pictures, and True if it holds structures."""
    import pyarrow

    names = sorted(schema.names, key=lambda name: (name not in _PICTURES, name))
    for name in names:
        kind = schema.field(name).type
        if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return name, True
        if name in _PICTURES and (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
            return name, False
    raise ValueError(f"no column of pictures; its columns are {', '.join(map(display_path, schema.names[:8]))}")


def _class_names(schema: pyarrow.Schema, column: str) -> Mapping[int, str]:
    """Returns the names of the labels that Hugging Face's metadata gives, by label."""
    try:
        about: Any = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][column]["names"]
        return {label: str(name) for label, name in enumerate(names)}
    except (KeyError, TypeError, ValueError):
        return {}


def _reason(error: Exception) -> str:
    return display_path((str(error) or type(error).__name__).partition("\n")[0])
