"""Output of `faceclr split`: the size of each part, and the findings of the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, table

if TYPE_CHECKING:
    from faceclr_cli.core.datasets.splitting.leaks import Audit
    from faceclr_cli.core.datasets.splitting.split import SplitResult

_COLUMNS = ("part", "people", "pictures", "per person", "std", "min", "max")


def show_split(result: SplitResult, console: Console, *, drops: bool) -> None:
    """Shows the people and pictures of each part, and the findings of the audit.

    Args:
        result: The split.
        console: The console to print to.
        drops: True if near-duplicates were removed (`--drop-duplicates`).
    """
    rows = [
        (
            *(name, str(part.people), str(part.faces), f"{part.mean:.1f}", f"{part.std:.1f}"),
            *(str(part.minimum), str(part.maximum)),
        )
        for name, part in result.parts.items()
    ]
    summary = {"written to": str(result.out)}
    if result.pairs is not None:
        summary["pairs"] = f"{result.pairs} ({result.pair_count} pairs of the test part, half of them genuine)"
    summary |= _audit_rows(result.audit, drops=drops)
    if result.was_there:
        summary["note"] = "the split already exists with the same options"
    console.show(result, table(_COLUMNS, rows), format_facts(summary))


def _audit_rows(audit: Audit, *, drops: bool) -> dict[str, str]:
    pairs, dropped = len(audit.near_duplicates), len(audit.dropped)
    found = f"{pairs} {'pair' if pairs == 1 else 'pairs'} across parts"
    if not pairs:
        rows = {"near-duplicates": "none across parts"}
    elif drops:
        rows = {"near-duplicates": f"{found}; {_pictures(dropped)} removed (listed in split.json)"}
    else:
        rows = {"near-duplicates": f"{found} (listed in split.json); remove them with --drop-duplicates"}
    if audit.unreadable:
        rows["not compared"] = f"{_pictures(audit.unreadable)} could not be read"
    if audit.names_unmatched is not None:
        people = "1 person" if len(audit.kept_out) == 1 else f"{len(audit.kept_out)} people"
        rows["excluded"] = f"{people} (listed in split.json); {audit.names_unmatched} names of the list not found"
    if audit.unassigned:
        rows["unassigned"] = f"{_pictures(audit.unassigned)} without an official part, omitted"
    if audit.people_in_two_parts:
        rows["in several parts"] = f"{len(audit.people_in_two_parts)} people (listed in split.json)"
    return rows


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
