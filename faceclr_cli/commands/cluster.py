"""`faceclr cluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, facts, percent, table
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult, Group
    from faceclr_cli.core.metrics.cluster_agreement import Agreement, ClusterScores

EXAMPLE = "faceclr cluster faces.h5 --faces photos -o people"

_LARGEST = 10


def run(config: ClusterConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.clustering.cluster import cluster

    result = cluster(config, console.reporter)
    if console.json:
        with console.rows(()) as (write, _):
            for face in result.faces:
                write(face)
        if result.scores is not None:
            console.note("; ".join(f"{name}: {value}" for name, value in _scored(result.scores).items()))
        return
    rows = [(_central(group), str(group.number), str(group.faces)) for group in result.groups[:_LARGEST]]
    parts = [table(("most central face of a group", "group", "faces"), rows)] if rows else []
    console.show(result, *parts, facts(_facts(result)))


def _central(group: Group) -> str:
    return display_path(group.central) + ("" if group.face is None else f" (face {group.face})")


def _facts(result: ClusterResult) -> dict[str, str]:
    singles, sizes = result.singles, len(result.groups)
    rest = sizes - _LARGEST
    found = {
        "groups": f"{sizes:,}" + (f", of which the {_LARGEST} largest are shown" if rest > 0 else ""),
        "faces in groups": f"{len(result.faces) - singles:,} of {len(result.faces):,}",
        "singles": f"{singles:,}",
        "method": result.method,
    }
    if result.threshold is not None:
        found["threshold"] = f"{result.threshold:.3f}, {result.meaning}"
    if result.scores is not None:
        found |= _scored(result.scores) | {"scored on": f"{count(result.scored, 'face')} of people with names"}
    if result.no_face:
        found["no face"] = count(result.no_face, "picture") + ("" if result.out is None else ", in _/no-face")
    if result.out is not None:
        found["written to"] = str(result.out)
    return found


def _scored(scores: ClusterScores) -> dict[str, str]:
    return {"B-cubed": _three(scores.bcubed), "pairwise": _three(scores.pairwise), "NMI": percent(scores.nmi)}


def _three(agreement: Agreement) -> str:
    return f"F {percent(agreement.f)} (precision {percent(agreement.precision)}, recall {percent(agreement.recall)})"
