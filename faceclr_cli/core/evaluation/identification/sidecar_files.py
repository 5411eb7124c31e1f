"""XMP files beside photographs, with the names of the people in them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.decode import read_bytes
from faceclr_cli.core.faces.orientation import Box, find_orientation, to_stored
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.sources.xmp_regions import Region, add_regions
from faceclr_cli.core.text import display_path


class SidecarFiles:
    """Writes the XMP files of photographs. The photographs are not changed.

    A new file is named like the photograph with `.xmp` appended. An existing one is updated, also if its name has
    `.xmp` instead of the photograph's suffix and no other photograph has the same name.

    Attributes:
        written: Number of files that were written.

    Args:
        photos: All photographs.
        reporter: Receives warnings about files that cannot be updated.

    Raises:
        ConfigError: The photographs are in an archive.
    """

    def __init__(self, photos: Sequence[Photo], reporter: Reporter) -> None:
        packed = next((photo for photo in photos if photo.member is not None), None)
        if packed is not None:
            raise ConfigError(f"--xmp: {display_path(packed.path)} is an archive; unpack it first")
        self._stems = Counter(os.path.splitext(photo.path)[0] for photo in photos)
        self._reporter = reporter
        self.written = 0

    def write(self, photo: Photo, faces: Iterable[tuple[str, Box]]) -> None:
        """Adds the faces of a photograph to its file.

        Args:
            photo: The photograph.
            faces: Names, and boxes (left, top, width and height) in pixels of the upright photograph.

        Raises:
            DataError: The photograph no longer exists, or the file cannot be written.
        """
        target = self._target(photo.path)
        orientation, size = find_orientation(read_bytes(photo.path))
        shown = size[::-1] if orientation >= 5 else size
        regions = [
            Region(name=name, box=to_stored(box, orientation))
            for name, box in ((name, _share(box, shown)) for name, box in faces)
        ]
        former = read_bytes(target) if target.exists() else None
        try:
            content = add_regions(former, regions, size)
        except ValueError as error:
            text = f"{display_path(target)}: was not changed, because it is not XMP ({error})"
            self._reporter.report(Notice(text=text, level="warning"))
            return
        if content == former:
            return
        try:
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise DataError(f"{display_path(target)}: cannot be written ({error.strerror or error})") from error
        self.written += 1

    def _target(self, photo: Path) -> Path:
        full, short = photo.with_name(f"{photo.name}.xmp"), photo.with_suffix(".xmp")
        is_alone = self._stems[os.path.splitext(photo)[0]] == 1
        return short if is_alone and short.exists() and not full.exists() else full


def _share(box: Box, size: tuple[int, int]) -> Box:
    """Returns a box as shares of the picture, without what is beyond its edges."""
    (left, top, width, height), (columns, rows) = box, size
    right, bottom = min(left + width, columns) / columns, min(top + height, rows) / rows
    left, top = max(left, 0.0) / columns, max(top, 0.0) / rows
    return left, top, right - left, bottom - top
