"""Sets of aligned crops: folders of prepared faces, and containers of crops that were made elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.face_folder import FaceFolder, is_face_folder
from faceclr_cli.core.preparing.template_check import require_arcface
from faceclr_cli.core.sources.containers import Container, is_container, open_container
from faceclr_cli.core.sources.folder_index import open_folder
from faceclr_cli.core.text import display_path

_TEMPLATE = "arcface"
_CHECKED = "arcface"
"""Name of the mark for indexes in the cache whose crops were checked."""


def is_face_set(path: Path) -> bool:
    """Returns True if a path is a folder of prepared faces, or a container whose first pictures are square crops."""
    if is_face_folder(path):
        return True
    if not is_container(path):
        return False
    try:
        container = open_container(path)
    except DataError:
        return False
    try:
        return _side(container) is not None
    finally:
        container.close()


def find_face_set(path: Path) -> FaceFolder | None:
    """Opens prepared faces or the crops of a container; returns None where `is_face_set` returns False.

    Raises:
        DataError, ConfigError: See `open_face_set`.
    """
    if not is_container(path):
        return open_folder(path) if is_face_folder(path) else None
    try:
        container = open_container(path)
    except DataError:
        return None
    side = _side(container)
    if side is None:
        container.close()
        return None
    return _open(container, side)


def open_face_set(path: Path) -> FaceFolder:
    """Lists prepared faces, or the crops of a container.

    Crops in a container were made elsewhere. They are assumed to be ArcFace crops, which is checked on a sample as by
    `prepare --assume arcface`.

    Raises:
        DataError: There are no prepared faces, or the container is damaged or holds photographs.
        ConfigError: The crops are not aligned like ArcFace crops.
    """
    if not is_container(path):
        return open_folder(path)
    container = open_container(path)
    return _open(container, _side(container))


def _open(container: Container, side: int | None) -> FaceFolder:
    origin = display_path(container.path)
    if not len(container):
        raise DataError(f"{origin}: contains no faces")
    if container.flaw is not None:
        raise DataError(f"{origin}: {container.flaw}")
    if side is None:
        raise DataError(f"{origin}: contains photographs, not aligned crops; first run: faceclr prepare {origin}")
    index = container.index
    if not index.has_mark(_CHECKED):
        advice = f"first run: faceclr prepare {origin}"
        require_arcface(range(len(container)), partial(_decode, container), origin, advice)
        index.set_mark(_CHECKED)
    container.rest()
    return FaceFolder(
        root=container.path,
        fingerprint=fingerprint_for_foreign_crops(_TEMPLATE, side),
        paths=container.names,
        identities=container.index.identities,
        container=container,
    )


def _decode(container: Container, place: int) -> NDArray[np.uint8]:
    return decode_picture(container.read(place), container.name(place))


def _side(container: Container) -> int | None:
    """Returns the side of the crops if the first pictures are squares of one size."""
    shapes = set()
    for place in range(min(4, len(container))):
        try:
            shapes.add(_decode(container, place).shape[:2])
        except DataError:
            continue
    if len(shapes) != 1:
        return None
    height, width = shapes.pop()
    return int(height) if height == width else None
