"""What the three trainers have in common on the screen."""

from __future__ import annotations

from collections.abc import Mapping

from faceclr_cli.commands.console import Console, facts, room
from faceclr_cli.commands.progress import numbers
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig


def train(config: PretrainConfig | TripletConfig | CenterConfig, console: Console) -> None:
    """Trains and shows the result."""
    from faceclr_cli.core.training.run import run

    result = run(config, console.reporter)
    if result.epochs:
        epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
        rows = {"trained": f"{epochs} in {result.seconds:.0f} s, {_speed(result.pictures_per_second)}"}
        rows["last epoch"] = numbers(result.metrics, room(len("last epoch  ")))
    else:
        rows = {"trained": "not at all: an untrained network, to compare with"}
    if result.best is not None:
        rows["best epoch"] = f"{result.best_epoch}, {_quality(result.best)} on faces it never saw"
        if "val_threshold" in result.best:
            rows["threshold"] = f"{result.best['val_threshold']:.3f}, kept in the encoder for verify"
    console.show(result, facts(rows | {"encoder": str(result.encoder)}))


def _quality(row: Mapping[str, float]) -> str:
    names = {"val_loss": "loss {:.3g}", "val_accuracy": "verification {:.1%}", "val_knn": "k-NN {:.1%}"}
    return ", ".join(text.format(row[name]) for name, text in names.items() if name in row)


def _speed(pictures_per_second: float | None) -> str:
    return f"{pictures_per_second:.0f} pictures a second" if pictures_per_second else "no steps"
