"""Output of `faceclr clean`: the number of proposals of each kind, and what was applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, format_percent, table
from faceclr_cli.core.configs.clean import CleanConfig
from faceclr_cli.core.wording import count, faces_of

if TYPE_CHECKING:
    from faceclr_cli.core.upkeep.clean import CleanResult
    from faceclr_cli.core.upkeep.cleaned_folder import CleanedFolder

_MEANINGS = {
    "same-person": "one person under two names",
    "two-people": "faces of a second person under one name",
    "intruder": "faces of someone else",
    "test-set": "people in a test set",
    "duplicate": "copies of a file",
    "near-duplicate": "copies of a photograph",
    "no-face": "no face",
    "two-faces": "two faces",
    "blurred": "blurred",
    "unreadable": "unreadable",
}


def show_proposals(config: CleanConfig, result: CleanResult, console: Console) -> None:
    """Shows the number of proposals of each kind."""
    kept: dict[str, int] = {}
    for each in result.proposals:
        kept[each.what] = kept.get(each.what, 0) + (each.action == "keep")
    rows = [
        (meaning, what, str(result.counts[what]), str(result.counts[what] - kept[what]))
        for what, meaning in _MEANINGS.items()
        if what in result.counts
    ]
    summary = {"examined": faces_of(result.faces, result.people)}
    if result.wrong_names is not None:
        summary["wrong names"] = f"about {format_percent(result.wrong_names)}, estimated"
    if not rows:
        summary["found"] = "nothing" if result.wrong_names is None else f"nothing above --min-odds {config.min_odds:g}"
    summary["written to"] = str(result.out)
    if result.sheets:
        more = f" to {result.sheets[-1]}" if len(result.sheets) > 1 else ""
        summary["sheet"] = f"{result.sheets[0]}{more}"
    if rows:
        summary["next"] = f"edit it if needed, then faceclr clean {config.faces} --apply {result.out}"
    parts = [table(("found", "in the file", "lines", "to change"), rows)] if rows else []
    console.show(result, *parts, format_facts(summary))


def show_cleaned(result: CleanedFolder, console: Console) -> None:
    """Shows what a cleaned folder contains."""
    rows = {
        "faces": faces_of(result.faces, result.people),
        "moved": count(result.moved, "face"),
        "removed": count(result.removed, "face"),
        "written to": str(result.out),
    }
    if result.was_there:
        rows["note"] = "the folder already exists with the same faces"
    console.show(result, format_facts(rows))
