"""Folders in which faceclr writes pictures. They are not read as photographs when a folder around them is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from faceclr_cli.core.artifacts import make_folder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.text import display_path

OUTPUT_MARK = ".faceclr-output"
"""Empty file in a folder of crops or annotated copies."""

GROUPS = "cluster.json"
"""File name in the output folder of `faceclr cluster`."""

MARKS = frozenset({OUTPUT_MARK, DESCRIPTION, GROUPS})
"""Names of files that show that faceclr wrote the pictures of a folder."""


def require_output_folder(option: str, out: Path, folders: Iterable[Path], within: Iterable[Path] = ()) -> None:
    """Checks that pictures can be written to a folder without being read as photographs later.

    Below the folder of a photograph, the output folder must be new, empty, or the output of an earlier run, since only
    such a folder is marked; see `mark_output`.

    Args:
        option: Name of the option, for the error.
        out: The output folder.
        folders: The folders that contain photographs.
        within: The sub-folders of `out` that pictures will be written to.

    Raises:
        ConfigError: `out` is a file, a picture would be written beside a photograph, or `out` is below one of the
            folders and contains other files.
    """
    if os.path.lexists(out) and not out.is_dir():
        raise ConfigError(f"{option} {display_path(out)}: is a file; name a folder")
    place, around = out.resolve(), {folder.resolve() for folder in folders}
    if not around.isdisjoint({place, *(folder.resolve() for folder in within)}):
        raise ConfigError(
            f"{option} {display_path(out)}: the pictures would be beside the photographs, and the next run would read "
            "them as photographs; name a new folder"
        )
    if any(place.is_relative_to(folder) for folder in around) and not _is_free(out):
        raise ConfigError(
            f"{option} {display_path(out)}: is inside the folder of the photographs and contains other files, so the "
            "next run would read the pictures as photographs; name a new folder"
        )


def require_outside(option: str, path: Path | None, folder: Path | None) -> None:
    """Checks that a picture or a folder of pictures is not written into a folder that the next run reads.

    Raises:
        ConfigError: The path is inside the folder.
    """
    if path is not None and folder is not None and folder.is_dir() and path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"{option} {display_path(path)}: is inside {display_path(folder)}, where the next run would read it as "
            "pictures of faces; choose another path"
        )


def mark_output(out: Path) -> None:
    """Creates an output folder and marks it, unless it contains other files.

    Raises:
        OSError: The folder cannot be written.
    """
    make_folder(out)
    if _is_free(out):
        (out / OUTPUT_MARK).touch()


def _is_free(out: Path) -> bool:
    """Returns True if a folder does not exist, is empty, or is marked."""
    return not out.is_dir() or not any(out.iterdir()) or (out / OUTPUT_MARK).is_file()
