"""Output of `faceclr prepare`: the summary of a run, and the plan of a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, table
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.preparing.prepare import PreparePlan, PrepareResult


def show_plan(plan: PreparePlan, console: Console) -> None:
    """Shows what `faceclr prepare` would do."""
    rows = {
        "photographs": f"{plan.photos}, {plan.people} people (layout: {plan.layout})",
        "to process": f"{plan.todo}; already done: {plan.finished}",
    }
    if plan.removed:
        rows["to remove"] = f"faces of {count(plan.removed, 'deleted photograph')}"
    rows["output"] = str(plan.out)
    console.show(plan, format_facts(rows))


def show_prepared(result: PrepareResult, console: Console) -> None:
    """Shows the numbers of faces and people, and the reasons for photographs without a crop."""
    noun = "file" if result.tracks else "photograph"
    speed = f", {result.photos_per_second:.0f} {noun}s/s" if (result.photos_per_second or 0) >= 1 else ""
    tracks = f", {count(result.tracks, 'track')} in films" if result.tracks else ""
    people = count(result.people, "person", "people") if result.people else "without names"
    # A film, and a photograph with all of its faces, may have several.
    within = "in" if result.tracks or result.faces > result.photos else "of"
    rows = {
        "faces": f"{result.faces} {within} {count(result.photos, noun)}, {people}{tracks}",
        "this run": f"{count(result.processed, noun)} in {result.seconds:.1f} s{speed}",
        "written to": str(result.out),
        "ledger": str(result.ledger),
    }
    reasons = [(reason, str(number)) for reason, number in result.reasons.items()]
    parts = [table(("without a crop", f"{noun}s"), reasons)] if reasons else []
    console.show(result, format_facts(rows), *parts)
