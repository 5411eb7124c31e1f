"""The figure of reports on groups of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from faceclr_cli.core.evaluation.differentials.group_report import GroupReport
from faceclr_cli.core.metrics.group_rates import GroupRate
from faceclr_cli.core.plots.figure_style import require_drawable
from faceclr_cli.core.plots.group_rates_figure import DrawnRate, GroupPanels, draw_group_rates
from faceclr_cli.core.sources.output_folders import require_outside


def require_group_plot(path: Path | None, root: Path | None = None) -> None:
    """Checks the name of a plot before the measurement, which may take hours.

    Args:
        path: The plot, or None.
        root: The folder of the pictures, or None.

    Raises:
        ConfigError: The suffix is not a supported picture format, or the plot would be inside the folder.
    """
    if path is not None:
        require_drawable(path)
        require_outside("--groups-plot", path, root)


def draw_group_reports(path: Path, reports: Mapping[str, Sequence[GroupReport]]) -> None:
    """Draws reports, one below the other.

    Args:
        path: The output file.
        reports: The reports by title.

    Raises:
        ConfigError: The suffix is not a supported figure format.
        DataError: The figure cannot be written.
    """
    panels = [_panels(title, report) for title, several in reports.items() for report in several]
    draw_group_rates(path, panels)


def _panels(title: str, report: GroupReport) -> GroupPanels:
    places = {group.group: place for place, group in enumerate(report.groups)}
    rates: list[list[float | None]] = [[None] * len(places) for _ in places]
    for place, group in enumerate(report.groups):
        rates[place][place] = group.fmr.rate
    for pair in report.pairs:
        one, other = places[pair.first], places[pair.second]
        rates[one][other] = rates[other][one] = pair.fmr.rate
    target = "" if report.far is None else f", for a FAR of {report.far:g}"
    return GroupPanels(
        title=f"{title}: {report.attribute}",
        facts=f"threshold {report.threshold:.3f}{target}  ·  all pairs: FMR {report.fmr:.2g}, FNMR {report.fnmr:.2g}",
        groups=tuple(places),
        fmr=tuple(_drawn(group.fmr) for group in report.groups),
        fnmr=tuple(_drawn(group.fnmr) for group in report.groups),
        all_fmr=report.fmr,
        all_fnmr=report.fnmr,
        cross_fmr=tuple(map(tuple, rates)),
    )


def _drawn(rate: GroupRate) -> DrawnRate:
    return DrawnRate(rate=rate.rate, low=rate.low, high=rate.high)
