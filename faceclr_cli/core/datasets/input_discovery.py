"""Discovery of input in the working directory, for commands without an input argument."""

from __future__ import annotations

import shlex
from pathlib import Path

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.text import display_path

TRAIN = "train"
"""The part of a split for training."""


def find_prepared_folders(folder: Path) -> list[Path]:
    """Returns the folders of prepared faces directly inside a folder, by name."""
    return [child for child in _children(folder) if is_face_folder(child)]


def find_train_parts(folder: Path) -> list[Path]:
    """Returns the `train` parts of the splits directly inside a folder, by name."""
    parts = (child / TRAIN for child in _children(folder) if not is_face_folder(child))
    return [part for part in parts if is_face_folder(part)]


def find_faces(folder: Path) -> list[Path]:
    """Returns possible training sets: train parts first, then other folders of prepared faces."""
    return find_train_parts(folder) + find_prepared_folders(folder)


def no_faces_error(command: str, found: list[Path]) -> ConfigError:
    """Returns the error for a command that was given no faces.

    Args:
        command: Name of the command, for the suggested command line.
        found: Candidates, the most likely first.
    """
    if not found:
        return ConfigError(f"{command}: no faces given, and none found here; first run: faceclr prepare PHOTOS")
    *rest, last = [display_path(path) for path in found]
    listed = f"{', '.join(rest)} and {last}" if rest else last
    line = shlex.join(["faceclr", command, display_path(found[0])])
    return ConfigError(f"{command}: no faces given; found {listed}; run: {line}")


def _children(folder: Path) -> list[Path]:
    # Relative to the working directory, as users type it: `faces`, not `./faces`.
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
