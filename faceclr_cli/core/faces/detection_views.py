"""Other ways to look at a photograph in which a detector finds nothing or is unsure: turned, or with a border."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.detect import Face, resize_for_detection

TURNS = (180, 90, 270, 45, 315, 135, 225)
"""Degrees, the likeliest first."""

_SURROUNDINGS = 2.0
"""Side of the square around a face, in longer sides of its box."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewedPicture:
    """A picture as a detector sees it.

    Attributes:
        view: How it looks at the picture.
        pixels: RGB. Shape: (height, width, 3).
        to_picture: The matrix that takes (x, y, 1) in it to the picture itself, both counted from the centers of
            pixels. Shape: (2, 3).
    """

    view: View
    pixels: NDArray[np.uint8]
    to_picture: NDArray[np.float64]

    def in_picture(self, face: Face) -> Face:
        """A face that was found in it, in the coordinates of the picture itself."""
        scale = float(np.hypot(*self.to_picture[:, 0]))
        # Edges of a box lie between pixels, and the coordinates of pixels are those of their centers.
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
    """A way to look at a picture.

    Attributes:
        turn: Degrees by which a face that is upright in the view is turned clockwise in the picture.
        border: What is added on each side, as a share of the picture's width and height.
    """

    turn: int = 0
    border: float = 0.0

    def of(self, image: NDArray[np.uint8], shortest: int, longest: int) -> ViewedPicture:
        """Turns the picture about its center, adds black around it, and brings its long side into a range.

        Args:
            image: RGB. Shape: (height, width, 3).
            shortest: See `resized`.
            longest: See `resized`.
        """
        height, width = image.shape[:2]
        # The picture is turned back, counterclockwise, which in coordinates that run downwards is this rotation.
        cosine, sine = round(np.cos(np.radians(self.turn)), 12), round(np.sin(np.radians(self.turn)), 12)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        reach = np.abs(turn) @ [width, height] * (1 + 2 * self.border)
        columns, rows = (max(1, round(side)) for side in reach)
        middle, here = np.array([width - 1, height - 1]) / 2, np.array([columns - 1, rows - 1]) / 2
        shown = cv2.warpAffine(image, np.column_stack([turn, here - turn @ middle]), (columns, rows))
        pixels, (across, down) = resize_for_detection(np.asarray(shown, np.uint8), shortest, longest)
        # From the resized view to the view, then turned clockwise into the picture.
        zoom = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]], np.float64)
        return ViewedPicture(
            view=self, pixels=pixels, to_picture=np.column_stack([turn.T, middle - turn.T @ here]) @ zoom
        )


def turned_regions(
    image: NDArray[np.uint8], face: Face, side: int, turns: Iterable[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The surroundings of a face, made small and turned.

    In all of them a face is of one size, so that what a detector says of them can be compared.

    Args:
        image: RGB. Shape: (height, width, 3).
        face: In pixels of the image.
        side: Of the square that each gives, in pixels.
        turns: Degrees by which a face that is upright in a square is turned clockwise in the picture.

    Yields:
        One of the turns, and its square.
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
"""A face that filled the picture has room then."""
