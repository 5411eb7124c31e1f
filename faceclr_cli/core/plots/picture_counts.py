"""Plot of the number of pictures per person."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.plots.figure_style import (
    ACCENT,
    INK,
    PAPER,
    QUIET,
    UNKNOWN_COLOR,
    blank_figure,
    fit_text,
    format_count,
    plain_style,
    require_drawable,
    save_whole,
    text_width,
)

_NAMED = 40
"""Maximum number of people that are drawn as individual bars."""
_WIDTH, _MARGIN, _HEAD = 9.0, 0.3, 0.72
"""Inches: the width of the picture, its margin, and the height of the title."""
_BAR, _NAMES, _NUMBERS, _TYPE = 0.2, 2.0, 0.8, 9.0
"""The height of a bar and the width of names and numbers in inches, and the font size in points."""
_WIDE = 20
"""Ratio of the largest to the smallest count from which the scale is logarithmic."""
_CLASSES = 12
_STEPS = (1, 2, 5)
_RULE = "#DDE2E7"


def draw_counts(faces: Path, target: Path) -> None:
    """Draws the number of pictures per person: bars for up to 40 people, otherwise a curve and a histogram.

    The same folder gives the same bytes.

    Args:
        faces: A folder that `prepare` or `split` wrote.
        target: Output file: .jpg, .png, .webp, .pdf or .svg.

    Raises:
        ConfigError: The suffix of `target` is not a supported picture format.
        DataError: The folder cannot be read, or the picture cannot be written.
    """
    require_drawable(target)
    counts = Counter(open_faces(faces).identities)
    unknown = counts.pop(None, 0)
    people = {name: number for name, number in counts.items() if name is not None}
    ordered = dict(sorted(people.items(), key=lambda item: (-item[1], item[0])))
    with plain_style():
        if len(ordered) <= _NAMED:
            figure = _bars(ordered, unknown)
        else:
            figure = _overview(np.array(list(ordered.values())), unknown)
        save_whole(figure, target)


def count_classes(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Returns the inclusive ranges of a histogram of counts: 1, 2-4, 5-9, 10-19, 20-49, ...

    If the counts are close together, all ranges have the same length, which is a round number.

    Args:
        counts: Number of pictures of each person. Shape: (people,).
    """
    low, high = int(counts.min()), int(counts.max())
    if high >= _WIDE * low:
        bounds = [step * 10**power for power in range(len(str(high)) + 1) for step in _STEPS]
    else:
        lengths = (step * 10**power for power in range(len(str(high))) for step in _STEPS)
        length = next(step for step in lengths if high // step - low // step < _CLASSES)
        bounds = list(range(low // length * length, high + length + 1, length))
    ranges = [(first, after - 1) for first, after in pairwise(bounds)]
    return [(first, last) for first, last in ranges if last >= low and first <= high]


def count_top_people(counts: NDArray[np.int64]) -> int:
    """Returns the smallest number of people with half of all pictures. `counts` has the shape (people,)."""
    shares = np.cumsum(np.sort(counts)[::-1])
    return int(np.searchsorted(shares, counts.sum() / 2)) + 1


def _titles(figure: Figure, counts: NDArray[np.int64], unknown: int) -> None:
    others = f"{format_count(unknown, 'face', 'faces')} of unknown people"
    title, facts = others, []
    if len(counts):
        title = f"{format_count(int(counts.sum()), 'face', 'faces')} of {format_count(len(counts), 'person', 'people')}"
        fewest, most, middle = int(counts.min()), int(counts.max()), float(np.median(counts))
        facts.append(f"{fewest:,} per person" if fewest == most else f"{fewest:,} to {most:,} per person")
        if fewest != most:
            facts.append(f"mean {counts.mean():,.1f}")
            facts.append(f"median {middle:,.0f}" if middle.is_integer() else f"median {middle:,.1f}")
        if unknown:
            facts.append(f"and {others}")
    width, height = figure.get_size_inches()
    lines = ((title, 0.17, 15, INK, "bold"), ("  ·  ".join(facts), 0.45, 10, QUIET, "normal"))
    for text, y, size, color, weight in lines:
        figure.text(_MARGIN / width, 1 - (_MARGIN + y) / height, text, size=size, color=color, weight=weight)


def _axes(figure: Figure, left: float, top: float, wide: float, high: float) -> Any:
    """Adds axes without a frame; position in inches from the upper left corner."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height), facecolor=PAPER)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, labelsize=_TYPE, labelcolor=QUIET)
    axes.set_axisbelow(True)
    return axes


def _bars(people: dict[str, int], unknown: int) -> Figure:
    figure = blank_figure(_WIDTH, 2 * _MARGIN + _HEAD + max(1, len(people)) * _BAR)
    _titles(figure, np.array(list(people.values()), np.int64), unknown)
    color = ACCENT
    if not people:
        people, color = {"unknown": unknown}, UNKNOWN_COLOR
    names = [fit_text(name, _NAMES, _TYPE) for name in people]
    room = max(text_width(name, _TYPE) for name in names) + 0.1
    wide = _WIDTH - 2 * _MARGIN - room - _NUMBERS
    axes = _axes(figure, _MARGIN + room, _MARGIN + _HEAD, wide, len(names) * _BAR)
    places, numbers = range(len(names)), list(people.values())
    axes.barh(places, numbers, height=0.72, color=color)
    axes.set(xlim=(0, max(numbers)), ylim=(len(names) - 0.5, -0.5), xticks=[], yticks=[])
    for place, name, number in zip(places, names, numbers, strict=True):
        _label(axes, place, name, f"{number:,}", number)
    return figure


def _overview(counts: NDArray[np.int64], unknown: int) -> Figure:
    """Draws a curve of all people next to a histogram. Counts are in descending order."""
    high = 3.6
    figure = blank_figure(11.0, 2 * _MARGIN + _HEAD + high + 0.85)
    _titles(figure, counts, unknown)
    top = _MARGIN + _HEAD + 0.35
    _curve(_axes(figure, _MARGIN + 0.55, top, 4.6, high), counts)
    _histogram(_axes(figure, _MARGIN + 6.4, top, 2.75, high), counts)
    return figure


def _heading(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", size=10.5, color=INK, pad=10)


def _curve(axes: Any, counts: NDArray[np.int64]) -> None:
    half = count_top_people(counts)
    _heading(axes, f"Half of the faces belong to {half:,} of {len(counts):,} people ({_percent(half, len(counts))})")
    edges = np.arange(len(counts) + 1)
    axes.stairs(counts, edges, fill=True, color=ACCENT, alpha=0.25, linewidth=0)
    axes.stairs(counts[:half], edges[: half + 1], fill=True, color=ACCENT, linewidth=0)
    axes.set(xlim=(0, len(counts)), xlabel="people, by number of faces", ylabel="faces")
    axes.xaxis.label.set(color=QUIET, size=_TYPE)
    axes.yaxis.label.set(color=QUIET, size=_TYPE)
    if counts[0] >= _WIDE * counts[-1]:
        # The axis starts below the smallest count, so that it is visible.
        axes.set(yscale="log", ylim=(counts[-1] / 2, counts[0] * 1.1))
    else:
        axes.set(ylim=(0, counts[0] * 1.05))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    axes.minorticks_off()
    axes.grid(axis="y", color=_RULE, linewidth=0.7)


def _histogram(axes: Any, counts: NDArray[np.int64]) -> None:
    """Draws a bar for each range, and the number of people with fewer faces next to it."""
    ranges = count_classes(counts)
    numbers = [int(((counts >= first) & (counts <= last)).sum()) for first, last in ranges]
    _heading(axes, "People by their number of faces")
    places = range(len(ranges))
    axes.barh(places, numbers, height=0.74, color=ACCENT)
    # Leave room for the number of the longest bar.
    axes.set(xlim=(0, max(numbers) * 1.25), ylim=(max(len(ranges), 6) - 0.5, -1.4), xticks=[], yticks=[])
    _label(axes, -0.9, "faces", "people", 0, QUIET)
    _beside(axes, -0.9, "with fewer")
    for place, (first, last), number in zip(places, ranges, numbers, strict=True):
        _label(axes, place, f"{first:,}" if first == last else f"{first:,}–{last:,}", f"{number:,}", number)
        fewer = int((counts < first).sum())
        _beside(axes, place, f"{fewer:,} ({_percent(fewer, len(counts))})" if fewer else "0")


def _label(axes: Any, y: float, name: str, number: str, end: float, color: str = INK) -> None:
    """Writes a name to the left of a bar and a number at its end."""
    for text, x, shift, side in ((name, 0.0, -6, "right"), (number, end, 4, "left")):
        axes.annotate(
            text,
            (x, y),
            (shift, 0),
            textcoords="offset points",
            ha=side,
            va="center_baseline",
            size=_TYPE,
            color=color,
            parse_math=False,
        )


def _beside(axes: Any, y: float, text: str) -> None:
    """Writes text in a column to the right of the bars."""
    across = axes.get_yaxis_transform()
    axes.text(1.42, y, text, transform=across, ha="right", va="center_baseline", size=_TYPE, color=QUIET)


def _percent(part: int, whole: int) -> str:
    """Formats a percentage such as `12%` or `0.4%`, with a decimal below 1% and above 99%."""
    share = 100 * part / whole
    return f"{share:.0f}%" if share in (0, 100) or 1 <= share <= 99 else f"{share:.1f}%"
