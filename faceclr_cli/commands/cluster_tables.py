"""Output of `faceclr cluster`: the largest groups, and a summary of the clustering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, format_percent, table
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult, Group
    from faceclr_cli.core.metrics.cluster_agreement import Agreement, ClusterScores

_GROUPS_SHOWN = 10


def show_clusters(result: ClusterResult, console: Console) -> None:
    """Shows the largest groups and the summary; with --json, one line for each face."""
    if console.json:
        with console.rows(()) as (write, _):
            for face in result.faces:
                write(face)
        if result.scores is not None:
            console.note("; ".join(f"{name}: {value}" for name, value in _score_rows(result.scores).items()))
        return
    rows = [(_central_face(group), _name(group), str(group.faces)) for group in result.groups[:_GROUPS_SHOWN]]
    parts = [table(("most central face of a group", "group", "faces"), rows)] if rows else []
    console.show(result, *parts, format_facts(_summary(result)))


def _central_face(group: Group) -> str:
    return display_path(group.central) + ("" if group.face is None else f" (face {group.face})")


def _name(group: Group) -> str:
    return str(group.number) if group.name is None else display_path(group.name)


def _summary(result: ClusterResult) -> dict[str, str]:
    singles, groups = result.singles, len(result.groups)
    rows = {
        "groups": f"{groups:,}" + (f"; the {_GROUPS_SHOWN} largest are shown" if groups > _GROUPS_SHOWN else ""),
        "faces in groups": f"{len(result.faces) - singles:,} of {len(result.faces):,}",
        "singles": f"{singles:,}" + (f", {result.low_quality:,} of them of low quality" if result.low_quality else ""),
        "method": result.method,
    }
    if result.ignored:
        rows["ignored"] = count(result.ignored, "face")
    if result.threshold is not None:
        rows["threshold"] = f"{result.threshold:.3f}, {result.meaning}"
    if result.search == "neighbors":
        rows["compared"] = "groups that nearest neighbors connect"
    if result.search == "approximate" and result.recall is not None:
        rows["compared"] = f"groups that nearest neighbors connect; FAISS found {format_percent(result.recall)} of them"
    if result.scores is not None:
        rows |= _score_rows(result.scores) | {"scored on": f"{count(result.scored, 'face')} of people with names"}
    if result.no_face:
        rows["no face"] = count(result.no_face, "picture") + ("" if result.out is None else ", in _/no-face")
    if result.out is not None:
        rows["new faces"] = f"{result.new:,}"
        rows["written to"] = str(result.out)
    if result.corrections:
        rows["kept"] = ", ".join(result.corrections)
    if result.questions is not None:
        text = f"{count(result.questions, 'question')} in review.csv and review.jpg"
        page = f"; for a page, run faceclr review {result.out}"
        rows["review"] = text + page if result.questions else "no open questions"
    return rows


def _score_rows(scores: ClusterScores) -> dict[str, str]:
    return {
        "B-cubed": _agreement(scores.bcubed),
        "pairwise": _agreement(scores.pairwise),
        "NMI": format_percent(scores.nmi),
    }


def _agreement(scores: Agreement) -> str:
    f, precision, recall = map(format_percent, (scores.f, scores.precision, scores.recall))
    return f"F {f} (precision {precision}, recall {recall})"
