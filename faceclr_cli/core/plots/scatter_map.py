"""Scatter plot of faces, with a color and shape per person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from faceclr_cli.core.plots.figure_style import (
    GROUND,
    INK,
    PAPER,
    QUIET,
    blank_figure,
    drawable_text,
    plain_style,
    save,
    text_width,
)
from faceclr_cli.core.plots.map_marks import UNKNOWN_MARK, Mark, mark_of

_AREA_OF = {"o": 1.0, "^": 1.15, "s": 0.8, "D": 0.72, "v": 1.15, "P": 1.15, "X": 1.15}

_SIDE, _HEAD, _MARGIN = 8.0, 0.62, 0.3
"""Inches: the side of the map, the height of the title, and the margin."""
_COLUMN, _SIGN = 2.1, 0.62
"""Inches: the minimum width of a legend column, and its width beside the text."""
_LEGEND_TYPE = 10  # Points
_LINES = 32
_LISTED = 3 * _LINES
"""Maximum number of people in the legend; more would make it wider than the map."""
_NAMED_ON_THE_MAP = 40
PICTURED = 500
"""Maximum number of unlabeled faces that are drawn as pictures; more would overlap."""
_PICTURE = (0.22, 0.6)
"""Inches: the side of these pictures for many and for few faces."""
_TYPE, _AIR = 8.5, 0.004
"""For names on the map: the font size in points, and the gap above the faces as a share of the map's side."""
_HEIGHT = 0.02
"""Height of a name as a share of the map's side."""
_SHIFTS_X, _SHIFTS_Y = np.linspace(-0.06, 0.06, 13), np.linspace(-0.18, 0.06, 49)
"""How far a name may be moved from its place above the faces."""
_COST_OF_FACE, _COST_OF_NAME = 0.03, 1.0
"""The distance by which a name is moved to cover one face or one name less."""
_CROWD = 0.08
"""Maximum median distance of a person's faces from their center, as a share of the map's side, for drawing a name."""


def draw_map(
    path: Path,
    points: NDArray[np.floating[Any]],
    people: Sequence[str | None],
    *,
    title: str,
    subtitle: str,
    thumbnails: Sequence[NDArray[np.uint8] | None] = (),
) -> None:
    """Draws the map; the same arguments give the same bytes.

    Args:
        path: Output file: .png, .svg or .pdf.
        points: Position of each face. Shape: (faces, 2).
        people: Name of each face's person, or None if unknown. Shape: (faces,).
        title: One line.
        subtitle: One line in a smaller font.
        thumbnails: Square picture of each face, or None. Drawn only if all people are unknown. Shape: (faces,) or (0,).

    Raises:
        ValueError: The shapes differ, or there are no faces.
    """
    if points.shape != (len(people), 2) or not len(people):
        raise ValueError(f"points of {points.shape} and {len(people)} people do not match")
    names = sorted({name for name in people if name is not None})
    with plain_style():
        figure = _compose(points, people, names, title, subtitle)
        if not names and thumbnails:
            _picture(figure.axes[0], points, thumbnails)
        save(figure, path)


def _compose(
    points: NDArray[np.floating[Any]], people: Sequence[str | None], names: list[str], title: str, subtitle: str
) -> Figure:
    lines = _legend_lines(people, names)
    columns = -(-len(lines) // _LINES)
    column = max([_COLUMN, *(_SIGN + text_width(line, _LEGEND_TYPE) for line in lines)])
    width, height = 2 * _MARGIN + _SIDE + columns * column, 2 * _MARGIN + _SIDE + _HEAD
    figure = blank_figure(width, height)
    axes = figure.add_axes((_MARGIN / width, _MARGIN / height, _SIDE / width, _SIDE / height), facecolor=GROUND)
    axes.set(xticks=[], yticks=[], aspect="equal", **_limits(points))
    for side in axes.spines.values():
        side.set_visible(False)
    _scatter(axes, points, people, names)
    if len(names) <= _NAMED_ON_THE_MAP:
        _name_crowds(axes, points, people, names)
    for text, y, size, color, weight in ((title, 0.17, 15, INK, "bold"), (subtitle, 0.46, 10, QUIET, "normal")):
        figure.text(
            _MARGIN / width,
            1 - (_MARGIN + y) / height,
            drawable_text(text),
            size=size,
            color=color,
            weight=weight,
            va="baseline",
            parse_math=False,
        )
    if names:
        _legend(axes, lines, len(names), columns)
    return figure


def _limits(points: NDArray[np.floating[Any]]) -> dict[str, tuple[float, float]]:
    """Returns the limits of a square with some space around the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    center, reach = (low + high) / 2, float((high - low).max()) * 0.54 or 1.0
    return {
        "xlim": (float(center[0]) - reach, float(center[0]) + reach),
        "ylim": (float(center[1]) - reach, float(center[1]) + reach),
    }


def _scatter(axes: Any, points: NDArray[np.floating[Any]], people: Sequence[str | None], names: list[str]) -> None:
    area = _area(len(people))
    line = min(0.7, 0.08 * np.sqrt(area))
    numbers = {name: number for number, name in enumerate(names)}
    owners = np.array([-1 if name is None else numbers[name] for name in people])
    for number in range(-1, len(names)):
        mine = points[owners == number]
        mark = mark_of(number) if number >= 0 else UNKNOWN_MARK
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=area * _AREA_OF[mark.shape],
            c=mark.color,
            marker=mark.shape,
            alpha=0.9,
            linewidths=line,
            edgecolors=PAPER,
        )


def _picture(axes: Any, points: NDArray[np.floating[Any]], thumbnails: Sequence[NDArray[np.uint8] | None]) -> None:
    """Draws faces at their points, small enough that faces in a crowd remain distinguishable."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    side = (right - left) / _SIDE * float(np.clip(_SIDE / np.sqrt(max(len(thumbnails), 1)) / 1.8, *_PICTURE))
    paper = np.full((1, 1, 3), 255, np.uint8)
    for (x, y), thumbnail in zip(points, thumbnails, strict=False):
        if thumbnail is not None:
            for drawn, reach in ((paper, 0.54 * side), (thumbnail, 0.5 * side)):
                axes.imshow(drawn, extent=(x - reach, x + reach, y - reach, y + reach), zorder=3)
    axes.set(xlim=(left - side / 2, right + side / 2), ylim=(bottom - side / 2, top + side / 2))


def _area(faces: int) -> float:
    """Returns the area of a mark in square points, which decreases with the number of faces to limit overlap."""
    return float(np.clip(26_000 / faces, 5, 90))


def _name_crowds(axes: Any, points: NDArray[np.floating[Any]], people: Sequence[str | None], names: list[str]) -> None:
    """Writes the names of people whose faces are close together near these faces."""
    places, owners = axes.transLimits.transform(points), np.array(people, dtype=object)
    radius = np.sqrt(_area(len(people))) / 2 / (72 * _SIDE)
    anchors, texts = [], []
    for name in names:
        mine = places[owners == name]
        middle = np.median(mine, axis=0)
        if np.median(np.linalg.norm(mine - middle, axis=1)) < _CROWD:
            text = _shortened(drawable_text(name))
            # Directly above the highest face under the name, ignoring outliers.
            under = np.abs(mine - middle) < [max(_width(text) / 2, radius), _CROWD]
            highest = mine[under.all(axis=1), 1].max(initial=middle[1])
            anchors.append((middle[0], highest + radius + _AIR))
            texts.append(text)
    for text, (x, y) in zip(texts, _place_names(anchors, texts, places, radius), strict=True):
        axes.text(
            x,
            y,
            text,
            transform=axes.transAxes,
            size=_TYPE,
            weight="bold",
            color=INK,
            ha="center",
            va="bottom",
            parse_math=False,
            path_effects=[withStroke(linewidth=2.6, foreground=GROUND, alpha=0.85)],
        )


def _place_names(
    anchors: Sequence[tuple[float, float]], texts: Sequence[str], places: NDArray[np.float64], radius: float
) -> list[NDArray[np.float64]]:
    """Finds a place for each name near its anchor where it covers as few faces and names as possible.

    Args:
        anchors: Preferred place of the middle of each name's baseline, in units of the map's side.
        texts: The names.
        places: The faces, in the same units. Shape: (faces, 2).
        radius: Radius of the mark of a face, in the same units.

    Returns:
        The place of each name.
    """
    distances = np.hypot(*np.meshgrid(_SHIFTS_X, _SHIFTS_Y))
    half = np.array([(_width(text) / 2, _HEIGHT / 2) for text in texts]).reshape(-1, 2)
    rise = np.array([0, _HEIGHT / 2])  # From the baseline to the middle of a name.
    found: list[NDArray[np.float64]] = []
    for anchor, own in zip(anchors, half, strict=True):
        xs = np.clip(anchor[0] + _SHIFTS_X, own[0], max(own[0], 1 - own[0]))
        ys = np.clip(anchor[1] + _SHIFTS_Y, 0, 1 - _HEIGHT)
        covered = _count_overlaps(xs, ys + rise[1], places, own + radius)
        others = np.array(found).reshape(-1, 2) + rise
        crossed = _count_overlaps(xs, ys + rise[1], others, own + half[: len(found)])
        costs = distances + _COST_OF_FACE * covered + _COST_OF_NAME * crossed
        row, column = np.unravel_index(np.argmin(costs), costs.shape)
        found.append(np.array([xs[column], ys[row]]))
    return found


def _count_overlaps(
    xs: NDArray[np.float64], ys: NDArray[np.float64], middles: NDArray[np.float64], reach: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Counts the things that overlap with a name at each place of a grid.

    Args:
        xs: Middles of the name from left to right. Shape: (X,).
        ys: Middles of the name from bottom to top. Shape: (Y,).
        middles: Middles of the things. Shape: (N, 2).
        reach: Distances, horizontal and vertical, below which they overlap. Shape: (2,) or (N, 2).

    Returns:
        Shape: (Y, X).
    """
    beside = np.abs(xs[:, None] - middles[:, 0]) < reach[..., 0]
    level = np.abs(ys[:, None] - middles[:, 1]) < reach[..., 1]
    return level.astype(np.float32) @ beside.astype(np.float32).T


def _width(text: str) -> float:
    """Returns the width of a name in units of the map's side; bold text is wider than `text_width` measures."""
    return 1.15 * text_width(text, _TYPE) / _SIDE


def _legend_lines(people: Sequence[str | None], names: list[str]) -> list[str]:
    """Returns the names and numbers of faces of the first people, and a line with the number of other people."""
    counts = Counter(people)
    shown = names if len(names) <= _LISTED else names[: _LISTED - 1]
    lines = [f"{_shortened(drawable_text(name))}  {counts[name]}" for name in shown]
    return lines if len(shown) == len(names) else [*lines, f"and {len(names) - len(shown):,} more"]


def _legend(axes: Any, lines: list[str], people: int, columns: int) -> None:
    signs = [_legend_sign(mark_of(number)) for number in range(min(people, len(lines)))]
    if len(lines) < people:
        signs[-1] = Line2D([], [], linestyle="")
    legend = axes.legend(
        signs,
        # The texts are set below, because matplotlib ignores labels that begin with an underscore.
        [str(number) for number in range(len(lines))],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.0,
        frameon=False,
        ncols=columns,
        handletextpad=0.4,
        labelspacing=0.62,
        labelcolor=INK,
        fontsize=_LEGEND_TYPE,
    )
    for text, line in zip(legend.get_texts(), lines, strict=True):
        text.set_parse_math(False)
        text.set_text(line)


def _legend_sign(mark: Mark) -> Line2D:
    color, shape = mark.color, mark.shape
    return Line2D([], [], color=color, marker=shape, linestyle="", markersize=8, markeredgecolor=PAPER, mew=0.6)


def _shortened(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"
