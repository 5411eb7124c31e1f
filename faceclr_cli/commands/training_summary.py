"""What the three trainers have in common on the screen."""

from __future__ import annotations

from collections.abc import Mapping

from faceclr_cli.commands.console import Console, facts, percent, room
from faceclr_cli.commands.progress import numbers
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.wording import count


def train(config: PretrainConfig | TripletConfig | CenterConfig, console: Console) -> None:
    """Trains and shows the result."""
    from faceclr_cli.core.training.trainers import train

    result = train(config, console.reporter)
    if result.epochs:
        epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
        rows = {"trained": f"{epochs} in {result.seconds:.0f} s, {_speed(result.pictures_per_second)}"}
        rows["last epoch"] = numbers(result.metrics, room(len("last epoch  ")))
    else:
        rows = {"trained": "not at all: an untrained network, to compare with"}
    if result.best is not None:
        rows["best epoch"] = f"{result.best_epoch}, {_quality(result.best)}"
    measured = result.best or result.metrics
    if "val_people" in measured:
        rows |= _evidence(measured)
    console.show(result, facts(rows | {"encoder": str(result.encoder)}))


def _quality(row: Mapping[str, float]) -> str:
    """By the names of the columns: the loss on what is watched is another one than that of training."""
    parts = [f"val_loss {row['val_loss']:.3g}"] if "val_loss" in row else []
    if "val_accuracy" in row:
        parts.append(f"verification {percent(row['val_accuracy'])} ({_interval(row, 'val_accuracy')}, chance 50%)")
    if "val_knn" in row:
        chance = percent(row["val_knn_chance"]) if "val_knn_chance" in row else "unknown"
        parts.append(f"k-NN {percent(row['val_knn'])} ({_interval(row, 'val_knn')}, chance {chance})")
    return ", ".join(parts)


def _interval(row: Mapping[str, float], name: str) -> str:
    """`95% 61-74%`; a history of an earlier version has none."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "no interval" if low is None or high is None else f"95% {100 * low:.0f}-{100 * high:.0f}%"


def _evidence(row: Mapping[str, float]) -> dict[str, str]:
    """What the numbers rest on, and the threshold that follows from them."""
    from faceclr_cli.core.training.validation import FEWEST_FOR_THRESHOLD, calibration_of

    people, pictures = int(row["val_people"]), int(row["val_pictures"])
    pairs = f"{count(int(row['val_genuine']), 'genuine pair')}, {count(int(row['val_impostor']), 'impostor pair')}"
    rows = {"measured on": f"{count(pictures, 'picture')} of {people:,} people it never saw: {pairs}"}
    kept = calibration_of(row)
    if kept is None:
        rows["threshold"] = (
            f"none: {people:,} people are fewer than the {FEWEST_FOR_THRESHOLD} from whom one is kept; "
            "faceclr calibrate measures one"
        )
        return rows
    point = kept.default_point
    rows["threshold"] = f"{point.threshold:.3f}, kept in the encoder: {point.meaning}"
    if point.is_lax:
        rows["threshold"] += "; too many for a verdict, so verify asks for another: see faceclr calibrate"
    return rows


def _speed(pictures_per_second: float | None) -> str:
    return f"{pictures_per_second:.0f} pictures a second" if pictures_per_second else "no steps"
