"""`faceclr split`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts, table
from faceclr_cli.core.configs.split import SplitConfig

EXAMPLE = "faceclr split celeba-faces -o celeba-splits"


def run(config: SplitConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.datasets.split import run

    result = run(config, console.reporter)
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
    if result.was_there:
        written["note"] = "it was there already, made in the same way"
    console.show(result, table(columns, rows), facts(written))
