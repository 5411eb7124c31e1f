"""The orientation in which a picture is stored, and positions in the stored picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.decode import Picture
from faceclr_cli.core.faces.decoder_noise import NOISE

Box = tuple[float, float, float, float]

_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}
"""The rotation and mirroring that make a stored picture upright, by the value of the EXIF tag `Orientation`."""


def find_orientation(data: bytes) -> tuple[int, tuple[int, int]]:
    """Finds out how a picture is turned when it is displayed, by decoding it with and without its orientation.

    Args:
        data: Content of the file.

    Returns:
        The value of the EXIF tag `Orientation`, and width and height of the stored picture. Formats whose containers
        turn the picture themselves (HEIC, AVIF) count as stored upright.

    Raises:
        BadPictureError: The picture cannot be decoded.
    """
    picture = Picture(data, "picture")
    if picture.header.kind in ("HEIC", "AVIF"):
        height, width = picture.pixels().shape[:2]
        return 1, (width, height)
    size = picture.header.width, picture.header.height
    flags = cv2.IMREAD_REDUCED_COLOR_8 if picture.header.kind == "JPEG" else cv2.IMREAD_COLOR
    content = np.frombuffer(data, np.uint8)
    with NOISE:
        shown, stored = (cv2.imdecode(content, flags | extra) for extra in (0, cv2.IMREAD_IGNORE_ORIENTATION))
    if shown is None or stored is None:
        return 1, size
    turned = (value for value, upright in _UPRIGHT.items() if np.array_equal(upright(np.asarray(stored)), shown))
    return next(turned, 1), size


def to_upright(box: Box, orientation: int) -> Box:
    """Returns a box in the upright picture. The inverse of `to_stored`."""
    # Quarter turns are the only orientations that are not their own inverse.
    return to_stored(box, {6: 8, 8: 6}.get(orientation, orientation))


def to_stored(box: Box, orientation: int) -> Box:
    """Returns a box in the stored picture.

    Args:
        box: Left, top, width and height in the upright picture, as shares of its width and height.
        orientation: From `find_orientation`.

    Returns:
        Left, top, width and height as shares of the stored picture's width and height.

    Examples:
        >>> to_stored((0.0, 0.0, 0.25, 0.5), 6)
        (0.0, 0.75, 0.5, 0.25)
    """
    left, top, width, height = box
    right, bottom = 1 - left - width, 1 - top - height
    if orientation in (2, 3):
        left = right
    if orientation in (3, 4):
        top = bottom
    if orientation in (5, 6, 7, 8):
        across = top if orientation in (5, 6) else bottom
        down = left if orientation in (5, 8) else right
        return across, down, height, width
    return left, top, width, height
