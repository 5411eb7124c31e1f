"""`faceclr split`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.split_tables import show_split
from faceclr_cli.core.configs.split import SplitConfig

EXAMPLE = "faceclr split celeba-faces -o celeba-splits"


def run(config: SplitConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.datasets.splitting.split import split

    show_split(split(config, console.reporter), console, drops=config.drop_duplicates)
