"""`faceclr distill`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.training_summary import train
from faceclr_cli.core.configs.distill import DistillConfig

EXAMPLE = "faceclr distill celeba-splits/train --teacher sface -o student"


def run(config: DistillConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    train(config, console)
