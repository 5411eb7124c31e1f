"""Output of the error rates of groups of people, for `verify`, `calibrate` and `benchmark`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from faceclr_cli.commands.console import format_facts, format_percent, table, wrap_paragraph
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.differentials.group_report import GroupReport, RateDifferential
    from faceclr_cli.core.metrics.group_rates import GroupRate

_SHOWN = 10
"""Maximum number of pairs of groups in the table; --json has all."""


def group_parts(reports: Sequence[GroupReport], title: str = "") -> Iterator[str]:
    """Yields the tables of reports.

    Args:
        reports: The reports, one for each attribute.
        title: What was measured, if several are shown.
    """
    for report in reports:
        name = display_path(report.attribute)
        target = "chosen by --threshold" if report.far is None else f"for a FAR of {report.far:g} on these pairs"
        rows = {"groups": f"{name}{f' ({title})' if title else ''}"}
        rows["threshold"] = f"{report.threshold:.3f}, {target}"
        rows["all pairs"] = f"FMR {_rate_text(report.fmr)}, FNMR {_rate_text(report.fnmr)}"
        rows["FMR"] = _differential(report.fmr_differential, {each.group: each.fmr for each in report.groups})
        rows["FNMR"] = _differential(report.fnmr_differential, {each.group: each.fnmr for each in report.groups})
        yield f"\n{format_facts({label: text for label, text in rows.items() if text})}"
        yield _group_table(report, name)
        yield from _pair_table(report)
        yield from (wrap_paragraph(text) for text in _refusals(report))


def _group_table(report: GroupReport, name: str) -> str:
    cells = [
        (
            display_path(each.group),
            "-" if each.people is None else f"{each.people:,}",
            f"{each.pictures:,}",
            "-" if each.not_enrolled is None else f"{each.not_enrolled:,}",
            _rate_text(each.fmr.rate),
            _interval(each.fmr),
            _rate_text(each.fnmr.rate),
            _interval(each.fnmr),
        )
        for each in report.groups
    ]
    return table((name, "people", "pictures", "no face", "FMR", "95% interval", "FNMR", "95% interval"), cells)


def _pair_table(report: GroupReport) -> Iterator[str]:
    """Yields a table of the pairs of groups with the highest FMR, if any was measured."""
    known = [pair for pair in report.pairs if pair.fmr.rate is not None]
    worst = sorted(known, key=lambda pair: -(pair.fmr.rate or 0.0))[:_SHOWN]
    if worst:
        cells = [
            (
                f"{display_path(each.first)} × {display_path(each.second)}",
                _rate_text(each.fmr.rate),
                _interval(each.fmr),
            )
            for each in worst
        ]
        title = "pair of groups" if len(worst) == len(known) else f"{len(worst)} worst pairs of {len(known)}"
        yield table((title, "FMR", "95% interval"), cells)


def _differential(found: RateDifferential, rates: Mapping[str, GroupRate]) -> str:
    """Describes the difference; empty if there are fewer than two groups with a rate."""
    if found.worst is None or found.best is None:
        return ""
    worst, best = display_path(found.worst), display_path(found.best)
    if found.ratio is None or found.inequity is None:
        return f"highest: {worst}; no ratio, since a group has no errors"
    low, high = rates[found.worst].low, rates[found.best].high
    chance = "; the intervals overlap" if low is not None and high is not None and low <= high else ""
    text = f"{found.ratio:.2f} times as high for {worst} as for {best}, {found.inequity:.2f} times the geometric mean"
    return text + chance


def _refusals(report: GroupReport) -> Iterator[str]:
    """Yields which groups have too few pairs for a rate, or too few people for an interval."""
    kinds: tuple[tuple[str, str, str, list[tuple[str, GroupRate]]], ...] = (
        ("FMR", "impostor pair", "pairs of people", [(each.group, each.fmr) for each in report.groups]),
        ("FMR", "impostor pair", "pairs of people", [(f"{p.first} × {p.second}", p.fmr) for p in report.pairs]),
        ("FNMR", "genuine pair", "people", [(each.group, each.fnmr) for each in report.groups]),
    )
    for kind, pair, people, rates in kinds:
        small = [f"{display_path(name)} ({rate.pairs:,})" for name, rate in rates if rate.rate is None]
        if small:
            yield f"{kind} needs {count(rates[0][1].needed, pair)}; not measured: {', '.join(small)}."
        few = [
            f"{display_path(name)} ({rate.people:,})"
            for name, rate in rates
            if rate.rate is not None and rate.low is None
        ]
        if few:
            yield f"An interval of the {kind} needs {rates[0][1].needed:,} {people}; too few: {', '.join(few)}."


def _interval(rate: GroupRate) -> str:
    if rate.rate is None:
        return "-"
    if rate.low is None or rate.high is None:
        return "too few people"
    return f"{_rate_text(rate.low)} to {_rate_text(rate.high)}"


def _rate_text(rate: float | None) -> str:
    """Formats a rate with two significant digits below 1%, since false match rates are small."""
    if rate is None or rate == 0 or rate >= 0.01:
        return format_percent(rate)
    return f"{100 * rate:#.2g}%" if rate >= 1e-6 else f"{100 * rate:.1e}%"
