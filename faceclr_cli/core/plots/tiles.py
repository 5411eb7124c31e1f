"""Layout of captioned pictures in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from faceclr_cli.core.plots.figure_style import GROUND, INK, PAPER, QUIET, blank_figure, drawable_text, fit_text

FINEST = 336
"""Maximum long side of a picture in pixels; more would not be visible even at double size."""

_COLUMNS, _LEAST_COLUMNS = 8, 4
_SIDE, _GAP, _MARGIN, _HEAD = 1.05, 0.13, 0.3, 0.62
"""Inches: the side of a tile, the gap between tiles, the margin, and the height of the title."""
_TYPE, _LINE = 6.5, 0.115
"""For captions: the font size in points, and the line height in inches."""
_TEXT_TYPE, _TEXT_LINE, _TEXT_LETTER = 9.0, 0.18, 0.066
"""For headings: the font size in points, and the line height and typical letter width in inches."""
_ABOVE = 0.2
_REASON_LETTERS = 20
_RULE = "#C9D0D8"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with a caption.

    Attributes:
        image: RGB, or None for an empty frame. Shape: (height, width, 3).
        name: First line of the caption, shortened in the middle if it is too long.
        text: Further text, wrapped to several lines.
    """

    image: NDArray[np.uint8] | None
    name: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A group of pictures with a heading.

    Attributes:
        tiles: The pictures.
        heading: The heading; may be empty.
        points: Points to mark on each picture, as shares of its side. Shape: (points, 2).
        has_axis: True to draw the vertical center line of each picture.
    """

    tiles: Sequence[Tile]
    heading: str = ""
    points: NDArray[np.float64] | None = None
    has_axis: bool = False


def compose_tiles(title: str, subtitle: str, sections: Sequence[Section]) -> Figure:
    """Arranges sections below each other, in rows of at most eight pictures."""
    most = max((len(section.tiles) for section in sections), default=0)
    columns = min(_COLUMNS, max(_LEAST_COLUMNS, most))
    width = 2 * _MARGIN + columns * (_SIDE + _GAP) - _GAP
    height = 2 * _MARGIN + _HEAD + sum(_height(section, columns) for section in sections)
    figure = blank_figure(width, height)
    # The axes cover the figure; coordinates are inches from the upper left corner.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    _write(axes, (_MARGIN, _MARGIN + 0.17), title, 15, INK, weight="bold")
    _write(axes, (_MARGIN, _MARGIN + 0.43), subtitle, 10, QUIET)
    top = _MARGIN + _HEAD
    for section in sections:
        _draw(axes, section, columns, top)
        top += _height(section, columns)
    return figure


def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrinks a picture of shape (height, width, 3) so that its long side is at most `FINEST`."""
    height, width = image.shape[:2]
    scale = FINEST / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _heading(section: Section, columns: int) -> list[str]:
    return wrap(drawable_text(section.heading), int(columns * (_SIDE + _GAP) / _TEXT_LETTER))


def _text(tile: Tile) -> list[str]:
    return wrap(drawable_text(tile.text), _REASON_LETTERS)


def _row_height(section: Section) -> float:
    lines = 1 + max((len(_text(tile)) for tile in section.tiles), default=0)
    return _SIDE + lines * _LINE + _GAP


def _height(section: Section, columns: int) -> float:
    heading = _heading(section, columns)
    rows = -(-len(section.tiles) // columns)
    return (_ABOVE + len(heading) * _TEXT_LINE if heading else 0.0) + rows * _row_height(section)


def _draw(axes: Any, section: Section, columns: int, top: float) -> None:
    heading = _heading(section, columns)
    for line in heading:
        _write(axes, (_MARGIN, top + _ABOVE), line, _TEXT_TYPE, INK)
        top += _TEXT_LINE
    if heading:
        top += _ABOVE
    corners = [
        (_MARGIN + number % columns * (_SIDE + _GAP), top + number // columns * _row_height(section))
        for number in range(len(section.tiles))
    ]
    for tile, (left, upper) in zip(section.tiles, corners, strict=True):
        _place(axes, tile, left, upper)
        lines = [fit_text(tile.name, _SIDE + _GAP / 2, _TYPE), *_text(tile)]
        for number, line in enumerate(lines):
            color = QUIET if number else INK
            _write(axes, (left + _SIDE / 2, upper + _SIDE + (number + 1) * _LINE), line, _TYPE, color, place="center")
    pictured = [corner for tile, corner in zip(section.tiles, corners, strict=True) if tile.image is not None]
    _mark(axes, section, np.array(pictured).reshape(-1, 1, 2))


def _place(axes: Any, tile: Tile, left: float, upper: float) -> None:
    """Draws a picture centered in its square, or an empty frame."""
    axes.add_patch(Rectangle((left, upper), _SIDE, _SIDE, facecolor=GROUND, edgecolor="none"))
    if tile.image is None:
        axes.add_patch(Rectangle((left, upper), _SIDE, _SIDE, fill=False, edgecolor=_RULE, linewidth=0.8))
        ends = np.array([0.36, 0.64]) * _SIDE
        for way in (ends, ends[::-1]):
            axes.plot(left + ends, upper + way, color=_RULE, linewidth=1.2)
        return
    height, width = (side * _SIDE / max(tile.image.shape[:2]) for side in tile.image.shape[:2])
    left, upper = left + (_SIDE - width) / 2, upper + (_SIDE - height) / 2
    axes.imshow(tile.image, extent=(left, left + width, upper + height, upper), aspect="auto", zorder=1.5)


def _mark(axes: Any, section: Section, corners: NDArray[np.float64]) -> None:
    """Marks the same points faintly on all pictures. Shape of `corners`: (tiles, 1, 2)."""
    # Light lines with a dark outline are visible on any skin.
    rim = [withStroke(linewidth=1.6, foreground=INK, alpha=0.35)]
    if section.points is not None:
        x, y = (corners + section.points * _SIDE).reshape(-1, 2).T
        axes.plot(x, y, linestyle="", marker="+", markersize=4.5, mew=0.7, color=PAPER, alpha=0.75, path_effects=rim)
    if section.has_axis:
        x, y = corners.reshape(-1, 2).T
        axes.vlines(x + _SIDE / 2, y, y + _SIDE, color=PAPER, linewidth=0.6, alpha=0.6, path_effects=rim)


def _write(
    axes: Any,
    at: tuple[float, float],
    text: str,
    size: float,
    color: str,
    *,
    weight: str = "normal",
    place: str = "left",
) -> None:
    axes.text(*at, text, size=size, color=color, weight=weight, ha=place, va="baseline", parse_math=False)
