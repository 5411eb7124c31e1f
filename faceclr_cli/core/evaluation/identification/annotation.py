"""Copies of photographs with the names of the people on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.plots.labeled_photo import Label, draw_labels
from faceclr_cli.core.sources.layouts import Photo, photo_reader
from faceclr_cli.core.text import display_path

_JPEG = (".jpg", ".jpeg")
_QUALITY = 95


class Annotator:
    """Writes annotated copies below a folder, each below the sub-folders of its photograph, as JPEG.

    Args:
        read: From a photograph's name to its content.
        targets: Where the copy of each photograph goes, by its name.
    """

    def __init__(self, read: Callable[[str], bytes], targets: dict[str, Path]) -> None:
        self._read, self._targets = read, targets

    @classmethod
    @contextmanager
    def opened(cls, source: Path | None, photos: Sequence[Photo], out: Path | None) -> Iterator[Annotator | None]:
        """Makes ready to write copies of photographs; gives None where no folder is named.

        Args:
            source: The folder, archive or photograph, or `-`.
            photos: All of it.
            out: The folder for the copies.

        Raises:
            ConfigError: A copy would take the place of a photograph, or lie among them.
        """
        if source is None or out is None:
            yield None
            return
        if out.exists() and not out.is_dir():
            raise ConfigError(f"--annotate {display_path(out)}: is a file; name a folder")
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            text = "lies in the folder of photographs, where the copies would be taken for photographs; choose another"
            raise ConfigError(f"--annotate {display_path(out)}: {text}")
        targets = targets_of([photo.name for photo in photos], out)
        originals = {_place(photo.path) for photo in photos}
        for photo in photos:
            if _place(targets[photo.name]) in originals:
                raise ConfigError(
                    f"--annotate {display_path(out)}: {display_path(photo.name)} would be written over; choose another"
                )
        with photo_reader(source) as read:
            yield cls(read, targets)

    def write(self, photo: Photo, labels: Sequence[Label]) -> Path:
        """Writes the copy of a photograph, whole or not at all.

        Raises:
            DataError: The photograph is gone, or the copy cannot be written.
        """
        target = self._targets[photo.name]
        image = draw_labels(decode_picture(self._read(photo.name), photo.name), labels)
        try:
            with atomic_path(target) as temporary:
                temporary.write_bytes(_jpeg(image, target))
        except OSError as error:
            raise DataError(f"{display_path(target)}: cannot be written ({error.strerror or error})") from error
        return target


def targets_of(names: Sequence[str], out: Path) -> dict[str, Path]:
    """Where the copy of each photograph goes: below `out`, each at a place of its own.

    `a.png` becomes `a.png.jpg`, since there may be an `a.jpg` too. What leads out of the folder becomes part of a name.

    Args:
        names: Of the photographs, with forward slashes.
        out: The folder.
    """
    taken, targets = set[str](), dict[str, Path]()
    # Those that keep their names come first, so that the others make way for them.
    for name in sorted(set(names), key=lambda name: (_inside(name) != name, not _is_jpeg(name), name)):
        inside = _inside(name)
        place = inside if _is_jpeg(inside) else f"{inside}.jpg"
        while place.lower() in taken:  # some file systems don't tell capitals apart
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
    """A file by where its name stands, since a rename replaces the name and not what a link leads to."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _jpeg(image: NDArray[np.uint8], target: Path) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise DataError(f"{display_path(target)}: cannot be written as JPEG")
    return data.tobytes()
