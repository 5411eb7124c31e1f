"""The plot of groups shows every rate at its position, and states which rates were not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.plots.figure_style import plain_style
from faceclr_cli.core.plots.group_rates_figure import (
    DrawnRate,
    GroupPanels,
    compose_group_rates,
    draw_group_rates,
)

UNKNOWN = DrawnRate(rate=None, low=None, high=None)
PANELS = GroupPanels(
    title="sface: age",
    facts="threshold 0.363",
    groups=("under 20", "20 to 39", "40 and older"),
    fmr=(DrawnRate(rate=2e-3, low=1e-3, high=4e-3), DrawnRate(rate=0.0, low=0.0, high=3e-4), UNKNOWN),
    fnmr=(DrawnRate(rate=0.05, low=0.03, high=0.08), DrawnRate(rate=0.02, low=None, high=None), UNKNOWN),
    all_fmr=1e-3,
    all_fnmr=0.03,
    cross_fmr=((2e-3, 1e-4, None), (1e-4, 0.0, 5e-5), (None, 5e-5, None)),
)


def compose(*panels: GroupPanels) -> Figure:
    with plain_style():
        return compose_group_rates(panels)


def test_rates_and_intervals_are_drawn_where_they_are() -> None:
    fmr, fnmr, *_ = compose(PANELS).axes
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in fmr.lines if line.get_marker() not in ("None", "")]
    low, high = fmr.get_xlim()
    # A rate of zero is at the edge of the axis, as an arrow out of it.
    assert points == [(2e-3, 0), (low, 1)]
    assert low <= 3e-4 and high >= 4e-3 and fmr.get_xscale() == fnmr.get_xscale() == "log"
    spans = [[tuple(path.vertices[:, 0]) for path in lines.get_paths()] for lines in fmr.collections]
    assert spans == [[(1e-3, 4e-3)], [(low, 3e-4)]]
    assert len(fnmr.collections) == 1
    assert [text.get_text() for text in fmr.texts] == [text.get_text() for text in fnmr.texts] == ["too few pairs"]
    assert [label.get_text() for label in fmr.get_yticklabels()] == list(PANELS.groups)


def test_the_heat_map_has_the_rates_of_pairs_of_groups() -> None:
    heat = compose(PANELS).axes[2]
    shown = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in heat.texts}
    expected = {
        (row, column): f"{rate:.2g}"
        for row, rates in enumerate(PANELS.cross_fmr)
        for column, rate in enumerate(rates)
        if rate is not None
    }
    assert shown == expected
    colors = np.ma.getdata(heat.images[0].to_rgba(heat.images[0].get_array())).mean(axis=2)
    assert colors[0, 0] < colors[0, 1] < colors[1, 2] < colors[1, 1]  # The higher, the darker.


def test_numbers_are_exact_to_two_digits_where_there_is_room() -> None:
    close = ((0.125, 0.098), (0.098, 0.073))
    *_, heat, scale = compose(replace(PANELS, groups=("a", "b"), cross_fmr=close)).axes
    assert [text.get_text() for text in heat.texts] == ["0.12", "0.098", "0.098", "0.073"]
    assert [label.get_text() for label in scale.get_yticklabels()] == ["0.073", "0.096", "0.12"]
    many = compose(replace(PANELS, groups=tuple("abcdefgh"), cross_fmr=((0.00123,) * 8,) * 8)).axes[2]
    assert {text.get_text() for text in many.texts} == {"0.001"}


def test_two_long_names_below_the_heat_map_do_not_overlap() -> None:
    names = ("sixty years and older", "twenty to thirty-nine")
    figure = compose(replace(PANELS, groups=names, cross_fmr=((0.1, 0.2), (0.2, 0.3))))
    figure.canvas.draw()
    one, other = (label.get_window_extent() for label in figure.axes[2].get_xticklabels())
    assert one.x1 < other.x0
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_several_reports_are_below_each_other_and_no_text_leaves_the_picture(tmp_path: Path) -> None:
    long = replace(
        PANELS, title="an encoder with a name " * 20, groups=("a group with a long name " * 5, "b", "日本 $x^2$")
    )
    figure = compose(PANELS, long, PANELS)
    figure.canvas.draw()
    assert len(figure.axes) == 12
    assert figure.axes[0].get_position().y0 > figure.axes[4].get_position().y1
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    draw_group_rates(tmp_path / "a.svg", [PANELS, long])
    draw_group_rates(tmp_path / "b.svg", [PANELS, long])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_groups_without_any_rate_can_be_drawn(tmp_path: Path) -> None:
    none = replace(
        PANELS, fmr=(UNKNOWN,) * 3, fnmr=(UNKNOWN,) * 3, all_fmr=0.0, all_fnmr=0.0, cross_fmr=((None,) * 3,) * 3
    )
    draw_group_rates(tmp_path / "a.png", [none])
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_too_many_reports_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="41 reports do not fit into a picture"):
        draw_group_rates(tmp_path / "a.png", [PANELS] * 41)
    assert not (tmp_path / "a.png").exists()
