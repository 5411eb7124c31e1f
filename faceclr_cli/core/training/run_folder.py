"""What a run leaves in its folder while it trains."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.train import LabeledConfig, TrainConfig
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import save_encoder
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.training.checkpoint import (
    CheckpointOrigin,
    TrainingState,
    collect_state,
    list_checkpoints,
    save_checkpoint,
)
from faceclr_cli.core.training.history import History, Row
from faceclr_cli.core.training.stop_signals import agree_to_stop
from faceclr_cli.core.training.task import TaskModule
from faceclr_cli.core.training.validation import ACCURACY, KNN, LOSS, calibration_of


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Writes checkpoints, the history and the encoder of a run. One process writes; the others' records are mute.

    Attributes:
        folder: The run folder.
        config: The resolved options.
        writes: Whether this process is the one that writes.
        task: What is learned.
        optimizer: Of its parameters.
        origin: What checkpoints belong to.
        fingerprint: Of the crops.
        card: What the encoder is made from.
        keep: How many checkpoints to keep.
        history: The table and the events, where this process writes.
    """

    folder: Path
    config: TrainConfig
    writes: bool
    task: TaskModule
    optimizer: torch.optim.Optimizer
    origin: CheckpointOrigin
    fingerprint: Fingerprint
    card: Card
    keep: int
    history: History | None

    def epoch_closed(self, state: TrainingState, is_whole: bool) -> None:
        """Keeps the encoder if it is the best, then the checkpoint of a whole epoch, then the history.

        In this order: whatever a crash cuts off, a resumed run does again.
        """
        if len(state.rows) == (best_epoch(state.rows, self.config) or len(state.rows)):
            self.encoder(state.rows[-1])
        if is_whole:
            self.checkpoint(state)
        if self.history is not None:
            self.history.add(state.rows)

    def require_finite_weights(self, state: TrainingState) -> None:
        """Refuses weights that hold NaN or infinity. All processes call it together, and all raise the same.

        The loss of a step is computed before its update, so only the weights show that the last update diverged.

        Raises:
            ModelError: A weight or a buffer is not finite.
        """
        floats = [value for value in self.task.state_dict().values() if value.is_floating_point()]
        finite = all(bool(value.isfinite().all()) for value in floats)
        (diverged,) = agree_to_stop(floats[0].device, int(not finite))
        if diverged:
            raise ModelError(
                f"epoch {len(state.rows) + 1}, step {state.step}: the weights are no longer finite; training diverged\n"
                f"Lower --lr or use --precision 32; the last good checkpoint: {self.last_checkpoint() or 'none yet'}"
            )

    def checkpoint(self, state: TrainingState) -> None:
        """Writes the checkpoint. All processes call it together, since each may have a part of it.

        Raises:
            ModelError: As `require_finite_weights`.
        """
        self.require_finite_weights(state)
        tensors = collect_state(self.task, self.optimizer)
        if self.writes:
            save_checkpoint(self.folder, state, self.origin, tensors, self.keep)

    def encoder(self, row: Row) -> None:
        """Writes the encoder as it is now, with the threshold of its epoch."""
        if self.writes:
            save_encoder(
                self.folder / "encoder",
                self.task.encoder,
                self.fingerprint,
                card=self.card,
                calibration=calibration_of(row),
            )

    def last_checkpoint(self) -> Path | None:
        """Where the last checkpoint is, if there is one."""
        return next(iter(list_checkpoints(self.folder)), None)

    def culprits(self, names: Sequence[str]) -> Path:
        """Writes down the pictures of a batch that training failed on, and says where."""
        path = self.folder / "not-finite.txt"
        if self.writes:
            with atomic_path(path) as temporary:
                text = "".join(f"{name}\n" for name in names)
                temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        return path


def clean_run_folder(run: Path) -> None:
    """Removes what a killed process left half-written. Only for whoever holds the run's lock."""
    encoder, former = run / "encoder", run / ".encoder.former"
    if former.exists() and not encoder.exists():
        # It was killed between the two renames by which an encoder replaces another.
        former.rename(encoder)
    for path in [former, *run.glob(".*.encoder"), *run.glob(".*.history.csv"), *run.glob("checkpoints/.*")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def selection_metric(rows: Sequence[Row], config: TrainConfig) -> str | None:
    """The column that says which epoch is the best: what `--best-by` asks for, or what there is; None: none is.

    Args:
        rows: The numbers of all epochs.
        config: The resolved options.
    """
    wanted = [KNN]
    if isinstance(config, LabeledConfig):
        wanted = [LOSS, ACCURACY, KNN] if config.best_by == "loss" else [ACCURACY, KNN, LOSS]
    return next((name for name in wanted if rows and name in rows[-1]), None)


def best_epoch(rows: Sequence[Row], config: TrainConfig) -> int | None:
    """The best epoch, from 1, by `criterion`; None where that has no column.

    Of equals the last: where few faces are watched, all are soon recognized, and training still helps.
    """
    name = selection_metric(rows, config)
    if name is None:
        return None
    sign = -1 if name == LOSS else 1

    def rank(row: Row) -> tuple[float, float]:
        value = sign * row.get(name, math.nan)
        return (value if math.isfinite(value) else -math.inf, row["epoch"])

    return int(max(rows, key=rank)["epoch"])
