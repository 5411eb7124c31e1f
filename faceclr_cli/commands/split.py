"""`faceclr split`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, facts, table
from faceclr_cli.core.configs.split import SplitConfig

if TYPE_CHECKING:
    from faceclr_cli.core.datasets.splitting.leaks import Audit

EXAMPLE = "faceclr split celeba-faces -o celeba-splits"


def run(config: SplitConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.datasets.splitting.split import split

    result = split(config, console.reporter)
    columns = ("part", "people", "pictures", "per person", "std", "least", "most")
    rows = [
        (
            *(name, str(part.people), str(part.faces), f"{part.mean:.1f}", f"{part.std:.1f}"),
            *(str(part.minimum), str(part.maximum)),
        )
        for name, part in result.parts.items()
    ]
    written = {"written to": str(result.out)}
    if result.pairs is not None:
        written["pairs"] = f"{result.pairs} ({result.pair_count} of the test part, half of them genuine)"
    written |= _audited(result.audit, drops=config.drop_duplicates)
    if result.was_there:
        written["note"] = "it was there already, made in the same way"
    console.show(result, table(columns, rows), facts(written))


def _audited(audit: Audit, *, drops: bool) -> dict[str, str]:
    pairs, dropped = len(audit.near_duplicates), len(audit.dropped)
    found = f"{pairs} {'pair' if pairs == 1 else 'pairs'} across parts"
    if not pairs:
        rows = {"near-duplicates": "none across parts"}
    elif drops:
        rows = {"near-duplicates": f"{found}; {_pictures(dropped)} left out for them (split.json lists them)"}
    else:
        rows = {"near-duplicates": f"{found} (split.json lists them); --drop-duplicates leaves them out"}
    if audit.unreadable:
        rows["not compared"] = f"{_pictures(audit.unreadable)} that cannot be read"
    if audit.names_unmatched is not None:
        people = "1 person" if len(audit.kept_out) == 1 else f"{len(audit.kept_out)} people"
        rows["kept out"] = (
            f"{people} (split.json has the names); of the list, {audit.names_unmatched} are nobody's here"
        )
    if audit.unassigned:
        rows["left out"] = f"{_pictures(audit.unassigned)} without an official part"
    if audit.people_in_two_parts:
        rows["in two parts"] = f"{len(audit.people_in_two_parts)} people (split.json has the names)"
    return rows


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
