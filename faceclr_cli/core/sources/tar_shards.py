"""Tar shards in the format of WebDataset: pictures and their labels under a common key."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import MAX_BYTES
from faceclr_cli.core.sources.file_patterns import find_parts
from faceclr_cli.core.sources.positional_read import read_at
from faceclr_cli.core.sources.tars import BLOCK, READ_ERRORS, Tar, error_text, is_compressed, is_tar
from faceclr_cli.core.text import display_path

_PICTURES = frozenset({"jpg", "jpeg", "png", "webp"})
_LABELS = ("json", "cls", "txt")
_KEYS = ("identity", "person", "name", "label", "cls", "class", "id")
_LONGEST_LABEL = 2**16
SUFFIX = ".tar"


def is_shards(path: Path) -> bool:
    """Returns True for a folder, a pattern or a single path of tar files that have labels in WebDataset's format."""
    try:
        shards = find_shards(path)
        return bool(shards) and any(
            group.label is not None for _, group in zip(range(4), _groups(shards[0]), strict=False)
        )
    except (OSError, DataError):
        return False


def find_shards(path: Path) -> list[Path]:
    """Returns the shards in a folder, those that match a pattern, or a single file; see `find_parts`."""
    return find_parts(path, SUFFIX)


@dataclass(frozen=True, kw_only=True)
class _Group:
    key: str
    offset: int
    size: int
    label: int | str | None
    path: str | None


@dataclass(frozen=True)
class ShardListing:
    """The pictures of shards, in the order of the shards' names and of their contents.

    Attributes:
        labels: Label of each picture: a whole number, a name, or None. Length: N.
        paths: Path of each picture according to the JSON file beside it, or None. Length: N.
        shards: Number of the shard of each picture. Shape: (N,).
        offsets: Position of each picture in its shard. Shape: (N,).
        sizes: Size of each picture in bytes. Shape: (N,).
        flaw: Description of what cannot be read, or None.
    """

    labels: list[int | str | None]
    paths: list[str | None] | None
    shards: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    flaw: str | None


class TarShards:
    """Open tar shards.

    Args:
        path: A folder or a pattern; see `find_shards`.

    Raises:
        DataError: A shard of a range is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._paths = find_shards(path)
        self._files: dict[int, BinaryIO] = {}

    def scan(self) -> ShardListing:
        """Lists the pictures.

        Raises:
            DataError: No shard can be read, or there is no picture.
        """
        flaw: str | None = None
        labels, paths = list[int | str | None](), list[str | None]()
        shards, offsets, sizes = array("q"), array("q"), array("q")
        known: dict[int | str | None, int | str | None] = {}  # one object for each label
        for number, shard in enumerate(self._paths):
            try:
                for group in _groups(shard):
                    shards.append(number)
                    offsets.append(group.offset)
                    sizes.append(group.size)
                    labels.append(known.setdefault(group.label, group.label))
                    paths.append(group.path)
            except DataError as error:
                flaw = str(error).removeprefix(f"{display_path(self._path)}: ")
        if not sizes:
            raise DataError(f"{display_path(self._path)}: {flaw or 'no pictures in these shards'}")
        return ShardListing(
            labels=labels,
            paths=paths if any(paths) else None,
            shards=np.frombuffer(shards, np.int64),
            offsets=np.frombuffer(offsets, np.int64),
            sizes=np.frombuffer(sizes, np.int64),
            flaw=flaw,
        )

    def close(self) -> None:
        """Closes all shards."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def read(self, number: int, offset: int, size: int, place: int) -> bytes:
        """Returns an encoded picture. May be called from several threads.

        Args:
            number: Number of its shard.
            offset: Its position in the shard.
            size: Its size in bytes.
            place: Its number in the container, for errors.

        Raises:
            DataError: The shard is damaged there.
        """
        origin = f"{display_path(self._paths[number])}#{place:08d}"
        try:
            if number not in self._files:
                self._files[number] = open(self._paths[number], "rb")  # noqa: SIM115
            data = read_at(self._files[number], offset, min(size, MAX_BYTES + 1))
        except OSError as error:
            raise DataError(f"{origin}: cannot be read ({error.strerror})") from error
        if len(data) < min(size, MAX_BYTES + 1):
            raise DataError(f"{origin}: the end is missing")
        return data


def _groups(shard: Path) -> Iterator[_Group]:
    """Yields the pictures of a shard with their labels. The members of a group are consecutive."""
    with open(shard, "rb") as file:
        head = file.read(BLOCK)
        if not is_tar(head):
            kind = "compressed; shards must be plain tar files" if is_compressed(head) else "not a tar file"
            raise DataError(f"{display_path(shard)}: {kind}")
        file.seek(0)
        tar = Tar(file, head)
        key, picture, labels, path = "", None, dict[str, int | str](), None
        try:
            for entry in tar.entries():
                if not entry.isreg() or entry.issparse():
                    continue
                folder, _, name = entry.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                own = f"{folder}/{stem}" if folder else stem
                if own != key:
                    if picture is not None:
                        yield _Group(key=key, offset=picture[0], size=picture[1], label=_first(labels), path=path)
                    key, picture, labels, path = own, None, {}, None
                suffix = suffix.lower()
                if suffix in _PICTURES and picture is None:
                    picture = entry.offset_data, entry.size
                elif suffix in _LABELS and entry.size <= _LONGEST_LABEL:
                    label, given = _parse(suffix, tar.content(entry.offset_data, entry.size))
                    path = given or path
                    if label is not None:
                        labels[suffix] = label
        except READ_ERRORS as error:
            raise DataError(f"{display_path(shard)}: damaged ({display_path(error_text(error))})") from error
        if picture is not None:
            yield _Group(key=key, offset=picture[0], size=picture[1], label=_first(labels), path=path)
        if tar.flaw is not None:
            raise DataError(f"{display_path(shard)}: {tar.flaw}")


def _first(labels: dict[str, int | str]) -> int | str | None:
    return next((labels[suffix] for suffix in _LABELS if suffix in labels), None)


def _parse(suffix: str, content: bytes) -> tuple[int | str | None, str | None]:
    """Returns the label in a file beside a picture, and the path of the picture if it is a JSON file with one."""
    try:
        text = content.decode("utf-8-sig").strip()
        if suffix == "json":
            about = json.loads(text)
            if not isinstance(about, dict):
                about = {_KEYS[0]: about}
            found = next((about[key] for key in _KEYS if key in about), None)
            path = about.get("path")
            label = found if isinstance(found, int | str) and not isinstance(found, bool) else None
            return label, path if isinstance(path, str) else None
    except (UnicodeError, ValueError, RecursionError):
        return None, None
    if suffix == "txt" and not text.isdigit():
        return None, None  # WebDataset keeps captions in .txt files.
    return int(text) if text.isdigit() and len(text) < 10 else text or None, None
