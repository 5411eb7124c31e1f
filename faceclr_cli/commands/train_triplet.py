"""`faceclr train-triplet`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.training_summary import train
from faceclr_cli.core.configs.triplet import TripletConfig

EXAMPLE = "faceclr train-triplet celeba-splits/train --init run -o run-t"


def run(config: TripletConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    train(config, console)
