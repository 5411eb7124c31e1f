"""`faceclr pretrain`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.trained import train
from faceclr_cli.core.configs.train import PretrainConfig

EXAMPLE = "faceclr pretrain celeba-splits/train -o run"


def run(config: PretrainConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    train(config, console)
