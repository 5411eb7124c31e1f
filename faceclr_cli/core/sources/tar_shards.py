"""Folders of tar shards in the form of WebDataset: pictures and their labels under a common key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import MAX_BYTES
from faceclr_cli.core.sources.positional_read import read_at
from faceclr_cli.core.sources.tars import BLOCK, READ_ERRORS, Tar, error_text, is_compressed, is_tar
from faceclr_cli.core.text import display_path

_PICTURES = frozenset({"jpg", "jpeg", "png", "webp"})
_LABELS = ("json", "cls", "txt")
_KEYS = ("identity", "person", "name", "label", "cls", "class", "id")
_LONGEST_LABEL = 2**16


def is_shard_folder(path: Path) -> bool:
    """Returns True if a folder contains tar files whose pictures have labels beside them, as WebDataset writes them."""
    try:
        shards = _shards(path)
        return bool(shards) and any(
            group.label is not None for _, group in zip(range(4), _groups(shards[0]), strict=False)
        )
    except (OSError, DataError):
        return False


@dataclass(frozen=True, kw_only=True)
class _Group:
    key: str
    offset: int
    size: int
    label: int | str | None
    path: str | None


class TarShards:
    """The pictures of a folder of shards, in the order of the shards' names and of their contents.

    Attributes:
        labels: Label of each picture: a whole number, a name, or None. Length: N.
        keys: Key of each picture. Length: N.
        paths: Path that the JSON beside each picture gives it, or None. Length: N.
        sizes: Size of each picture in bytes. Length: N.
        flaw: What cannot be read, or None.

    Args:
        path: The folder.

    Raises:
        DataError: A shard cannot be read or is compressed, or there is no picture.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.flaw: str | None = None
        self.labels: list[int | str | None] = []
        self.keys: list[str] = []
        self.paths: list[str | None] = []
        self._paths = _shards(path)
        shards, offsets, sizes = list[int](), list[int](), list[int]()
        for number, shard in enumerate(self._paths):
            try:
                for group in _groups(shard):
                    shards.append(number)
                    offsets.append(group.offset)
                    sizes.append(group.size)
                    self.labels.append(group.label)
                    self.keys.append(group.key)
                    self.paths.append(group.path)
            except DataError as error:
                self.flaw = str(error).removeprefix(f"{display_path(path)}: ")
        if not sizes:
            raise DataError(f"{display_path(path)}: {self.flaw or 'no pictures in these shards'}")
        self._shards, self._offsets = np.array(shards, np.int32), np.array(offsets, np.int64)
        self.sizes: list[int] = sizes
        self._files: dict[int, BinaryIO] = {}

    def __len__(self) -> int:
        return len(self.sizes)

    def close(self) -> None:
        """Closes all shards."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def read(self, place: int) -> bytes:
        """Returns a picture as it was encoded. May be called from several threads.

        Raises:
            DataError: The shard is damaged there.
        """
        number, size = int(self._shards[place]), self.sizes[place]
        try:
            if number not in self._files:
                self._files[number] = open(self._paths[number], "rb")  # noqa: SIM115
            data = read_at(self._files[number], int(self._offsets[place]), min(size, MAX_BYTES + 1))
        except OSError as error:
            raise DataError(f"{display_path(self._paths[number])}: cannot be read ({error.strerror})") from error
        if len(data) < min(size, MAX_BYTES + 1):
            raise DataError(f"{display_path(self._paths[number])}: {self.keys[place]}: the end is missing")
        return data


def _shards(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.suffix == ".tar" and child.is_file())


def _groups(shard: Path) -> Iterator[_Group]:
    """Yields the pictures of a shard with their labels. The members of a group follow one another."""
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
    """Returns the label in a file beside a picture, and the path that a JSON file gives the picture."""
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
