"""Output of the trainers: the summary of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, format_percent, measure_room
from faceclr_cli.commands.progress import format_metrics
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.training.student_report import StudentReport


def train(config: TrainConfig, console: Console) -> None:
    """Trains an encoder and shows the summary."""
    from faceclr_cli.core.training.trainers import train

    result = train(config, console.reporter)
    if result.epochs:
        epochs, speed = count(result.epochs, "epoch"), _speed(result.pictures_per_second)
        rows = {"trained": f"{epochs} in {result.seconds:.0f} s, {speed}"}
        rows["last epoch"] = format_metrics(result.metrics, measure_room(len("last epoch  ")))
    elif config.is_computed:
        rows = {"computed": f"the embedding layer, in {result.seconds:.0f} s"}
        if seen := _validation(result.metrics):
            rows["validation"] = seen
    else:
        rows = {"trained": "0 epochs: the network as it was before training"}
    if result.best is not None:
        rows["best epoch"] = f"{result.best_epoch or 'before training'}, {_validation(result.best)}"
    measured = result.best or result.metrics
    if "val_people" in measured:
        rows |= _calibration(measured)
    if result.student is not None:
        rows |= _beside_teacher(measured, result.student)
    console.show(result, format_facts(rows | {"encoder": str(result.encoder)}))


def _validation(row: Mapping[str, float]) -> str:
    """Formats the validation metrics, named as the columns of history.csv."""
    parts = [f"val_loss {row['val_loss']:.3g}"] if "val_loss" in row else []
    if "val_cosine" in row:
        parts.append(f"cosine to the teacher {row['val_cosine']:.3f} ({_interval(row, 'val_cosine', '.3f')})")
    if "val_accuracy" in row:
        accuracy = format_percent(row["val_accuracy"])
        parts.append(f"verification {accuracy} ({_interval(row, 'val_accuracy')}, chance 50%)")
    if "val_knn" in row:
        chance = format_percent(row["val_knn_chance"]) if "val_knn_chance" in row else "unknown"
        parts.append(f"k-NN {format_percent(row['val_knn'])} ({_interval(row, 'val_knn')}, chance {chance})")
    sets = {name.removesuffix("_accuracy"): value for name, value in row.items() if name.endswith("_accuracy")}
    parts += [f"{name} {format_percent(value)}" for name, value in sets.items() if name not in ("val", "teacher")]
    return ", ".join(parts)


def _interval(row: Mapping[str, float], name: str, form: str = ".0%") -> str:
    """Formats an interval: `95% interval 61% to 74%`. The history of an earlier version has none."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "no interval" if low is None or high is None else f"95% interval {low:{form}} to {high:{form}}"


def _calibration(row: Mapping[str, float]) -> dict[str, str]:
    """Formats the size of the validation set, and the threshold calibrated on it."""
    from faceclr_cli.core.training.validation import FEWEST_FOR_THRESHOLD, calibration_of

    people, pictures = int(row["val_people"]), int(row["val_pictures"])
    pairs = f"{count(int(row['val_genuine']), 'genuine pair')}, {count(int(row['val_impostor']), 'impostor pair')}"
    rows = {"validated on": f"{count(pictures, 'picture')} of {people:,} people not trained on: {pairs}"}
    calibration = calibration_of(row)
    if calibration is None:
        rows["threshold"] = (
            f"none: requires {FEWEST_FOR_THRESHOLD} validation people, but there are {people:,}; run faceclr calibrate"
        )
        return rows
    point = calibration.default_point
    rows["threshold"] = f"{point.threshold:.3f}, stored in the encoder: {point.meaning}"
    if point.is_lax:
        rows["threshold"] += "; too lax for verify; run faceclr calibrate for a stricter one"
    return rows


def _beside_teacher(row: Mapping[str, float], student: StudentReport) -> dict[str, str]:
    """Formats the recognition and the speed of a student beside its teacher's."""
    rows = {}
    pairs = [
        f"{name} {format_percent(row[f'val_{key}'])} (teacher {format_percent(row[f'teacher_{key}'])})"
        for key, name in {
            "accuracy": "verification",
            "tar@1e-2": "TAR at FAR 0.01",
            "tar@1e-3": "TAR at FAR 0.001",
        }.items()
        if f"val_{key}" in row and f"teacher_{key}" in row
    ]
    if pairs:
        rows["recognition"] = ", ".join(pairs)
    own, theirs = student.faces_per_second, student.teacher_faces_per_second
    rows["student"] = (
        f"{student.parameters / 1e6:.1f} M parameters, {own:,.0f} faces/s, {own / theirs:.2g} times the teacher's "
        f"{theirs:,.0f}"
    )
    return rows


def _speed(pictures_per_second: float | None) -> str:
    return f"{pictures_per_second:.0f} pictures/s" if pictures_per_second else "no steps"
