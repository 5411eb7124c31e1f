"""The training loop: a generator of events that serves all tasks.

All random numbers are functions of the seed and the position in the run: batches depend on (seed, epoch), views on
(seed, step), dropout within the backbone on (seed, step, rank). A run that is stopped after any step and resumed gives
the same weights as an uninterrupted run, bit for bit on a CPU. The exception is a time budget, because the learning
rate then follows the clock. Views are drawn for the global batch and each process makes its share of them, so N
processes train on the same views as one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.events import EpochFinished, Event, Notice, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.training.alarms import find_alarms
from faceclr_cli.core.training.batch_supply import BatchSupply
from faceclr_cli.core.training.checkpoint import TrainingState
from faceclr_cli.core.training.history import Row, without_position
from faceclr_cli.core.training.optimizer import average_gradients, clip_gradient, set_learning_rate
from faceclr_cli.core.training.run_folder import RunFolder
from faceclr_cli.core.training.schedule import Clock, Schedule
from faceclr_cli.core.training.stop_signals import StopRequest, max_over_processes, stop_error
from faceclr_cli.core.training.task import BatchSlice, Embedder, TaskModule, derive_seed, random_uniform
from faceclr_cli.core.training.validation import Validation, embed_on_all_processes

_WHOLE = "training"
_LOOK_EVERY = 16
"""Optimizer steps between checks for signals and NaN on a GPU. A check synchronizes with the GPU."""


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """The components that the loop uses; `run_worker` builds them.

    Attributes:
        config: The resolved options.
        fabric: Device, precision and communication with the other processes.
        task: The task.
        module: The task as wrapped by Fabric; call it to compute the loss.
        optimizer: The optimizer of the task's parameters.
        faces: The training set.
        supply: Loads the crops of the training set batch by batch.
        validation: Measures the encoder on held-out pictures after each epoch.
        stop: The request to stop, which a signal sets.
        lr_factor: Factor of the default learning rate.
        known_damage: Number of damaged faces of each folder that were reported.
    """

    config: TrainConfig
    fabric: Fabric
    task: TaskModule
    module: Any
    optimizer: torch.optim.Optimizer
    faces: JoinedFaces
    supply: BatchSupply
    validation: Validation
    stop: StopRequest
    lr_factor: float = 1.0
    known_damage: dict[int, int] = field(default_factory=dict)

    def is_check_due(self, place: int, schedule: Schedule) -> bool:
        """Returns True if signals and NaN are checked after batch `place` of an epoch.

        That is only after an optimizer step, because checkpoints do not contain accumulated gradients.
        """
        step = place // schedule.accumulate
        every = 1 if self.fabric.device.type == "cpu" else _LOOK_EVERY
        return schedule.group(place)[1] and (step % every == every - 1 or place + 1 == schedule.batches)


def fit(context: TrainingContext, state: TrainingState, run_folder: RunFolder) -> Iterator[Event]:
    """Trains from `state` to the last epoch, and keeps `state` and the run folder up to date.

    Args:
        context: The components that the loop uses.
        state: Where to start; updated in place.
        run_folder: Writes checkpoints, the history and the encoder.

    Yields:
        Progress, the metrics of each epoch, and warnings.

    Raises:
        ModelError: The loss, a gradient, a weight or an embedding is not finite.
        InterruptedRunError, TerminatedRunError: A signal requested a stop; the checkpoint is written.
    """
    first = context.task.batches(0)
    size = len(first[0])
    schedule = Schedule.of(context.config, len(first), size, context.lr_factor)
    clock = Clock(state.elapsed, state.closing)
    _require_same_epoch_length(state, schedule)
    total = None if schedule.budget else schedule.epochs * schedule.batches * size
    yield TaskStarted(task=_WHOLE, total=total, unit="pictures", done=state.step * size)
    if context.config.starts_from_encoder and state.before is None and state.step == 0:
        yield _measure_before(context, state, run_folder, schedule)
    for epoch in range(len(state.rows), schedule.epochs):
        yield from _train(context, state, run_folder, schedule, clock)
        if not state.sums:
            break  # The time budget left no time for a single batch.
        run_folder.require_finite_weights(state)
        began = time.perf_counter()
        is_complete = state.step == schedule.batches_before(epoch + 1)
        if not is_complete:
            run_folder.write_checkpoint(state)  # Before the epoch is closed, so that a larger budget can complete it.
        row = _epoch_row(context, state, run_folder, schedule, clock)
        state.rows.append(row)
        state.sums, state.seconds, state.elapsed = {}, 0.0, clock.now()
        run_folder.close_epoch(state, is_complete)
        yield EpochFinished(epoch=epoch + 1, epochs=schedule.epochs, metrics=without_position(row))
        for text in _damage_notices(context, epoch):
            yield Notice(level="warning", text=text)
        for text in find_alarms(state.rows, context.task.collapsed_loss(size), schedule):
            yield Notice(level="warning", text=text)
        # All processes must agree on when the time budget is used up.
        (milliseconds,) = max_over_processes(context.fabric.device, int(1000 * (time.perf_counter() - began)))
        state.closing = clock.closing = milliseconds / 1000
        if not is_complete:
            break
    yield TaskFinished(task=_WHOLE)


def _measure_before(
    context: TrainingContext, state: TrainingState, run_folder: RunFolder, schedule: Schedule
) -> EpochFinished:
    """Measures the encoder of `--init` before the first step as epoch 0, and keeps it until an epoch is better."""
    measured = context.validation.measure(context.task, 0, context.fabric.device, context.stop, encoder_only=True)
    _stop_if_asked(context, state, run_folder)
    state.before = {"epoch": 0, "step": 0, **context.fabric.broadcast(measured)}
    run_folder.write_encoder(state.before)
    if run_folder.history is not None:
        run_folder.history.add(state.history)
    return EpochFinished(epoch=0, epochs=schedule.epochs, metrics=without_position(state.before))


def _require_same_epoch_length(state: TrainingState, schedule: Schedule) -> None:
    """Raises an error if the length of the checkpoint's epochs differs, since batches would be skipped or repeated."""
    closed = int(state.rows[-1]["step"]) if state.rows else 0
    if closed != schedule.batches_before(len(state.rows)):
        raise ModelError(
            f"the checkpoint has {closed} batches in {len(state.rows)} epochs, but this run has "
            f"{schedule.batches_before(len(state.rows))}; it was written by an older version of faceclr: "
            "start a new run with another -o"
        )


def _train(
    context: TrainingContext, state: TrainingState, run_folder: RunFolder, schedule: Schedule, clock: Clock
) -> Iterator[Event]:
    """Trains on the remaining batches of the current epoch."""
    epoch, device = len(state.rows), context.fabric.device
    first = state.step - schedule.batches_before(epoch)
    if first == 0:
        context.task.progress = schedule.progress(state.step, clock.agreed)
        yield from _begin_epoch(context, state, run_folder)
    batches = context.task.batches(epoch)
    size, label = len(batches[0]), f"epoch {epoch + 1}/{schedule.epochs}"
    yield TaskStarted(task=label, total=len(batches) * size, unit="pictures", done=first * size)
    context.module.train()
    sums, signal = EpochSums(state, device), 0
    coming = batches[first:] if not clock.is_over(schedule) else []
    rank, world = context.fabric.global_rank, context.fabric.world_size
    with closing(context.supply(context.task.share(batch, rank, world) for batch in coming)) as supply:
        for place, crops in enumerate(supply, start=first):
            sums.add(state.step, *train_on_batch(context, schedule, clock, state.step, crops, batches[place]))
            state.step += 1
            if context.is_check_due(place, schedule):
                signal, bad, milliseconds = max_over_processes(
                    device, context.stop.flag.value, sums.first_bad_step(), int(clock.now() * 1000)
                )
                clock.agreed = milliseconds / 1000
                if bad:
                    raise _diverged(context, run_folder, epoch, bad, batches[bad - 1 - schedule.batches_before(epoch)])
                if signal or clock.is_over(schedule):
                    break
                if clock.is_due(schedule):
                    sums.write_back()
                    state.elapsed = clock.saved = clock.agreed
                    run_folder.write_checkpoint(state)
            yield TaskAdvanced(task=_WHOLE, done=state.step * size)
            yield TaskAdvanced(task=label, done=(place + 1) * size)
    sums.write_back()
    state.elapsed = clock.now()
    yield TaskFinished(task=label)
    if signal:
        _stop(state, run_folder, signal)


def _embedder(context: TrainingContext, state: TrainingState, run_folder: RunFolder) -> Embedder:
    """Returns a function that embeds training pictures with the current encoder."""

    def embed(pictures: NDArray[np.int64]) -> Tensor:
        embeddings = embed_on_all_processes(
            context.task.encoder, context.faces, pictures, context.fabric.device, context.stop
        )
        # After a signal the embeddings are incomplete, so the task must not use them.
        _stop_if_asked(context, state, run_folder)
        return embeddings

    return embed


def _begin_epoch(context: TrainingContext, state: TrainingState, run_folder: RunFolder) -> Iterator[Event]:
    note = context.task.begin_epoch(len(state.rows), state.rows, _embedder(context, state, run_folder))
    _stop_if_asked(context, state, run_folder)
    if note is not None:
        yield Notice(text=note)


def train_on_batch(
    context: TrainingContext, schedule: Schedule, clock: Clock, step: int, crops: Tensor, batch: NDArray[np.int64]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Trains on one batch.

    Args:
        context: The components that the loop uses.
        schedule: The schedule of the run.
        clock: The elapsed time of the run.
        step: Number of batches before this one, over the whole run.
        crops: The crops of this process, uint8, on the device. Shape: (B, S, S, 3).
        batch: Indices of all pictures of the batch. Shape: (batch_size,).

    Returns:
        The norm of the gradient and the metrics, scalars on the device.
    """
    fabric, task, optimizer = context.fabric, context.task, context.optimizer
    rank, world = fabric.global_rank, fabric.world_size
    # The backbone (dropout, stochastic depth) uses the global generator of torch; views use their own.
    seeds = [derive_seed(context.config.seed, step, stream) for stream in (0, 1 + rank)]
    generator = torch.Generator().manual_seed(seeds[0])
    torch.manual_seed(seeds[1])
    chance = random_uniform(len(batch), task.views, task.augment.draws, generator)
    places = task.share(np.arange(len(batch)), rank, world)
    own = batch[places]
    labels, pictures = (torch.from_numpy(x).to(fabric.device) for x in (context.faces.labels[own], own))
    task.step, task.progress = step, schedule.progress(step, clock.agreed)
    task.batch_slice = BatchSlice(start=int(places[0]), total=len(batch))
    size, ends = schedule.group(step % schedule.batches)
    with fabric.no_backward_sync(context.module, enabled=not ends or task.frozen):
        loss, metrics = context.module(crops, labels, pictures, chance[places])
        fabric.backward(loss / size)
    norm = loss.detach()
    if ends:
        local = task.local_names()
        if task.frozen:
            average_gradients(task, local)
        norm = clip_gradient(task, local, context.config.clip or math.inf)
        set_learning_rate(optimizer, schedule.learning_rate(step, clock.agreed))
        optimizer.step()
        optimizer.zero_grad()
    return norm, {"loss": loss.detach(), **metrics}


def _epoch_row(
    context: TrainingContext, state: TrainingState, run_folder: RunFolder, schedule: Schedule, clock: Clock
) -> Row:
    """Validates the encoder and returns all metrics of the epoch."""
    device, epoch = context.fabric.device, len(state.rows)
    steps = state.step - schedule.batches_before(epoch)
    context.task.end_epoch(_embedder(context, state, run_folder))
    validation = context.validation.measure(context.task, epoch + 1, device, context.stop)
    _stop_if_asked(context, state, run_folder)
    # Tasks make decisions from the metrics, so these must be bit-identical on all processes.
    validation = context.fabric.broadcast(validation)
    row: Row = {"epoch": epoch + 1, "step": state.step}
    row.update({name: value / steps for name, value in state.sums.items()})
    row["lr"] = schedule.learning_rate(state.step - 1, clock.agreed)
    row["pictures_per_second"] = steps * len(context.task.batches(epoch)[0]) / state.seconds
    row["seconds"] = state.seconds
    return {**row, **context.task.epoch_metrics(epoch), **validation}


def _stop_if_asked(context: TrainingContext, state: TrainingState, run_folder: RunFolder) -> None:
    (signal,) = max_over_processes(context.fabric.device, context.stop.flag.value)
    if signal:
        _stop(state, run_folder, signal)


def _stop(state: TrainingState, run_folder: RunFolder, signal: int) -> None:
    run_folder.write_checkpoint(state)
    raise stop_error(
        signal,
        f"stopped after step {state.step}; the checkpoint is in {run_folder.folder}\n"
        f"To continue, run the same command with -o {run_folder.folder} --resume",
    )


def _diverged(
    context: TrainingContext, run_folder: RunFolder, epoch: int, step: int, batch: NDArray[np.int64]
) -> ModelError:
    names = run_folder.write_picture_names([context.faces.paths[index] for index in batch])
    return ModelError(
        f"epoch {epoch + 1}, step {step}: the loss or its gradient is not finite; "
        f"the pictures of the batch are listed in {names}\n"
        f"Lower --lr or use --precision 32; last good checkpoint: {run_folder.last_checkpoint() or 'none yet'}"
    )


def _damage_notices(context: TrainingContext, epoch: int) -> Iterator[str]:
    """Describes the damaged faces of all processes that were found so far, if there are any new ones."""
    for number, (origin, damaged) in enumerate(context.supply.damaged()):
        if len(damaged) > context.known_damage.get(number, 0):
            context.known_damage[number] = len(damaged)
            faces = "1 damaged face was" if len(damaged) == 1 else f"{len(damaged):,} damaged faces were"
            yield (
                f"epoch {epoch + 1}: {origin}: {faces} replaced by other faces of the same people; "
                f"the first: {damaged[min(damaged)]}"
            )


class EpochSums:
    """Sums of the metrics of an epoch, kept on the device, so that steps do not synchronize with it.

    Args:
        state: Holds the initial sums; `write_back` updates it.
        device: The device of the metrics.
    """

    def __init__(self, state: TrainingState, device: torch.device) -> None:
        self._state = state
        self._names = list(state.sums)
        self._sums = torch.tensor(list(state.sums.values()), dtype=torch.float64, device=device)
        self._bad = torch.zeros((), dtype=torch.int64, device=device)
        self._began = time.perf_counter() - state.seconds

    def add(self, step: int, norm: Tensor, metrics: dict[str, Tensor]) -> None:
        """Adds the metrics of a step, all scalars, and records the first step whose loss or gradient is not finite."""
        values = torch.stack([value.detach().double() for value in metrics.values()])
        if not self._names:
            self._names, self._sums = list(metrics), torch.zeros_like(values)
        self._sums += values
        is_bad = ~(norm.isfinite() & values[0].isfinite())
        self._bad = torch.where(is_bad & (self._bad == 0), step + 1, self._bad)

    def first_bad_step(self) -> int:
        """Returns the first step whose loss or gradient is not finite, counted from 1; 0 if there is none."""
        return int(self._bad)

    def write_back(self) -> None:
        """Writes the sums, averaged over processes, and the elapsed time of the epoch to the state."""
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)
            self._sums /= torch.distributed.get_world_size()
        self._state.sums = dict(zip(self._names, self._sums.tolist(), strict=True))
        self._state.seconds = time.perf_counter() - self._began
