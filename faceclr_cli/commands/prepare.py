"""`faceclr prepare`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts, table
from faceclr_cli.core.configs.prepare import PrepareConfig as CONFIG  # noqa: N814

EXAMPLE = "faceclr prepare celeba/ -o celeba-faces"


def run(config: CONFIG, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.datasets.prepare import run

    result = run(config, console.reporter)
    console.show(result, facts({}), table([], []))
