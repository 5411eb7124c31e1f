"""Crops, each beside the random views of it that a network sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.plots.figure_style import DOTS, blank_figure, plain_style, require_drawable, save_whole

_WIDTH = 1200
"""Pixels that a picture is about as wide as; small views are enlarged to it, large ones are left as they are."""
_EDGE, _AIR, _STEP = 12, 4, 16
"""Pixels: the paper around all, the air between two pictures, and between a crop and its views."""


def draw_views(crops: NDArray[np.uint8], views: NDArray[np.uint8], out: Path) -> None:
    """Draws a row for each crop: the crop, a gap, and its views, in the pixels that they have.

    Small pictures are enlarged by a whole number, so that each pixel stays a square.

    Args:
        crops: RGB. Shape: (R, H, W, 3).
        views: RGB. Shape: (R, V, S, S, 3).
        out: The picture: .jpg, .png, .webp, .pdf or .svg.

    Raises:
        ConfigError: The suffix of `out` is of no format in which pictures are drawn.
        DataError: The picture cannot be written.
        ValueError: There are no crops or no views, or they are not of these shapes.
    """
    require_drawable(out)
    if crops.ndim != 4 or views.ndim != 5 or len(crops) != len(views) or not crops.size or not views.size:
        raise ValueError(f"crops (R, H, W, 3) and views (R, V, S, S, 3) expected, not {crops.shape} and {views.shape}")
    count, side = views.shape[1:3]
    scale = max(1, round(_WIDTH / (crops.shape[2] + count * side)))
    canvas = _grid(_enlarged(crops, scale), _enlarged(views, scale))
    height, width = canvas.shape[:2]
    with plain_style():
        figure = blank_figure(width / DOTS, height / DOTS)
        figure.figimage(canvas)
        save_whole(figure, out)


def _enlarged(pictures: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    return pictures.repeat(scale, axis=-3).repeat(scale, axis=-2)


def _grid(crops: NDArray[np.uint8], views: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays all out on white paper; where a crop and its views differ in height, their middles are level."""
    rows, count, side = views.shape[:3]
    tall, wide = crops.shape[1:3]
    height = max(tall, side)
    start = _EDGE + wide + _STEP
    shape = (2 * _EDGE + rows * (height + _AIR) - _AIR, start + count * (side + _AIR) - _AIR + _EDGE, 3)
    canvas = np.full(shape, 255, np.uint8)
    for row in range(rows):
        top = _EDGE + row * (height + _AIR)
        upper = top + (height - tall) // 2
        canvas[upper : upper + tall, _EDGE : _EDGE + wide] = crops[row]
        upper = top + (height - side) // 2
        for place in range(count):
            left = start + place * (side + _AIR)
            canvas[upper : upper + side, left : left + side] = views[row, place]
    return canvas
