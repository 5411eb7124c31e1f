"""`faceclr prepare`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts, table
from faceclr_cli.core.configs.prepare import PrepareConfig

EXAMPLE = "faceclr prepare celeba/ -o celeba-faces"


def run(config: PrepareConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.datasets.prepare import run

    result = run(config, console.reporter)
    speed = f", {result.photos_per_second:.0f} a second" if result.photos_per_second else ""
    rows = {
        "faces": f"{result.faces} of {result.photos} photographs, {result.people} people",
        "this run": f"{result.processed} photographs in {result.seconds:.1f} s{speed}",
        "written to": str(result.out),
        "ledger": str(result.ledger),
    }
    without = [(reason, str(count)) for reason, count in result.reasons.items()]
    console.show(result, facts(rows), *([table(("without a face", "photographs"), without)] if without else []))
