"""Square pictures of faces, cropped from photographs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.faces.decode import Picture

_AROUND = 1.3
"""Side of the square, as a multiple of the longer side of the detector's box."""


def face_square(picture: Picture, box: ArrayLike, side: int) -> NDArray[np.uint8]:
    """Crops a face from a photograph, with a margin.

    Args:
        picture: The photograph, or a prepared crop.
        box: x, y, width and height of the face in pixels; NaN for a prepared crop, which is shown entirely.
        side: Side of the result in pixels.

    Returns:
        RGB. Shape: (side, side, 3).

    Raises:
        BadPictureError: The picture is damaged.
    """
    place = np.asarray(box, np.float64)
    longest = max(picture.header.width, picture.header.height)
    shown_side = _AROUND * float(max(place[2:])) if np.isfinite(place).all() else longest
    shrink = picture.shrink_to(round(side * longest / max(shown_side, 1.0)))
    image = picture.pixels(shrink)
    if np.isfinite(place).all():
        middle, reach = (place[:2] + place[2:] / 2) / shrink, max(1, round(shown_side / shrink / 2))
        # Pad the picture, since the square may extend beyond its edge.
        framed = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
        left, top = (np.clip(middle, 0, image.shape[1::-1]).round()).astype(int)
        image = np.asarray(framed[top : top + 2 * reach, left : left + 2 * reach], np.uint8)
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
