"""Axes in the common style: without a frame, with labels and a legend above."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from faceclr_cli.core.plots.figure_style import INK, PAPER, QUIET

TYPE = 9.0
"""Font size of labels in points."""
RULE = "#DDE2E7"


def plain_axes(figure: Figure, left: float, low: float, width: float, height: float) -> Any:
    """Adds axes at a place in inches."""
    whole, high = figure.get_size_inches()
    axes = figure.add_axes((left / whole, low / high, width / whole, height / high), facecolor=PAPER)
    for name, side in axes.spines.items():
        side.set(visible=name in ("left", "bottom"), color=QUIET)
    axes.tick_params(labelsize=TYPE, color=QUIET, labelcolor=QUIET)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    return axes


def label_axes(axes: Any, across: str, up: str) -> None:
    """Labels the axes and adds a legend above them."""
    axes.set_xlabel(across, size=TYPE, color=QUIET)
    axes.set_ylabel(up, size=TYPE, color=QUIET)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.02),
        borderaxespad=0,
        borderpad=0,
        ncols=3,
        frameon=False,
        fontsize=TYPE,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.6,
    )


def format_rate(rate: float) -> str:
    """Formats a rate such as `0.01`, or `1e-5` below 1e-4."""
    return f"{rate:g}" if rate >= 1e-4 else f"{rate:.0e}".replace("e-0", "e-")
