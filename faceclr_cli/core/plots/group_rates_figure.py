"""Plot of the error rates of groups of people, and of pairs of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.plots.figure_style import (
    INK,
    PAPER,
    QUIET,
    SHARE_COLORS,
    blank_figure,
    fit_text,
    plain_style,
    require_drawable,
    save_whole,
    text_width,
)

_FMR_COLOR, _FNMR_COLOR, _RULE = "#D55E00", "#0072B2", "#DDE2E7"
_MARGIN, _TYPE, _TALLEST = 0.3, 9.0, 5.0
"""The margin in inches, the font size in points, and the maximum side of a heat map in inches."""
_HEAD, _FOOT, _ROW, _FEWEST_ROWS = 0.95, 0.75, 0.3, 7
"""Inches: the space above and below the axes, and the height of a group; and the minimum height in groups."""
_NAMES, _RATES, _GAP, _BAR = 1.6, 2.8, 0.5, 0.16
"""Inches: the maximum width of names, the width of the axes of rates, the gap between them, the width of the bar."""
_NUMBERED = 8
"""Maximum number of groups for which the cells of the heat map show their rates."""
_MOST = 40
"""Maximum number of reports in a picture."""


@dataclass(frozen=True, kw_only=True)
class DrawnRate:
    """A rate with its interval; each is None if it was not measured."""

    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class GroupPanels:
    """The panels of one report.

    Attributes:
        title: One line.
        facts: A line below the title.
        groups: Names of the groups.
        fmr: False match rate of each group.
        fnmr: False non-match rate of each group.
        all_fmr: False match rate of all pairs, drawn as a line.
        all_fnmr: False non-match rate of all pairs, drawn as a line.
        cross_fmr: False match rate of each pair of groups, or None. Symmetric.
    """

    title: str
    facts: str
    groups: tuple[str, ...]
    fmr: tuple[DrawnRate, ...]
    fnmr: tuple[DrawnRate, ...]
    all_fmr: float
    all_fnmr: float
    cross_fmr: tuple[tuple[float | None, ...], ...]


def draw_group_rates(target: Path, panels: Sequence[GroupPanels]) -> None:
    """Draws the rates of groups with their intervals on logarithmic axes, and a heat map of pairs of groups.

    Reports are drawn one below the other. A rate of 0 is at the edge of its axis. Equal arguments give equal bytes.

    Args:
        target: Output file: .jpg, .png, .webp, .pdf or .svg.
        panels: The reports.

    Raises:
        ConfigError: The suffix is not a supported picture format, or there are too many reports for a picture.
        DataError: The picture cannot be written.
        ValueError: There are no reports.
    """
    require_drawable(target)
    if len(panels) > _MOST:
        raise ConfigError(
            f"--groups-plot: {len(panels)} reports do not fit into a picture, at most {_MOST} do; see --json"
        )
    with plain_style():
        save_whole(compose_group_rates(panels), target)


def compose_group_rates(panels: Sequence[GroupPanels]) -> Figure:
    """Returns the figure with three axes for each report: FMR, FNMR and the heat map, then its color bar if any.

    Raises:
        ValueError: There are no reports.
    """
    if not panels:
        raise ValueError("there are no reports on groups to draw")
    heights = [_HEAD + _foot(each) + _ROW * max(_FEWEST_ROWS, len(each.groups)) for each in panels]
    figure = blank_figure(max(map(_room, panels)), sum(heights) + 2 * _MARGIN)
    top = _MARGIN
    for each, height in zip(panels, heights, strict=True):
        _report(figure, each, top, height)
        top += height
    return figure


def _foot(panels: GroupPanels) -> float:
    """Returns the space below the axes in inches. Names that do not fit side by side are drawn vertically there."""
    return max(_FOOT, 0.35 + _width(panels)) if _is_upright(panels) else _FOOT


def _is_upright(panels: GroupPanels) -> bool:
    return len(panels.groups) > 2 or _width(panels) > _side(panels) / len(panels.groups)


def _side(panels: GroupPanels) -> float:
    """Returns the side of the heat map in inches."""
    return min(_TALLEST, _ROW * max(_FEWEST_ROWS, len(panels.groups)))


def _room(panels: GroupPanels) -> float:
    """Returns the width of a report in inches."""
    return 2 * _MARGIN + 2 * (_width(panels) + _RATES + _GAP) + _side(panels) + 0.9


def _width(panels: GroupPanels) -> float:
    """Returns the width of the longest drawn name in inches, with some space."""
    return max(text_width(fit_text(name, _NAMES, _TYPE), _TYPE) for name in panels.groups) + 0.2


def _report(figure: Figure, panels: GroupPanels, top: float, height: float) -> None:
    width, total = figure.get_size_inches()
    # Bold text is wider than `fit_text` measures.
    title = fit_text(panels.title, 0.85 * (width - 2 * _MARGIN), 13)
    for text, y, size, color, weight in ((title, 0.15, 13, INK, "bold"), (panels.facts, 0.42, 10, QUIET, "normal")):
        place = _MARGIN / width, 1 - (top + y) / total
        figure.text(*place, text, size=size, color=color, weight=weight, parse_math=False)
    names = [fit_text(name, _NAMES, _TYPE) for name in panels.groups]
    foot, left = _foot(panels), _MARGIN + _width(panels)
    box = 1 - (top + height - foot) / total, (height - _HEAD - foot) / total
    kinds = (
        (panels.fmr, panels.all_fmr, _FMR_COLOR, "FMR: share of impostor pairs accepted"),
        (panels.fnmr, panels.all_fnmr, _FNMR_COLOR, "FNMR: share of genuine pairs rejected"),
    )
    for number, (rates, whole, rate_color, label) in enumerate(kinds):
        start = left + number * (_RATES + _GAP)
        axes = figure.add_axes((start / width, box[0], _RATES / width, box[1]), facecolor=PAPER)
        _rates(axes, rates, whole, rate_color, label)
        axes.set_yticks(range(len(names)), names if number == 0 else [""] * len(names), size=_TYPE, parse_math=False)
    start = left + 2 * (_RATES + _GAP) + _width(panels)
    _heat_map(figure, panels, names, start, box)


def _rates(axes: Any, rates: Sequence[DrawnRate], whole: float, color: str, label: str) -> None:
    known = [value for rate in rates for value in (rate.rate, rate.low, rate.high) if value]
    values = [*known, *([whole] if whole else [])]
    low = 10.0 ** np.floor(np.log10(min(values) * 0.99)) if values else 1e-3
    high = 10.0 ** np.ceil(np.log10(max(values) * 1.01)) if values else 1.0
    axes.set(xscale="log", xlim=(low, high), ylim=(len(rates) - 0.5, -0.5))
    if whole:
        axes.axvline(whole, color=QUIET, linewidth=1.1, linestyle=(0, (4, 2)))
    for place, rate in enumerate(rates):
        if rate.rate is None:
            axes.text(0.02, place, "too few pairs", transform=axes.get_yaxis_transform(), **_note())
            continue
        if rate.low is not None and rate.high is not None:
            axes.hlines(place, max(rate.low, low), max(rate.high, low), color=color, linewidth=2.2, alpha=0.45)
        axes.plot([max(rate.rate, low)], [place], "o" if rate.rate else "<", color=color, markersize=6, clip_on=False)
    for name, side in axes.spines.items():
        side.set(visible=name in ("left", "bottom"), color=QUIET)
    axes.tick_params(labelsize=_TYPE, color=QUIET, labelcolor=QUIET)
    axes.tick_params(axis="y", length=0, labelcolor=INK, pad=8)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=_RULE, linewidth=0.7)
    axes.set_xlabel(label, size=_TYPE, color=QUIET)


def _heat_map(figure: Figure, panels: GroupPanels, names: Sequence[str], left: float, box: tuple[float, float]) -> None:
    """Draws the FMR of pairs of groups. Cells without a rate are gray; a rate of 0 has the lightest color."""
    matrix = np.array([[np.nan if rate is None else rate for rate in row] for row in panels.cross_fmr])
    width, total = figure.get_size_inches()
    side = _side(panels)
    high = side / total
    bottom = box[0] + box[1] - high
    axes = figure.add_axes((left / width, bottom, side / width, high), facecolor=_RULE)
    positive = matrix[np.nan_to_num(matrix) > 0]
    low, top = (float(positive.min()), float(positive.max())) if len(positive) else (1e-3, 1.0)
    norm = LogNorm(vmin=low / 1.5, vmax=max(top, low * 1.01) * 1.1, clip=True)
    image = axes.imshow(np.where(matrix == 0, low / 2, matrix), cmap=SHARE_COLORS, norm=norm, interpolation="nearest")
    axes.set_yticks(range(len(names)), names, size=_TYPE, color=INK, parse_math=False)
    rotation = 90 if _is_upright(panels) else 0
    axes.set_xticks(range(len(names)), names, size=_TYPE, color=INK, rotation=rotation, parse_math=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_color(_RULE)
    axes.set_title("FMR of pairs of groups", size=_TYPE, color=QUIET, loc="left")
    if len(names) <= _NUMBERED:
        for row, column in np.argwhere(~np.isnan(matrix)):
            dark = norm(matrix[row, column] or low / 2) >= 0.5
            text = _cell_text(matrix[row, column], side / len(names))
            axes.text(column, row, text, **_note(PAPER if dark else INK, "center"))
    scale = figure.add_axes(((left + side + 0.15) / width, bottom, _BAR / width, high))
    ends = sorted({low, float(np.sqrt(low * top)), top})
    bar = figure.colorbar(image, cax=scale, ticks=ends)
    bar.outline.set(visible=False)
    scale.minorticks_off()
    scale.set_yticklabels([f"{end:.2g}" for end in ends], size=_TYPE, color=QUIET)
    scale.tick_params(length=0)


def _cell_text(rate: float, width: float) -> str:
    """Formats a rate with two significant digits, or with one if a cell of this width in inches has no room for two."""
    text = f"{rate:.2g}"
    return text if text_width(text, _TYPE - 1) < 0.9 * width else f"{rate:.1g}"


def _note(color: str = QUIET, across: str = "left") -> dict[str, Any]:
    return {"size": _TYPE - 1, "color": color, "ha": across, "va": "center_baseline"}
