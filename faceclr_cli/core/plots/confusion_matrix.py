"""Plot of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faceclr_cli.core.plots.figure_style import (
    INK,
    PAPER,
    QUIET,
    SHARE_COLORS,
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
"""Maximum number of people whose names are on both axes."""
_NUMBERED = 40
"""Maximum number of people for which the cells show their counts."""
_WORST = 12
"""Number of lines next to a matrix without names."""
_MARGIN, _HEAD, _TYPE = 0.3, 0.72, 9.0
"""The margin and the height of the title in inches, and the font size in points."""
_SMALLEST, _LARGEST, _SIDE = 0.24, 0.6, 6.2
"""Inches: the minimum and maximum width of a cell, and the approximate width of a matrix of many people."""
_NAMES, _LEAST_WIDTH, _BAR = 2.0, 7.0, 0.16
"""Inches: the maximum width of names, the minimum width of the picture, and the width of the color bar."""
_DARK = 0.45
"""Share above which a cell is dark and its number is drawn in a light color."""
_RULE, _MISTAKE = "#DDE2E7", "#D55E00"


def draw_confusion(target: Path, matrix: Counts, names: Sequence[str], title: str) -> None:
    """Draws a confusion matrix, normalized by row.

    Up to 60 people have their names on the axes, and up to 40 their counts in the cells. For more people, the plot
    marks the errors and lists the people with the lowest recall. The same arguments give the same bytes.

    Args:
        target: Output file: .jpg, .png, .webp, .pdf or .svg.
        matrix: Counts, with a row for each true person and a column for each prediction. Shape: (people, people).
        names: Names of the people.
        title: One line.

    Raises:
        ConfigError: The suffix is not a supported picture format.
        DataError: The picture cannot be written.
        ValueError: The shapes differ, or all counts are zero.
    """
    require_drawable(target)
    with plain_style():
        save_whole(compose_confusion(matrix, names, title), target)


def compose_confusion(matrix: Counts, names: Sequence[str], title: str) -> Figure:
    """Returns the figure; its first axes show the matrix.

    Raises:
        ValueError: See `draw_confusion`.
    """
    if matrix.shape != (len(names), len(names)) or not matrix.any():
        raise ValueError(f"a matrix of {matrix.shape} for {len(names)} people cannot be drawn")
    cell = min(_LARGEST, max(_SMALLEST, _SIDE / len(names)))
    if len(names) > _NAMED:
        return _unnamed(matrix, names, title)
    shown = [fit_text(name, _NAMES, _TYPE) for name in names]
    # Names have some space around them.
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
    """Draws the matrix without names, next to a list of the people with the lowest recall."""
    figure = blank_figure(2 * _MARGIN + 0.7 + _SIDE + 1.1 + 3.4, 2 * _MARGIN + _HEAD + 0.1 + _SIDE + 0.55)
    _titles(figure, matrix, title)
    axes = _matrix(figure, matrix, _MARGIN + 0.7, _SIDE)
    axes.set(xlabel="predicted person (index in alphabetical order)")
    axes.tick_params(labelsize=_TYPE, labelcolor=QUIET)
    _mistakes(axes, matrix)
    shares, support = _shares(matrix).diagonal(), matrix.sum(axis=1)
    tested = np.flatnonzero(support)
    worst = tested[np.argsort(shares[tested], kind="stable")][:_WORST]
    width, height = figure.get_size_inches()
    left, top = width - _MARGIN - 3.3, _MARGIN + _HEAD + 0.25
    lines = [("Lowest recall", 10.5, INK)]
    lines += [(_line(matrix, names, int(person)), _TYPE, INK) for person in worst]
    for number, (text, size, color) in enumerate(lines):
        place = left / width, 1 - (top + 0.32 * number) / height
        figure.text(*place, text, size=size, color=color, parse_math=False)
    return figure


def _mistakes(axes: Any, matrix: Counts) -> None:
    """Marks errors with dots, since single cells are too small to see. The area grows with the share of pictures."""
    wrong = np.argwhere((matrix > 0) & ~np.eye(len(matrix), dtype=bool))
    sizes = 1.5 + 40 * _shares(matrix)[tuple(wrong.T)]
    axes.scatter(wrong[:, 1], wrong[:, 0], s=sizes, color=_MISTAKE, linewidths=0, label="errors (area: share)")
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
    """Returns a line such as `3 of 7  ann_lee`."""
    return f"{matrix[person, person]} of {matrix[person].sum()}  {fit_text(names[person], 2.5, _TYPE)}"


def _shares(matrix: Counts) -> NDArray[np.float64]:
    """Normalizes each row to shares; rows without pictures are zeros. Shape: (people, people)."""
    shares: NDArray[np.float64] = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    return shares


def _titles(figure: Figure, matrix: Counts, title: str) -> None:
    pictures, right = int(matrix.sum()), int(np.trace(matrix))
    facts = (
        f"{format_count(pictures, 'test picture', 'test pictures')} of {len(matrix):,} people  ·  "
        f"{right / pictures:.1%}"
    )
    width, height = figure.get_size_inches()
    # Bold text is wider than `fit_text` measures.
    whole = fit_text(title, 0.85 * (width - 2 * _MARGIN), 15)
    lines = ((whole, 0.17, 15, INK, "bold"), (f"{facts} correct", 0.45, 10, QUIET, "normal"))
    for text, y, size, color, weight in lines:
        place = _MARGIN / width, 1 - (_MARGIN + y) / height
        figure.text(*place, text, size=size, color=color, weight=weight, parse_math=False)


def _matrix(figure: Figure, matrix: Counts, left: float, side: float) -> Any:
    """Draws the matrix in a square `left` inches from the edge, with a color bar next to it."""
    width, height = figure.get_size_inches()
    top = _MARGIN + _HEAD + 0.1
    low = 1 - (top + side) / height
    axes = figure.add_axes((left / width, low, side / width, side / height), facecolor=PAPER)
    image = axes.imshow(_shares(matrix), cmap=SHARE_COLORS, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.tick_params(length=0)
    axes.set_xlabel("predicted person", size=_TYPE, color=QUIET)
    axes.set_ylabel("true person", size=_TYPE, color=QUIET)
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
    """Writes the counts into the cells; empty cells have no number."""
    shares = _shares(matrix)
    for row, column in np.argwhere(matrix > 0):
        color = PAPER if shares[row, column] >= _DARK else INK
        text = drawable_text(f"{matrix[row, column]:,}")
        axes.text(column, row, text, size=size, color=color, ha="center", va="center_baseline")
