"""Crops, each beside the random views of it that a network sees."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.plots.figure_style import (
    DOTS,
    INK,
    QUIET,
    blank_figure,
    fit_text,
    plain_style,
    require_drawable,
    save_whole,
)

_WIDTH = 1200
"""Pixels that a picture is about as wide as; small views are enlarged to it, large ones are left as they are."""
_EDGE, _AIR, _STEP, _HEAD = 24, 4, 16, 99
"""Pixels: the paper around all, the air between two pictures, that between a crop and its views, the title."""


def draw_views(crops: NDArray[np.uint8], views: NDArray[np.uint8], out: Path, *, title: str, subtitle: str) -> None:
    """Draws a row for each crop: the crop, a gap, and its views, all of one size.

    Small views are enlarged by a whole number, so that each pixel stays a square.

    Args:
        crops: RGB, square. Shape: (R, H, H, 3).
        views: RGB. Shape: (R, V, S, S, 3).
        out: The picture: .jpg, .png, .webp, .pdf or .svg.
        title: One line.
        subtitle: One line in smaller type.

    Raises:
        ConfigError: The suffix of `out` is of no format in which pictures are drawn.
        DataError: The picture cannot be written.
        ValueError: There are no crops or no views, or they are not of these shapes.
    """
    require_drawable(out)
    if crops.ndim != 4 or views.ndim != 5 or len(crops) != len(views) or not crops.size or not views.size:
        raise ValueError(f"crops (R, H, W, 3) and views (R, V, S, S, 3) expected, not {crops.shape} and {views.shape}")
    count, side = views.shape[1:3]
    scale = max(1, round(_WIDTH / ((count + 1) * side)))
    canvas = _grid(_brought_to(crops, side * scale), views.repeat(scale, axis=-3).repeat(scale, axis=-2))
    height, width = canvas.shape[:2]
    with plain_style():
        figure = blank_figure(width / DOTS, height / DOTS)
        figure.figimage(canvas)
        for text, y, size, color, weight in ((title, 51, 15, INK, "bold"), (subtitle, 97, 10, QUIET, "normal")):
            figure.text(
                _EDGE / width,
                1 - y / height,
                fit_text(text, 0.9 * (width - 2 * _EDGE) / DOTS, size),
                size=size,
                color=color,
                weight=weight,
                va="baseline",
                parse_math=False,
            )
        save_whole(figure, out)


def _brought_to(crops: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if side % crops.shape[1] == 0:  # pixels stay squares, as those of the views
        return crops.repeat(side // crops.shape[1], axis=1).repeat(side // crops.shape[2], axis=2)
    way = cv2.INTER_AREA if side < crops.shape[1] else cv2.INTER_CUBIC
    return np.stack([np.asarray(cv2.resize(crop, (side, side), interpolation=way), np.uint8) for crop in crops])


def _grid(crops: NDArray[np.uint8], views: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays all out on white paper, below the room for the title."""
    rows, count, side = views.shape[:3]
    start, top = _EDGE + side + _STEP, _EDGE + _HEAD
    shape = (top + rows * (side + _AIR) - _AIR + _EDGE, start + count * (side + _AIR) - _AIR + _EDGE, 3)
    canvas = np.full(shape, 255, np.uint8)
    for row in range(rows):
        upper = top + row * (side + _AIR)
        canvas[upper : upper + side, _EDGE : _EDGE + side] = crops[row]
        for place in range(count):
            left = start + place * (side + _AIR)
            canvas[upper : upper + side, left : left + side] = views[row, place]
    return canvas
