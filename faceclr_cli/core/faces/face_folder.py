"""A folder of prepared faces, as `prepare` and `split` write it, opened for reading."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import canonical, display_path

DESCRIPTION = "faceclr.json"
"""The file in a folder of faces that says how they were made."""

SPLIT = "split.json"
"""The file beside the parts of a split."""

NOBODY = "_"
"""The sub-folder of faces whose person is not known."""

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True, kw_only=True)
class FaceFolder:
    """Crops on disk, in an order that depends on their names alone.

    Attributes:
        root: The folder.
        fingerprint: How the crops were made.
        paths: Path of each crop relative to `root`, with forward slashes, sorted.
        identities: The person of each crop, or None where nobody knows. Same length as `paths`. A name has one spelling
            here (`text.canonical`), however its folders spell it.
    """

    root: Path
    fingerprint: Fingerprint
    paths: tuple[str, ...]
    identities: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def people(self) -> tuple[str, ...]:
        """The names of the people, each once, sorted."""
        return tuple(sorted({name for name in self.identities if name is not None}))


def is_face_folder(root: Path) -> bool:
    """Whether `prepare` or `split` wrote this folder."""
    return (root / DESCRIPTION).is_file()


def require_no_split(root: Path) -> None:
    """Raises a DataError for the folder that `split` wrote around its parts, each of which is a folder of faces."""
    if is_face_folder(root) or not (root / SPLIT).is_file():
        return
    try:
        is_split = read_json(root / SPLIT).get("kind") == "split"
    except DataError:  # somebody else's
        return
    if is_split:
        parts = sorted(display_path(child) for child in root.iterdir() if is_face_folder(child))
        raise DataError(
            f"{display_path(root)}: a split, not a folder of faces; give one of its parts: {', '.join(parts)}"
        )


def open_faces(root: Path) -> FaceFolder:
    """Lists a folder of prepared faces.

    Raises:
        DataError: The folder is missing, was not made by `prepare` or `split`, is a split, or holds no crop.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    require_no_split(root)
    if not is_face_folder(root):
        raise DataError(f"{root}: not a folder of prepared faces; first type: faceclr prepare {root}")
    description = read_json(root / DESCRIPTION)
    if description.get("kind") != "faces":
        raise DataError(f"{root}: its {DESCRIPTION} does not describe faces")
    fingerprint = Fingerprint.from_json(description.get("fingerprint") or {}, str(root))
    paths = sorted(_crops(root))
    if not paths:
        raise DataError(f"{root}: holds no faces")
    owners = tuple(path.split("/", 1)[0] for path in paths)
    return FaceFolder(
        root=root,
        fingerprint=fingerprint,
        paths=tuple(paths),
        identities=tuple(None if owner == NOBODY else canonical(owner) for owner in owners),
    )


def _crops(root: Path) -> Iterator[str]:
    for person in os.scandir(root):
        # Names that begin with a dot are files that another run is still writing.
        if person.is_dir() and not person.name.startswith("."):
            for entry in os.scandir(person.path):
                if not entry.name.startswith(".") and os.path.splitext(entry.name)[1].lower() in _SUFFIXES:
                    yield f"{person.name}/{entry.name}"
