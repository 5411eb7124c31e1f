"""What the three trainers have in common on the screen."""

from __future__ import annotations

import os

from faceclr_cli.commands.console import Console, facts, percent
from faceclr_cli.commands.progress import numbers
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import CenterConfig, TripletConfig


def train(config: PretrainConfig | TripletConfig | CenterConfig, console: Console) -> None:
    """Trains and shows the result."""
    from faceclr_cli.core.training.run import run

    result = run(config, console.reporter)
    if os.environ.get("RANK", "0") != "0":
        return  # torchrun runs this command in every process; the first of them speaks for all
    if result.epochs:
        epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
        rows = {"trained": f"{epochs} in {result.seconds:.0f} s, {_speed(result.pictures_per_second)}"}
        rows["last epoch"] = numbers(result.metrics)
    else:
        rows = {"trained": "not at all: an untrained network, to compare with"}
    if result.best_epoch is not None:
        rows["best epoch"] = f"{result.best_epoch}, k-NN {percent(result.best_val_knn)} on the watched people"
    console.show(result, facts(rows | {"encoder": str(result.encoder)}))


def _speed(pictures_per_second: float | None) -> str:
    return f"{pictures_per_second:.0f} pictures a second" if pictures_per_second else "no steps"
