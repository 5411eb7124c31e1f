"""The run folder: checkpoints, the history and the best encoder of a run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from faceclr_cli.core.artifacts import atomic_path, former_path
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.train import LabeledConfig, TrainConfig
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import save_encoder
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import display_path
from faceclr_cli.core.training.checkpoint import (
    CheckpointOrigin,
    TrainingState,
    collect_state,
    list_checkpoints,
    save_checkpoint,
)
from faceclr_cli.core.training.history import History, Row
from faceclr_cli.core.training.stop_signals import max_over_processes
from faceclr_cli.core.training.task import TaskModule
from faceclr_cli.core.training.tuning import merged_state
from faceclr_cli.core.training.validation import ACCURACY, KNN, LOSS, STRICT_TARS, accuracy_column, calibration_of


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Writes checkpoints, the history and the encoder of a run. Only one process writes; the others do nothing.

    Attributes:
        folder: Path of the run folder.
        config: The resolved options.
        writes: True in the process that writes.
        task: The task.
        optimizer: The optimizer of the task's parameters.
        origin: The run and the data that checkpoints belong to.
        fingerprint: The preprocessing fingerprint of the crops.
        card: How the encoder was made.
        source: The origin of the encoder that training started from, if another project trained it.
        keep: Number of checkpoints to keep.
        history: Writes the table and the events; None in processes that do not write.
    """

    folder: Path
    config: TrainConfig
    writes: bool
    task: TaskModule
    optimizer: torch.optim.Optimizer
    origin: CheckpointOrigin
    fingerprint: Fingerprint
    card: Card
    source: Mapping[str, Any] | None
    keep: int
    history: History | None

    def close_epoch(self, state: TrainingState, is_complete: bool) -> None:
        """Writes the encoder if it is the best, then the checkpoint if the epoch is complete, then the history.

        In this order, a resumed run repeats everything that a crash prevented.
        """
        if best_epoch(state.history, self.config) in (None, state.rows[-1]["epoch"]):
            self.write_encoder(state.rows[-1])
        if is_complete:
            self.write_checkpoint(state)
        if self.history is not None:
            self.history.add(state.history)

    def require_finite_weights(self, state: TrainingState) -> None:
        """Raises an error if a weight is NaN or infinite. All processes must call it, and all raise the same error.

        The loss of a step is computed before its update, so only the weights show that the last update diverged.

        Raises:
            ModelError: A weight or a buffer is not finite.
        """
        floats = [value for value in self.task.state_dict().values() if value.is_floating_point()]
        finite = all(bool(value.isfinite().all()) for value in floats)
        (diverged,) = max_over_processes(floats[0].device, int(not finite))
        if diverged:
            raise ModelError(
                f"epoch {len(state.rows) + 1}, step {state.step}: the weights are no longer finite; training diverged\n"
                f"Lower --lr or use --precision 32; last good checkpoint: {self.last_checkpoint() or 'none yet'}"
            )

    def write_checkpoint(self, state: TrainingState) -> None:
        """Writes a checkpoint. All processes must call it, since each may hold a part of it.

        Raises:
            ModelError: A weight or a buffer is not finite.
        """
        self.require_finite_weights(state)
        tensors = collect_state(self.task, self.optimizer)
        if self.writes:
            save_checkpoint(self.folder, state, self.origin, tensors, self.keep)

    def write_encoder(self, row: Row) -> None:
        """Writes the current encoder, with the calibration from the metrics of its epoch."""
        if self.writes:
            network = self.task.result
            save_encoder(
                self.folder / "encoder",
                network,
                self.fingerprint,
                card=self.card,
                calibration=calibration_of(row),
                weights=merged_state(network),
                source=self.source,
            )

    def last_checkpoint(self) -> Path | None:
        """Returns the path of the last checkpoint, or None."""
        return next(iter(list_checkpoints(self.folder)), None)

    def write_picture_names(self, names: Sequence[str]) -> Path:
        """Writes the names of the pictures of a batch on which training failed, and returns the path of the list."""
        path = self.folder / "not-finite.txt"
        if self.writes:
            write_picture_list(path, names)
        return path


def write_picture_list(path: Path, names: Sequence[str]) -> None:
    """Writes paths of pictures as lines of text, as by `display_path`, since a name may contain a line break."""
    lines = ("/".join(map(display_path, name.split("/"))) for name in names)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def clean_run_folder(run: Path) -> None:
    """Removes incomplete files of a killed process. The caller must hold the lock of the run."""
    encoder = run / "encoder"
    former = former_path(encoder)
    if former.exists() and not encoder.exists():
        # The process was killed between the two renames that replace the encoder.
        former.rename(encoder)
    for path in [former, *run.glob(".*.encoder"), *run.glob(".*.history.csv"), *run.glob("checkpoints/.*")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def selection_metric(rows: Sequence[Row], config: TrainConfig) -> str | None:
    """Returns the column of the history that determines the best epoch, or None if no such column exists.

    Args:
        rows: The metrics of all epochs, and of epoch 0 if training starts from an encoder.
        config: The resolved options; `--best-by` is preferred, and other columns are used if it is missing. Epochs are
            compared with the encoder that training starts from by the TAR at a low false accept rate.
    """
    if config.benchmark_name is not None:
        # Not in every epoch, if the interval of `--benchmark` is longer.
        column = accuracy_column(config.benchmark_name)
        return column if any(column in row for row in rows) else None
    if not rows:
        return None
    if isinstance(config, DistillConfig):
        # The agreement with the teacher, which is not measured before training, also counts with --init.
        return next((name for name in (LOSS, KNN) if name in rows[-1]), None)
    wanted = [KNN]
    if isinstance(config, LabeledConfig):
        wanted = [LOSS, ACCURACY, KNN] if config.best_by == "loss" else [ACCURACY, KNN, LOSS]
    if rows[0]["epoch"] == 0:
        # Only metrics that were also measured before training show whether training improved the encoder. The accuracy
        # of a good encoder on a few people is near 100%, which is not informative.
        if ACCURACY in wanted and config.best_by != "accuracy":
            wanted = [*STRICT_TARS, *wanted]
        wanted = [name for name in wanted if name in rows[0]] or wanted
    return next((name for name in wanted if name in rows[-1]), None)


def best_epoch(rows: Sequence[Row], config: TrainConfig) -> int | None:
    """Returns the best epoch by `selection_metric`; 0 is the encoder before training. None if there is no such metric.

    Among equal epochs, the last one wins: a small validation set soon reaches 100%, and further training still helps.

    Args:
        rows: The metrics of all epochs.
        config: The resolved options.
    """
    name = selection_metric(rows, config)
    if name is None:
        return None
    sign = -1 if name == LOSS else 1

    def rank(row: Row) -> tuple[float, float]:
        value = sign * row.get(name, math.nan)
        return (value if math.isfinite(value) else -math.inf, row["epoch"])

    return int(max(rows, key=rank)["epoch"])
