"""The errors of groups of people on the sets of a benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from faceclr_cli.core.datasets.group_lists import GroupList
from faceclr_cli.core.embeddings.benchmark_sets import BenchmarkSet
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.benchmark.benchmark_result import BenchmarkCell
from faceclr_cli.core.evaluation.differentials.group_measurement import (
    GroupRequest,
    measure_groups_of_pairs,
    require_groups_of_pairs,
)
from faceclr_cli.core.evaluation.differentials.group_plot import draw_group_reports
from faceclr_cli.core.evaluation.differentials.group_report import GroupReport
from faceclr_cli.core.evaluation.verification.pair_evidence import ScoredPairs
from faceclr_cli.core.events import Notice, Reporter


def require_grouped_set(groups: GroupList | None, sets: Sequence[BenchmarkSet]) -> None:
    """Checks before the measurement that at least one set has people or pictures of the list.

    Raises:
        DataError: No set has any.
    """
    reasons = list[str]()
    for found in sets:
        try:
            if groups is not None:
                require_groups_of_pairs(groups, found.pairs, found.name)
        except DataError as error:
            reasons.append(str(error))
    if len(reasons) == len(sets):
        raise DataError(reasons[0])


def measure_set_groups(
    scored: ScoredPairs, encoder: str, groups: GroupList | None, reporter: Reporter
) -> tuple[GroupReport, ...]:
    """Measures groups on a set; warns if it has no people of the list, since sets may show different people."""
    if groups is None:
        return ()
    request = GroupRequest(groups=groups)
    try:
        return measure_groups_of_pairs(request, scored.located, scored.scores, scored.failed, scored.origin, reporter)
    except DataError as error:
        text = f"{encoder} on {scored.origin}: groups not measured: {error}"
        reporter.report(Notice(text=text, level="warning"))
        return ()


def draw_group_cells(path: Path | None, cells: Iterable[BenchmarkCell]) -> None:
    """Draws the reports of all cells, one below the other.

    Raises:
        ConfigError: The suffix is not a supported picture format, or there are too many reports.
        DataError: The picture cannot be written, or there are no reports.
    """
    if path is None:
        return
    reports = {f"{cell.encoder} on {cell.set}": cell.group_reports for cell in cells if cell.group_reports}
    if not reports:
        raise DataError("--groups-plot: no groups were measured")
    draw_group_reports(path, reports)
