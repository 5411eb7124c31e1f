"""Sheet of crops and their augmented views."""

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
"""Approximate width of a picture in pixels; small views are enlarged to it."""
_EDGE, _AIR, _STEP, _HEAD = 24, 4, 16, 99
"""Pixels: the margin, the gap between views, the gap between a crop and its views, and the height of the title."""


def draw_views(crops: NDArray[np.uint8], views: NDArray[np.uint8], out: Path, *, title: str, subtitle: str) -> None:
    """Draws a row for each crop: the crop and its views, all of the same size.

    Small views are enlarged by an integer factor, so that pixels remain square.

    Args:
        crops: RGB, square. Shape: (R, H, H, 3).
        views: RGB. Shape: (R, V, S, S, 3).
        out: Output file: .jpg, .png, .webp, .pdf or .svg.
        title: One line.
        subtitle: One line in a smaller font.

    Raises:
        ConfigError: The suffix of `out` is not a supported picture format.
        DataError: The picture cannot be written.
        ValueError: There are no crops or no views, or their shapes differ from these.
    """
    require_drawable(out)
    if crops.ndim != 4 or views.ndim != 5 or len(crops) != len(views) or not crops.size or not views.size:
        raise ValueError(f"crops (R, H, W, 3) and views (R, V, S, S, 3) expected, not {crops.shape} and {views.shape}")
    count, side = views.shape[1:3]
    scale = max(1, round(_WIDTH / ((count + 1) * side)))
    canvas = _grid(_resize(crops, side * scale), views.repeat(scale, axis=-3).repeat(scale, axis=-2))
    height, width = canvas.shape[:2]
    with plain_style():
        figure = blank_figure(width / DOTS, height / DOTS)
        figure.figimage(canvas)
        for text, y, size, color, weight in ((title, 51, 15, INK, "bold"), (subtitle, 97, 10, QUIET, "normal")):
            figure.text(
                _EDGE / width,
                1 - y / height,
                fit_text(text, 0.85 * (width - 2 * _EDGE) / DOTS, size),  # bold letters are wider
                size=size,
                color=color,
                weight=weight,
                va="baseline",
                parse_math=False,
            )
        save_whole(figure, out)


def _resize(crops: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if side % crops.shape[1] == 0:  # pixels remain square, like those of the views
        return crops.repeat(side // crops.shape[1], axis=1).repeat(side // crops.shape[2], axis=2)
    way = cv2.INTER_AREA if side < crops.shape[1] else cv2.INTER_CUBIC
    return np.stack([np.asarray(cv2.resize(crop, (side, side), interpolation=way), np.uint8) for crop in crops])


def _grid(crops: NDArray[np.uint8], views: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arranges crops and views on a white canvas, below the space for the title."""
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
