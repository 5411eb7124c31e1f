"""The loop: one for all tasks, a generator of events.

Every random choice is a pure function of the seed and of where it is made: batches of (seed, epoch),
augmentation and dropout of (seed, step, rank). So a run that was stopped after any step goes on as if it had
not been, to the last bit on the CPU. It also means that N processes augment otherwise than one: their losses
and gradients agree for the same views (the losses see to that), but the views are others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.datasets.packed import PackedFaces
from faceclr_cli.core.datasets.samplers import share
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.events import EpochFinished, Event, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.training.checkpoint import State
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.optim import MAX_NORM, learning_rate
from faceclr_cli.core.training.record import Record
from faceclr_cli.core.training.stopping import Stop, agree, stopped
from faceclr_cli.core.training.tasks import Task
from faceclr_cli.core.training.watch import NAME, Watch

_LOOK_EVERY = 16
"""Steps between looks at the GPU's numbers and at signals. To look is to wait for the GPU; a CPU never lags."""


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """What the loop works with; see `work.py` for how it comes together.

    Attributes:
        config: The resolved options.
        fabric: Device, precision and the other processes.
        task: What is learned.
        module: The task as Fabric wrapped it; called for its loss.
        optimiser: Of the task's parameters.
        faces: What it is trained on.
        watch: Faces to look at after each epoch, or None.
        stop: Whether a signal came.
    """

    config: TrainConfig
    fabric: Fabric
    task: Task
    module: Any
    optimiser: torch.optim.Optimizer
    faces: PackedFaces
    watch: Watch | None
    stop: Stop

    @property
    def looks_every(self) -> int:
        """Steps between looks at what the device computed."""
        return 1 if self.fabric.device.type == "cpu" else _LOOK_EVERY


def fit(trainee: Trainee, state: State, record: Record) -> Iterator[Event]:
    """Trains from where `state` is to the last epoch, and keeps `state` and the run folder up to date.

    Raises:
        ModelError: The loss or a gradient was not finite.
        InterruptedRunError, TerminatedRunError: A signal came; the checkpoint is written.
    """
    for epoch in range(len(state.rows), trainee.config.epochs):
        batches = trainee.task.batches(epoch)
        yield from _train(trainee, state, record, epoch, batches)
        row = _close(trainee, state, record, epoch, batches)
        state.rows.append(row)
        state.sums, state.seconds = {}, 0.0
        record.epoch_closed(state)
        metrics = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        yield EpochFinished(epoch=epoch + 1, epochs=trainee.config.epochs, metrics=metrics)


def _train(
    trainee: Trainee, state: State, record: Record, epoch: int, batches: list[NDArray[np.int64]]
) -> Iterator[Event]:
    """Makes the steps of an epoch that are not made yet."""
    first, size = state.step - epoch * len(batches), len(batches[0])
    label = f"epoch {epoch + 1}/{trainee.config.epochs}"
    yield TaskStarted(task=label, total=len(batches) * size, unit="pictures")
    if first:
        yield TaskAdvanced(task=label, done=first * size)
    trainee.module.train()
    sums = _Sums(state, trainee.fabric.device)
    began, signal = time.perf_counter(), 0
    for place in range(first, len(batches)):
        sums.add(state.step, *_step(trainee, state.step, trainee.config.epochs * len(batches), batches[place]))
        state.step += 1
        if state.step % trainee.looks_every == 0 or place + 1 == len(batches):
            signal, bad = agree(trainee.fabric.device, trainee.stop.flag.value, sums.bad())
            if bad:
                raise _diverged(trainee, record, epoch, bad, batches[bad - 1 - epoch * len(batches)])
        yield TaskAdvanced(task=label, done=(place + 1) * size)
        if signal:
            break
    state.sums, state.seconds = sums.mean_over_processes(), state.seconds + time.perf_counter() - began
    yield TaskFinished(task=label)
    if signal:
        _stop(state, record, signal)


def _step(trainee: Trainee, step: int, total: int, batch: NDArray[np.int64]) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of the optimiser. Returns the norm of the gradient and the metrics, on the device."""
    config, device, faces = trainee.config, trainee.fabric.device, trainee.faces
    own = share(batch, trainee.fabric.global_rank, trainee.fabric.world_size)
    crops = torch.from_numpy(faces.crops[own]).to(device, non_blocking=True)
    labels = torch.from_numpy(faces.labels[own]).to(device, non_blocking=True)
    # Dropout and stochastic depth draw from torch's own generator, views from theirs.
    seeds = np.random.SeedSequence([config.seed, step, trainee.fabric.global_rank]).generate_state(2)
    torch.manual_seed(int(seeds[0]))
    generator = torch.Generator().manual_seed(int(seeds[1]))
    for group in trainee.optimiser.param_groups:
        group["lr"] = learning_rate(step, total, config.lr, config.warmup)
    loss, metrics = trainee.module(crops, labels, generator)
    trainee.fabric.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(trainee.task.parameters(), MAX_NORM)
    trainee.optimiser.step()
    trainee.optimiser.zero_grad()
    return norm, {"loss": loss.detach(), **metrics}


def _close(trainee: Trainee, state: State, record: Record, epoch: int, batches: list[NDArray[np.int64]]) -> Row:
    """The row of an epoch whose steps are made. Rank 0 watches while the others wait for it to agree."""
    device, steps = trainee.fabric.device, len(batches)
    accuracy = None
    if trainee.watch is not None and trainee.fabric.global_rank == 0:
        accuracy = trainee.watch.accuracy(trainee.task.encoder, device, trainee.stop)
    (signal,) = agree(device, trainee.stop.flag.value)
    if signal:
        _stop(state, record, signal)
    row: Row = {"epoch": epoch + 1, "step": state.step}
    row.update({name: value / steps for name, value in state.sums.items()})
    row["lr"] = learning_rate(state.step - 1, trainee.config.epochs * steps, trainee.config.lr, trainee.config.warmup)
    row["pictures_per_second"] = steps * len(batches[0]) / state.seconds
    row["seconds"] = state.seconds
    if accuracy is not None:
        row[NAME] = accuracy
    return row


def _stop(state: State, record: Record, signal: int) -> None:
    record.checkpoint(state)
    raise stopped(
        signal,
        f"stopped after step {state.step}; the checkpoint is in {record.folder}\n"
        f"To continue, repeat the command with -o {record.folder} --resume",
    )


def _diverged(trainee: Trainee, record: Record, epoch: int, step: int, batch: NDArray[np.int64]) -> ModelError:
    names = ", ".join(trainee.faces.paths[index] for index in batch[:3])
    return ModelError(
        f"epoch {epoch + 1}, step {step}: the loss or its gradient is not finite, on a batch with {names}, ...\n"
        f"Lower --lr or use --precision 32; the last good checkpoint: {record.last_checkpoint() or 'none yet'}"
    )


class _Sums:
    """Sums of the metrics of an epoch, on the device, so that no step waits for them."""

    def __init__(self, state: State, device: torch.device) -> None:
        self._names = list(state.sums)
        self._sums = torch.tensor(list(state.sums.values()), dtype=torch.float64, device=device)
        self._bad = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, step: int, norm: Tensor, metrics: dict[str, Tensor]) -> None:
        """Adds the metrics of a step, and notes the first step with a loss or gradient that is not finite."""
        values = torch.stack([value.detach().double() for value in metrics.values()])
        if not self._names:
            self._names, self._sums = list(metrics), torch.zeros_like(values)
        self._sums += values
        is_bad = ~(norm.isfinite() & values[0].isfinite())
        self._bad = torch.where(is_bad & (self._bad == 0), step + 1, self._bad)

    def bad(self) -> int:
        """The first bad step, counted from 1, or 0."""
        return int(self._bad)

    def mean_over_processes(self) -> dict[str, float]:
        """The sums by name, averaged over the processes."""
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)
            self._sums /= torch.distributed.get_world_size()
        return dict(zip(self._names, self._sums.tolist(), strict=True))
