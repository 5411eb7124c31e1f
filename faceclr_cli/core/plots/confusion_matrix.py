"""Who was taken for whom: a row for each person, a column for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faceclr_cli.core.plots.figure_style import (
    ACCENT,
    INK,
    PAPER,
    QUIET,
    blank_figure,
    drawable_text,
    fit_text,
    format_count,
    plain_style,
    require_drawable,
    save_whole,
    text_width,
)

Counts = NDArray[np.int64]

_NAMED = 60
"""People up to whom each has a name on both axes."""
_NUMBERED = 40
"""People up to whom every cell says its number of pictures."""
_WORST = 12
"""Lines beside a matrix without names."""
_MARGIN, _HEAD, _TYPE = 0.3, 0.72, 9.0
"""Inches: the paper around the drawing, the room for the title; and the size of letters in points."""
_SMALLEST, _LARGEST, _SIDE = 0.24, 0.6, 6.2
"""Inches: the least and the most that a cell is wide, and about how wide the matrix of many people is."""
_NAMES, _LEAST_WIDTH, _BAR = 2.0, 7.0, 0.16
"""Inches: the room for names at most, the least width of the picture, the width of the scale."""
_DARK = 0.45
"""Share from which a cell is so dark that its number is light."""
_RULE, _MISTAKE = "#DDE2E7", "#D55E00"

# One hue from light to dark: the order is seen without colors too, by the color-blind and in gray print.
_SCALE = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#D9D6EF", "#9A92CE", "#5B4FA8", ACCENT, "#1B1147"])


def draw_confusion(target: Path, matrix: Counts, names: Sequence[str], title: str) -> None:
    """Draws how often each person was taken for each, as shares of that person's pictures.

    Up to 60 people have their names on the axes, up to 40 their counts in the cells. Of more, the matrix shows where
    the mistakes are, and those who were named worst are listed beside it. The same arguments give the same bytes.

    Args:
        target: The picture: .jpg, .png, .webp, .pdf or .svg.
        matrix: A row for each true person, a column for each answer. Shape: (people, people).
        names: Of the people.
        title: One line.

    Raises:
        ConfigError: The suffix is of no format in which pictures are drawn.
        DataError: The picture cannot be written.
        ValueError: The shapes differ, or there is no picture.
    """
    require_drawable(target)
    with plain_style():
        save_whole(compose_confusion(matrix, names, title), target)


def compose_confusion(matrix: Counts, names: Sequence[str], title: str) -> Figure:
    """The picture before it is written: the matrix is the first of its axes.

    Raises:
        ValueError: See `draw_confusion`.
    """
    if matrix.shape != (len(names), len(names)) or not matrix.any():
        raise ValueError(f"a matrix of {matrix.shape} for {len(names)} people makes no picture")
    cell = min(_LARGEST, max(_SMALLEST, _SIDE / len(names)))
    if len(names) > _NAMED:
        return _unnamed(matrix, names, title)
    shown = [fit_text(name, _NAMES, _TYPE) for name in names]
    # Bold or not, a name needs its own width and some air.
    room, side = max(text_width(name, _TYPE) for name in shown) + 0.15, cell * len(names)
    width = max(_LEAST_WIDTH, 2 * _MARGIN + 0.3 + room + side + 1.1)
    figure = blank_figure(width, 2 * _MARGIN + _HEAD + 0.1 + side + room + 0.3)
    _titles(figure, matrix, title)
    axes = _matrix(figure, matrix, _MARGIN + 0.3 + room, side)
    axes.set_xticks(range(len(shown)), shown, rotation=90, size=_TYPE, color=INK, parse_math=False)
    axes.set_yticks(range(len(shown)), shown, size=_TYPE, color=INK, parse_math=False)
    if len(names) <= _NUMBERED:
        _numbers(axes, matrix, min(_TYPE, 30 * cell))
    return figure


def _unnamed(matrix: Counts, names: Sequence[str], title: str) -> Figure:
    """The matrix without names, and beside it the people who were named worst."""
    figure = blank_figure(2 * _MARGIN + 0.7 + _SIDE + 1.1 + 3.4, 2 * _MARGIN + _HEAD + 0.1 + _SIDE + 0.55)
    _titles(figure, matrix, title)
    axes = _matrix(figure, matrix, _MARGIN + 0.7, _SIDE)
    axes.set(xlabel="taken for (people by number, in the order of names)")
    axes.tick_params(labelsize=_TYPE, labelcolor=QUIET)
    _mistakes(axes, matrix)
    shares, support = _shares(matrix).diagonal(), matrix.sum(axis=1)
    asked = np.flatnonzero(support)
    worst = asked[np.argsort(shares[asked], kind="stable")][:_WORST]
    width, height = figure.get_size_inches()
    left, top = width - _MARGIN - 3.3, _MARGIN + _HEAD + 0.25
    lines = [("Named right least often", 10.5, INK)]
    lines += [(_line(matrix, names, int(person)), _TYPE, INK) for person in worst]
    for number, (text, size, color) in enumerate(lines):
        place = left / width, 1 - (top + 0.32 * number) / height
        figure.text(*place, text, size=size, color=color, parse_math=False)
    return figure


def _mistakes(axes: Any, matrix: Counts) -> None:
    """Dots, since a cell as small as these is not seen; the larger, the larger the share of the person's pictures."""
    wrong = np.argwhere((matrix > 0) & ~np.eye(len(matrix), dtype=bool))
    sizes = 1.5 + 40 * _shares(matrix)[tuple(wrong.T)]
    axes.scatter(
        wrong[:, 1], wrong[:, 0], s=sizes, color=_MISTAKE, linewidths=0, label="mistakes: the larger, the more"
    )
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1.005),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=_TYPE,
        labelcolor=INK,
    )


def _line(matrix: Counts, names: Sequence[str], person: int) -> str:
    """`3 of 7  somebody`."""
    return f"{matrix[person, person]} of {matrix[person].sum()}  {fit_text(names[person], 2.5, _TYPE)}"


def _shares(matrix: Counts) -> NDArray[np.float64]:
    """Of each person's pictures. Rows without pictures are zeros. Shape: (people, people)."""
    shares: NDArray[np.float64] = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    return shares


def _titles(figure: Figure, matrix: Counts, title: str) -> None:
    pictures, right = int(matrix.sum()), int(np.trace(matrix))
    facts = (
        f"{format_count(pictures, 'test picture', 'test pictures')} of {len(matrix):,} people  ·  "
        f"{right / pictures:.1%}"
    )
    width, height = figure.get_size_inches()
    # Bold type is wider than what `fitted` measures.
    whole = fit_text(title, 0.85 * (width - 2 * _MARGIN), 15)
    lines = ((whole, 0.17, 15, INK, "bold"), (f"{facts} named right", 0.45, 10, QUIET, "normal"))
    for text, y, size, color, weight in lines:
        place = _MARGIN / width, 1 - (_MARGIN + y) / height
        figure.text(*place, text, size=size, color=color, weight=weight, parse_math=False)


def _matrix(figure: Figure, matrix: Counts, left: float, side: float) -> Any:
    """A square drawing area, `left` inches from the edge, and the scale beside it."""
    width, height = figure.get_size_inches()
    top = _MARGIN + _HEAD + 0.1
    low = 1 - (top + side) / height
    axes = figure.add_axes((left / width, low, side / width, side / height), facecolor=PAPER)
    image = axes.imshow(_shares(matrix), cmap=_SCALE, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.tick_params(length=0)
    axes.set_xlabel("taken for", size=_TYPE, color=QUIET)
    axes.set_ylabel("person", size=_TYPE, color=QUIET)
    for line in axes.spines.values():
        line.set_color(_RULE)
    if len(matrix) <= _NAMED:
        edges = np.arange(0.5, len(matrix) - 1)
        axes.hlines(edges, -0.5, len(matrix) - 0.5, color=_RULE, linewidth=0.5)
        axes.vlines(edges, -0.5, len(matrix) - 0.5, color=_RULE, linewidth=0.5)
    high = min(side, 2.4)
    scale = figure.add_axes(((left + side + 0.25) / width, 1 - (top + high) / height, _BAR / width, high / height))
    bar = figure.colorbar(image, cax=scale, ticks=[0, 0.5, 1])
    bar.outline.set(visible=False)
    scale.set_yticklabels(["0%", "50%", "100%"], size=_TYPE, color=QUIET)
    scale.tick_params(length=0)
    return axes


def _numbers(axes: Any, matrix: Counts, size: float) -> None:
    """How many pictures each cell stands for; nothing where there are none."""
    shares = _shares(matrix)
    for row, column in np.argwhere(matrix > 0):
        color = PAPER if shares[row, column] >= _DARK else INK
        text = drawable_text(f"{matrix[row, column]:,}")
        axes.text(column, row, text, size=size, color=color, ha="center", va="center_baseline")
