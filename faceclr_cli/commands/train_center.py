"""`faceclr train-center`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.training_summary import train
from faceclr_cli.core.configs.center import CenterConfig

EXAMPLE = "faceclr train-center celeba-splits/train --init run -o run-c"


def run(config: CenterConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    train(config, console)
