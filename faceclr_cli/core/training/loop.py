"""The loop: one for all tasks, a generator of events.

Every random choice is a pure function of the seed and of where it is made: batches of (seed, epoch), views of
(seed, step), dropout of (seed, step, rank). So a run that was stopped after any step goes on as if it had not
been, to the last bit on the CPU; except under a time budget, by which the learning rate follows the clock. Views are
drawn for the whole batch, of which each process makes its share: N processes see what one sees.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
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
from faceclr_cli.core.training.alarms import alarms
from faceclr_cli.core.training.batch_supply import Supply
from faceclr_cli.core.training.checkpoint import TrainingState
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.optimizer import average_gradients, clip_gradient
from faceclr_cli.core.training.run_folder import RunFolder
from faceclr_cli.core.training.schedule import Clock, Schedule
from faceclr_cli.core.training.stop_signals import StopRequest, agree_to_stop, stop_error
from faceclr_cli.core.training.task import Part, TaskModule, random_uniform, seed_of
from faceclr_cli.core.training.validation import Validation, embed_on_all_processes

_WHOLE = "training"
_LOOK_EVERY = 16
"""Batches between looks at the GPU's numbers and at signals. To look is to wait for the GPU; a CPU never lags."""


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """What the loop works with; see `work.py` for how it comes together.

    Attributes:
        config: The resolved options.
        fabric: Device, precision and the other processes.
        task: What is learned.
        module: The task as Fabric wrapped it; called for its loss.
        optimizer: Of the task's parameters.
        faces: What it is trained on.
        supply: Their crops, batch by batch.
        watch: Looks at what is not trained on after each epoch.
        stop: Whether a signal came.
    """

    config: TrainConfig
    fabric: Fabric
    task: TaskModule
    module: Any
    optimizer: torch.optim.Optimizer
    faces: JoinedFaces
    supply: Supply
    watch: Validation
    stop: StopRequest

    def looks(self, place: int, plan: Schedule) -> bool:
        """Whether it is time, after a batch of an epoch, to look at what the device computed and at signals.

        Only between steps of the optimizer, since gradients are in no checkpoint.
        """
        step = place // plan.accumulate
        every = 1 if self.fabric.device.type == "cpu" else _LOOK_EVERY
        return plan.group(place)[1] and (step % every == every - 1 or place + 1 == plan.batches)


def fit(trainee: Trainee, state: TrainingState, record: RunFolder) -> Iterator[Event]:
    """Trains from where `state` is to the last epoch, and keeps `state` and the run folder up to date.

    Raises:
        ModelError: The loss, a gradient, a weight or an embedding was not finite.
        InterruptedRunError, TerminatedRunError: A signal came; the checkpoint is written.
    """
    first = trainee.task.batches(0)
    size = len(first[0])
    plan, clock = Schedule.of(trainee.config, len(first), size), Clock(state.elapsed, state.closing)
    _require_whole_epochs(state, plan)
    total = None if plan.budget else plan.epochs * plan.batches * size
    yield TaskStarted(task=_WHOLE, total=total, unit="pictures", done=state.step * size)
    for epoch in range(len(state.rows), plan.epochs):
        yield from _train(trainee, state, record, plan, clock)
        if not state.sums:
            break  # No time was left for a single batch.
        record.require_finite_weights(state)
        began = time.perf_counter()
        is_whole = state.step == plan.before(epoch + 1)
        if not is_whole:
            record.checkpoint(state)  # With the epoch open, for those who give it more time.
        row = _close(trainee, state, record, plan, clock)
        state.rows.append(row)
        state.sums, state.seconds, state.elapsed = {}, 0.0, clock.now()
        record.epoch_closed(state, is_whole)
        metrics = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        yield EpochFinished(epoch=epoch + 1, epochs=plan.epochs, metrics=metrics)
        for text in alarms(state.rows, trainee.task.blind_loss(size), plan):
            yield Notice(level="warning", text=text)
        # When time is over is to be the same for all processes.
        (milliseconds,) = agree_to_stop(trainee.fabric.device, int(1000 * (time.perf_counter() - began)))
        state.closing = clock.closing = milliseconds / 1000
        if not is_whole:
            break
    yield TaskFinished(task=_WHOLE)


def _require_whole_epochs(state: TrainingState, plan: Schedule) -> None:
    """A step of the checkpoint must be the same step here, or batches would be skipped or repeated in silence."""
    closed = int(state.rows[-1]["step"]) if state.rows else 0
    if closed != plan.before(len(state.rows)):
        raise ModelError(
            f"the checkpoint has {closed} batches in its {len(state.rows)} epochs, where this run would have "
            f"{plan.before(len(state.rows))}; an older faceclr wrote it: start a new run with another -o"
        )


def _train(trainee: Trainee, state: TrainingState, record: RunFolder, plan: Schedule, clock: Clock) -> Iterator[Event]:
    """Learns from the batches of an epoch that are not learned from yet."""
    epoch, device = len(state.rows), trainee.fabric.device
    first = state.step - plan.before(epoch)
    if first == 0:
        yield from _begin(trainee, state, record)
    batches = trainee.task.batches(epoch)
    size, label = len(batches[0]), f"epoch {epoch + 1}/{plan.epochs}"
    yield TaskStarted(task=label, total=len(batches) * size, unit="pictures", done=first * size)
    trainee.module.train()
    sums, signal = EpochSums(state, device), 0
    coming = batches[first:] if not clock.is_over(plan) else []
    rank, world = trainee.fabric.global_rank, trainee.fabric.world_size
    with closing(trainee.supply(trainee.task.share(batch, rank, world) for batch in coming)) as supply:
        for place, crops in enumerate(supply, start=first):
            sums.add(state.step, *_step(trainee, plan, clock, state.step, crops, batches[place]))
            state.step += 1
            if trainee.looks(place, plan):
                signal, bad, milliseconds = agree_to_stop(
                    device, trainee.stop.flag.value, sums.bad(), int(clock.now() * 1000)
                )
                clock.agreed = milliseconds / 1000
                if bad:
                    raise _diverged(trainee, record, epoch, bad, batches[bad - 1 - plan.before(epoch)])
                if signal or clock.is_over(plan):
                    break
                if clock.is_due(plan):
                    sums.settle()
                    state.elapsed = clock.saved = clock.agreed
                    record.checkpoint(state)
            yield TaskAdvanced(task=_WHOLE, done=state.step * size)
            yield TaskAdvanced(task=label, done=(place + 1) * size)
    sums.settle()
    state.elapsed = clock.now()
    yield TaskFinished(task=label)
    if signal:
        _stop(state, record, signal)


def _begin(trainee: Trainee, state: TrainingState, record: RunFolder) -> Iterator[Event]:
    """Has the task get ready for an epoch."""

    def embed(pictures: NDArray[np.int64]) -> Tensor:
        embeddings = embed_on_all_processes(
            trainee.task.encoder, trainee.faces, pictures, trainee.fabric.device, trainee.stop
        )
        # After a signal they are not whole, so the task must not see them.
        _stop_if_asked(trainee, state, record)
        return embeddings

    note = trainee.task.begin(len(state.rows), state.rows, embed)
    _stop_if_asked(trainee, state, record)
    if note is not None:
        yield Notice(text=note)


def _step(
    trainee: Trainee, plan: Schedule, clock: Clock, step: int, crops: Tensor, batch: NDArray[np.int64]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Learns from one batch. Returns the norm of the gradient and the metrics, on the device."""
    fabric, task, optimizer = trainee.fabric, trainee.task, trainee.optimizer
    rank, world = fabric.global_rank, fabric.world_size
    # Dropout and stochastic depth draw from torch's own generator, views from theirs.
    seeds = [seed_of(trainee.config.seed, step, stream) for stream in (0, 1 + rank)]
    generator = torch.Generator().manual_seed(seeds[0])
    torch.manual_seed(seeds[1])
    chance = random_uniform(len(batch), task.views, task.augment.draws, generator)
    places = task.share(np.arange(len(batch)), rank, world)
    own = batch[places]
    labels, pictures = (torch.from_numpy(x).to(fabric.device) for x in (trainee.faces.labels[own], own))
    task.step, task.done, task.part = step, plan.done(step, clock.agreed), Part(int(places[0]), len(batch))
    size, ends = plan.group(step % plan.batches)
    with fabric.no_backward_sync(trainee.module, enabled=not ends or task.frozen):
        loss, metrics = trainee.module(crops, labels, pictures, chance[places])
        fabric.backward(loss / size)
    norm = loss.detach()
    if ends:
        local = task.local_names()
        if task.frozen:
            average_gradients(task, local)
        norm = clip_gradient(task, local, trainee.config.clip or math.inf)
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate(step, clock.agreed)
        optimizer.step()
        optimizer.zero_grad()
    return norm, {"loss": loss.detach(), **metrics}


def _close(trainee: Trainee, state: TrainingState, record: RunFolder, plan: Schedule, clock: Clock) -> Row:
    """The row of an epoch."""
    device, epoch = trainee.fabric.device, len(state.rows)
    steps = state.step - plan.before(epoch)
    seen = trainee.watch.look(trainee.task, epoch + 1, device, trainee.stop)
    _stop_if_asked(trainee, state, record)
    # What the task makes of it must be the same everywhere, to the last bit.
    seen = trainee.fabric.broadcast(seen)
    row: Row = {"epoch": epoch + 1, "step": state.step}
    row.update({name: value / steps for name, value in state.sums.items()})
    row["lr"] = plan.learning_rate(state.step - 1, clock.agreed)
    row["pictures_per_second"] = steps * len(trainee.task.batches(epoch)[0]) / state.seconds
    row["seconds"] = state.seconds
    return {**row, **trainee.task.numbers(epoch), **seen}


def _stop_if_asked(trainee: Trainee, state: TrainingState, record: RunFolder) -> None:
    (signal,) = agree_to_stop(trainee.fabric.device, trainee.stop.flag.value)
    if signal:
        _stop(state, record, signal)


def _stop(state: TrainingState, record: RunFolder, signal: int) -> None:
    record.checkpoint(state)
    raise stop_error(
        signal,
        f"stopped after step {state.step}; the checkpoint is in {record.folder}\n"
        f"To continue, repeat the command with -o {record.folder} --resume",
    )


def _diverged(trainee: Trainee, record: RunFolder, epoch: int, step: int, batch: NDArray[np.int64]) -> ModelError:
    names = record.culprits([trainee.faces.paths[index] for index in batch])
    return ModelError(
        f"epoch {epoch + 1}, step {step}: the loss or its gradient is not finite, on the batch of pictures named in "
        f"{names}\n"
        f"Lower --lr or use --precision 32; the last good checkpoint: {record.last_checkpoint() or 'none yet'}"
    )


class EpochSums:
    """Sums of the metrics of an epoch, on the device, so that no step waits for them.

    Args:
        state: Where it goes on, and where `settle` writes.
        device: Of the metrics.
    """

    def __init__(self, state: TrainingState, device: torch.device) -> None:
        self._state = state
        self._names = list(state.sums)
        self._sums = torch.tensor(list(state.sums.values()), dtype=torch.float64, device=device)
        self._bad = torch.zeros((), dtype=torch.int64, device=device)
        self._began = time.perf_counter() - state.seconds

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

    def settle(self) -> None:
        """Writes the sums, averaged over the processes, and the time that they took into the state."""
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)
            self._sums /= torch.distributed.get_world_size()
        self._state.sums = dict(zip(self._names, self._sums.tolist(), strict=True))
        self._state.seconds = time.perf_counter() - self._began
