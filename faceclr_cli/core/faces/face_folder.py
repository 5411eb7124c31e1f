"""Prepared faces, opened for reading: folders written by `prepare` and `split`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import read_bytes
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import canonical, display_path

DESCRIPTION = "faceclr.json"
"""File in a folder of faces that describes how they were made."""

SPLIT = "split.json"
"""File in the parent folder of the parts of a split."""

UNNAMED = "_"
"""Subfolder for faces without an identity."""

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


class CropContainer(Protocol):
    """Reads crops that are not files; see `sources.containers`."""

    def read(self, place: int) -> bytes:
        """Returns an encoded crop."""
        ...

    def size(self, place: int) -> int:
        """Returns the size of an encoded crop in bytes."""
        ...


@runtime_checkable
class IndexedContainer(CropContainer, Protocol):
    """Crops of a training set, possibly millions, whose positions are in an index."""

    @property
    def stamp(self) -> str:
        """Changes with the path and the content of the container."""
        ...

    @property
    def bytes_together(self) -> int:
        """Maximum number of bytes that are read to get one crop; 0 if each crop is read by itself."""
        ...

    def number(self, place: int) -> int:
        """Returns the number by which messages name a crop."""
        ...


@runtime_checkable
class IndexedIdentities(Protocol):
    """The people of crops as numbers, which save memory for millions of crops."""

    @property
    def people(self) -> tuple[str, ...]:
        """The names of the people, sorted."""
        ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index into `people` of the person of each crop, -1 if unknown. Shape: (N,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class FaceFolder:
    """The crops of a folder, in an order that depends only on their names, or of a container, in its order.

    Attributes:
        root: The folder, or the file or folder of the container.
        fingerprint: How the crops were made.
        paths: Sorted paths of the crops relative to `root`, with forward slashes.
        identities: The person of each crop, or None if unknown. Same length as `paths`. Names are normalized with
            `text.canonical`, so they may differ from the folder names.
        container: Reads the crops if they are not files.
    """

    root: Path
    fingerprint: Fingerprint
    paths: Sequence[str]
    identities: Sequence[str | None]
    container: CropContainer | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, place: int) -> bytes:
        """Returns the encoded crop at a place of `paths`. May be called from several threads.

        Raises:
            DataError: The crop is missing or cannot be read.
        """
        return read_bytes(self.root / self.paths[place]) if self.container is None else self.container.read(place)

    def read_path(self, path: str) -> bytes:
        """Returns the encoded crop at one of `paths`; see `read`."""
        return read_bytes(self.root / path) if self.container is None else self.read(self._places[path])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {path: place for place, path in enumerate(self.paths)}

    def stamp(self, place: int) -> tuple[int, int]:
        """Returns the size of an encoded crop in bytes, and the modification time of its file in nanoseconds.

        Raises:
            OSError: The file is missing.
        """
        if self.container is not None:
            return self.container.size(place), 0
        status = (self.root / self.paths[place]).stat()
        return status.st_size, status.st_mtime_ns

    @property
    def people(self) -> tuple[str, ...]:
        """The names of the people, without duplicates, sorted."""
        if isinstance(self.identities, IndexedIdentities):
            return self.identities.people
        return tuple(sorted({name for name in self.identities if name is not None}))

    @property
    def indexed(self) -> IndexedContainer | None:
        """The container of a training set; None for a folder, and for other pictures that are not files."""
        return self.container if isinstance(self.container, IndexedContainer) else None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index into `people` of the person of each crop, -1 if unknown. Shape: (N,)."""
        if isinstance(self.identities, IndexedIdentities):
            return self.identities.labels
        position = {name: index for index, name in enumerate(self.people)}
        return np.array([-1 if name is None else position[name] for name in self.identities], dtype=np.int64)


def is_face_folder(root: Path) -> bool:
    """Returns True if the folder was written by `prepare`, or is a part written by `split`."""
    return (root / DESCRIPTION).is_file()


def require_no_split(root: Path) -> None:
    """Raises a DataError if the folder is a split, whose parts are folders of faces, and not a folder of faces."""
    if is_face_folder(root) or not (root / SPLIT).is_file():
        return
    try:
        is_split = read_json(root / SPLIT).get("kind") == "split"
    except DataError:  # the file is not ours
        return
    if is_split:
        parts = sorted(display_path(child) for child in root.iterdir() if is_face_folder(child))
        raise DataError(
            f"{display_path(root)}: this is a split, not a folder of faces; pass one of its parts: {', '.join(parts)}"
        )


def open_faces(root: Path) -> FaceFolder:
    """Lists a folder of prepared faces.

    Raises:
        DataError: The folder is missing, was not made by `prepare` or `split`, is a split, or contains no crops.
    """
    fingerprint = read_fingerprint(root)
    found = [(person.name, name) for person in person_folders(root) for name in crop_names(person)]
    if not found:
        raise DataError(f"{root}: contains no faces")
    return FaceFolder(
        root=root,
        fingerprint=fingerprint,
        paths=tuple(f"{owner}/{name}" for owner, name in found),
        identities=tuple(identity_of(owner) for owner, _ in found),
    )


def read_fingerprint(root: Path) -> Fingerprint:
    """Reads how the crops of a folder of prepared faces were made.

    Raises:
        DataError: The folder is missing, was not made by `prepare` or `split`, or is a split.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    require_no_split(root)
    if not is_face_folder(root):
        raise DataError(f"{root}: not a folder of prepared faces; first run: faceclr prepare {root}")
    description = read_json(root / DESCRIPTION)
    if description.get("kind") != "faces":
        raise DataError(f"{root}: {DESCRIPTION} does not describe a folder of faces")
    return Fingerprint.from_json(description.get("fingerprint") or {}, str(root))


def person_folders(root: Path) -> list[os.DirEntry[str]]:
    """Returns the folders in a folder of faces, in the order of the paths of their crops."""
    # A leading dot marks a file that another run is still writing.
    found = [entry for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(found, key=lambda entry: f"{entry.name}/")


def crop_names(person: os.DirEntry[str]) -> list[str]:
    """Returns the names of the crops in the folder of a person, sorted."""
    return sorted(
        entry.name
        for entry in os.scandir(person.path)
        if not entry.name.startswith(".") and os.path.splitext(entry.name)[1].lower() in _SUFFIXES
    )


def identity_of(owner: str) -> str | None:
    """Returns the name of the person whose crops are in a folder."""
    return None if owner == UNNAMED else canonical(owner)
