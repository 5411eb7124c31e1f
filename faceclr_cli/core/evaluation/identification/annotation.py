"""Annotated copies of photographs, with a box and a name for each face."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.sources.layouts import Photo, photo_reader
from faceclr_cli.core.sources.output_folders import mark_output, require_output_folder
from faceclr_cli.core.text import display_path

if TYPE_CHECKING:
    from faceclr_cli.core.plots.labeled_photo import Label

_JPEG = (".jpg", ".jpeg")
_QUALITY = 95


class Annotator:
    """Writes annotated copies as JPEG, in the same sub-folders as the photographs.

    Args:
        read: Returns the content of a photograph, given its name.
        targets: The path of each copy, by the name of its photograph.
        out: The folder for the copies.
    """

    def __init__(self, read: Callable[[str], bytes], targets: dict[str, Path], out: Path) -> None:
        self._read, self._targets, self._out = read, targets, out

    @classmethod
    @contextmanager
    def opened(cls, source: Path | None, photos: Sequence[Photo], out: Path | None) -> Iterator[Annotator | None]:
        """Opens an annotator; yields None if no output folder is given.

        Args:
            source: The folder, archive or photograph, or `-`.
            photos: All photographs of the source.
            out: The folder for the copies.

        Raises:
            ConfigError: A copy would overwrite a photograph, or be written among the photographs.
        """
        if source is None or out is None:
            yield None
            return
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            text = "is inside the folder of photographs, where copies would be read as photographs; choose another"
            raise ConfigError(f"--annotate {display_path(out)}: {text}")
        targets = targets_of([photo.name for photo in photos], out)
        originals = {_place(photo.path) for photo in photos}
        for photo in photos:
            if _place(targets[photo.name]) in originals:
                raise ConfigError(
                    f"--annotate {display_path(out)}: {display_path(photo.name)} would be overwritten; choose another"
                )
        folders = {photo.path.parent for photo in photos if photo.member is None}
        require_output_folder("--annotate", out, folders, {target.parent for target in targets.values()})
        with photo_reader(source) as read:
            yield cls(read, targets, out)

    def write(self, photo: Photo, labels: Sequence[Label]) -> Path:
        """Writes the copy of a photograph atomically.

        Raises:
            DataError: The photograph no longer exists, or the copy cannot be written.
        """
        from faceclr_cli.core.plots.labeled_photo import draw_labels

        target = self._targets[photo.name]
        image = draw_labels(decode_picture(self._read(photo.name), photo.name), labels)
        try:
            mark_output(self._out)
            with atomic_path(target) as temporary:
                temporary.write_bytes(_jpeg(image, target))
        except OSError as error:
            raise DataError(f"{display_path(target)}: cannot be written ({error.strerror or error})") from error
        return target


def targets_of(names: Sequence[str], out: Path) -> dict[str, Path]:
    """Assigns each photograph a unique path for its copy.

    `a.png` becomes `a.png.jpg`, since `a.jpg` may exist too. Absolute paths and `..` are rewritten so that the copy
    stays inside the folder.

    Args:
        names: Names of the photographs, with forward slashes.
        out: The output folder.

    Returns:
        The path of each copy, by the name of its photograph.
    """
    taken, targets = set[str](), dict[str, Path]()
    # Photographs whose names stay the same come first, so that renamed ones avoid them.
    for name in sorted(set(names), key=lambda name: (_inside(name) != name, not _is_jpeg(name), name)):
        inside = _inside(name)
        place = inside if _is_jpeg(inside) else f"{inside}.jpg"
        while place.lower() in taken:  # some file systems are case-insensitive
            place += ".jpg"
        taken.add(place.lower())
        targets[name] = out / place
    return targets


def _inside(name: str) -> str:
    path = PurePosixPath(name.lstrip("/"))
    return "/".join("_" if part == ".." else part for part in path.parts)


def _is_jpeg(name: str) -> bool:
    return name.lower().endswith(_JPEG)


def _place(path: Path) -> str:
    """Returns the path with its folder resolved, but not the file, since a rename replaces a link, not its target."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _jpeg(image: NDArray[np.uint8], target: Path) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise DataError(f"{display_path(target)}: cannot be written as JPEG")
    return data.tobytes()
