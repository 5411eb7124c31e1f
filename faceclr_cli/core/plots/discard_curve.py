"""Verification errors against the share of pictures that are left out because of their quality."""

from __future__ import annotations

from typing import Any

from faceclr_cli.core.plots.curves import DiscardCurves
from faceclr_cli.core.plots.figure_style import QUIET
from faceclr_cli.core.plots.plain_axes import TYPE, format_rate, label_axes

_MEASURES = {
    "stability": ("#0072B2", "-"),
    "norm": ("#E69F00", "-"),
    "detection_score": ("#009E73", "-"),
    "sharpness": ("#D55E00", "--"),
    "eye_distance": ("#CC79A7", "--"),
    "frontality": ("#56B4E9", "--"),
}
"""Color and line of each quality measure, from Okabe and Ito's color-blind safe scheme."""
_MOST_DISCARDED = 0.5


def draw_discards(axes: Any, discards: DiscardCurves | None) -> None:
    """Draws FNMR against the share of discarded pictures, or a note if the quality of the pictures is unknown."""
    if discards is None:
        axes.set_axis_off()
        text = "errors versus discarded pictures:\nneeds quality measures (faceclr embed --quality)"
        axes.text(0.5, 0.5, text, ha="center", va="center", size=TYPE, color=QUIET, transform=axes.transAxes)
        return
    highest = 0.0
    for name, (discarded, fnmr) in discards.curves.items():
        color, line = _MEASURES[name]
        shown = discarded <= _MOST_DISCARDED
        # In front of the axis, on which curves without errors lie.
        style = {"color": color, "linestyle": line, "drawstyle": "steps-post", "linewidth": 1.5, "zorder": 3}
        axes.plot(discarded[shown], fnmr[shown], label=name.replace("_", " "), clip_on=False, **style)
        highest = max(highest, float(fnmr[shown].max()))
    axes.set(xlim=(0, _MOST_DISCARDED), ylim=(0, 1.05 * highest or 1.0))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:.3g}")
    label_axes(axes, "pictures left out, lowest quality first", f"FNMR at FMR {format_rate(discards.far)}")
