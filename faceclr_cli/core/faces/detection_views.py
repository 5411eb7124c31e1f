"""Rotated and bordered views of a photograph, for faces that a detector misses or is unsure about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.detect import Face, resize_for_detection

TURNS = (180, 90, 270, 45, 315, 135, 225)
"""Rotations in degrees, the most likely first."""

_SURROUNDINGS = 2.0
"""Side of the square around a face, relative to the longer side of its box."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewedPicture:
    """A rendered view of a picture.

    Attributes:
        view: The view.
        pixels: RGB. Shape: (height, width, 3).
        to_picture: The matrix that maps (x, y, 1) in the view to the picture; coordinates refer to pixel centers.
            Shape: (2, 3).
    """

    view: View
    pixels: NDArray[np.uint8]
    to_picture: NDArray[np.float64]

    def in_picture(self, face: Face) -> Face:
        """Maps a face that was detected in the view to the coordinates of the picture."""
        scale = float(np.hypot(*self.to_picture[:, 0]))
        # Box edges lie between pixels, whereas pixel coordinates refer to pixel centers.
        x, y = (self.to_picture @ [face.center[0] - 0.5, face.center[1] - 0.5, 1] + 0.5).tolist()
        width, height = (side * scale for side in face.box[2:])
        if self.view.turn % 180 == 90:
            width, height = height, width
        landmarks = face.landmarks
        if landmarks is not None:
            landmarks = (landmarks @ self.to_picture[:, :2].T + self.to_picture[:, 2]).astype(np.float32)
        return replace(
            face,
            box=(x - width / 2, y - height / 2, width, height),
            landmarks=landmarks,
            turn=self.view.turn,
            bordered=self.view.border > 0,
        )


@dataclass(frozen=True)
class View:
    """A rotation and a border.

    Attributes:
        turn: Clockwise rotation in the picture, in degrees, of a face that is upright in the view.
        border: Border on each side, as a share of the picture's width and height.
    """

    turn: int = 0
    border: float = 0.0

    def of(self, image: NDArray[np.uint8], shortest: int, longest: int) -> ViewedPicture:
        """Rotates a picture about its center, adds a black border, and resizes it.

        Args:
            image: RGB. Shape: (height, width, 3).
            shortest: Minimum long side in pixels; see `resize_for_detection`.
            longest: Maximum long side in pixels.
        """
        height, width = image.shape[:2]
        # Counterclockwise rotation, in coordinates with y downward.
        cosine, sine = round(np.cos(np.radians(self.turn)), 12), round(np.sin(np.radians(self.turn)), 12)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        reach = np.abs(turn) @ [width, height] * (1 + 2 * self.border)
        columns, rows = (max(1, round(side)) for side in reach)
        middle, here = np.array([width - 1, height - 1]) / 2, np.array([columns - 1, rows - 1]) / 2
        shown = cv2.warpAffine(image, np.column_stack([turn, here - turn @ middle]), (columns, rows))
        pixels, (across, down) = resize_for_detection(np.asarray(shown, np.uint8), shortest, longest)
        # From the resized view to the full-size view; the clockwise rotation into the picture follows.
        zoom = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]], np.float64)
        return ViewedPicture(
            view=self, pixels=pixels, to_picture=np.column_stack([turn.T, middle - turn.T @ here]) @ zoom
        )


def turned_regions(
    image: NDArray[np.uint8], face: Face, side: int, turns: Iterable[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yields rotated and resized surroundings of a face.

    The face has the same size in all of them, so that detector scores are comparable.

    Args:
        image: RGB. Shape: (height, width, 3).
        face: The face, in pixels of the image.
        side: Side of the squares in pixels.
        turns: Clockwise rotations in the picture, in degrees, of a face that is upright in the square.

    Yields:
        A rotation and its square. Shape of the square: (side, side, 3).
    """
    reach = max(1, round(_SURROUNDINGS * max(face.box[2:]) / 2))
    x, y = (min(max(round(at), 0), size - 1) for at, size in zip(face.center, image.shape[1::-1], strict=True))
    part = image[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
    top, left = max(0, reach - y), max(0, reach - x)
    bottom, right = 2 * reach - top - part.shape[0], 2 * reach - left - part.shape[1]
    whole = cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_CONSTANT)
    small = cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA if 2 * reach > side else cv2.INTER_LINEAR)
    middle = (side - 1) / 2
    for turn in turns:
        matrix = cv2.getRotationMatrix2D((middle, middle), turn, 1)
        yield turn, np.asarray(cv2.warpAffine(small, matrix, (side, side)), np.uint8)


WITH_BORDER = tuple(View(turn, border=0.5) for turn in (0, 90, 270, 180))
"""Views for faces that fill the picture."""
