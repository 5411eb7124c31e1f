"""Whether files and folders that a run was given are those that it had, though under another path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.face_folder import is_face_folder, open_faces


def may_be_moved(now: object, former: object) -> bool:
    """Whether the paths that a run is continued with may be those that it had.

    What is no longer at its former path is taken for moved: the checkpoint knows the names of its faces. What is there
    still is compared: faces by the names and sizes of their files, other files by content.

    Args:
        now: The option as it is given; a path, or a list of paths.
        former: The option as the run had it.
    """
    ours, theirs = _paths(now), _paths(former)
    return len(ours) == len(theirs) > 0 and all(map(_may_be, ours, theirs))


def _paths(value: object) -> list[Path]:
    values = value if isinstance(value, list) else [value]
    return [Path(each) for each in values if isinstance(each, str)]


def _may_be(now: Path, former: Path) -> bool:
    if now == former or not former.exists():
        return True
    try:
        if is_face_folder(now) and is_face_folder(former):
            return _content(now) == _content(former)
        return now.is_file() and former.is_file() and digest_file(now) == digest_file(former)
    except (OSError, DataError):
        return False


def _content(root: Path) -> tuple[object, Sequence[tuple[str, int]]]:
    faces = open_faces(root)
    return faces.fingerprint, [(path, os.stat(root / path).st_size) for path in faces.paths]
