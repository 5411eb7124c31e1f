"""The choice between float32 and bf16 on a CPU, by timing a few steps of training.

Whether bf16 is faster depends on the processor and on the network, and cannot be derived from the processor's flags:
with AMX, some networks train twice as fast and others slower; without it, bf16 can be faster, equal, or much slower.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_int
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from faceclr_cli.core.configs.duration import seconds
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter, TaskFinished, TaskStarted
from faceclr_cli.core.training.batch_supply import BatchSupply
from faceclr_cli.core.training.launch import build_fabric
from faceclr_cli.core.training.loop import TrainingContext, train_on_batch
from faceclr_cli.core.training.machine import Machine, Precision
from faceclr_cli.core.training.run_worker import build_initial_network, build_modules
from faceclr_cli.core.training.schedule import Clock, Schedule
from faceclr_cli.core.training.stop_signals import StopRequest
from faceclr_cli.core.training.task import TaskModule
from faceclr_cli.core.training.training_sets import TrainingSets
from faceclr_cli.core.training.validation import Validation
from faceclr_cli.core.workers.capacity import threads_per_process

LEAD = 1.1
"""Minimum rate of bf16, as a multiple of that of float32, for which training uses bf16."""

_PICTURES = 32
"""Pictures per timed step. Whole batches of the default size would take seconds each."""

_STEPS = 4
"""Timed steps in each precision. The fastest counts, since other programs can only slow a step down."""

_SECONDS = 10.0
"""Time after which no further steps are timed."""

_HOPELESS = 3.0
"""Slowdown of the first step in bf16 above which no further steps are timed."""

_FEWEST_PICTURES, _SHORTEST = 10_000, 300.0
"""Pictures and seconds of the shortest run for which timing can save more time than it takes."""

_TASK = "timing float32 and bf16"


@dataclass(frozen=True, kw_only=True)
class PrecisionRates:
    """The rates of training steps, in pictures per second.

    Attributes:
        float32: The rate in float32.
        bf16: The rate in bf16.
    """

    float32: float
    bf16: float

    @property
    def favor_bf16(self) -> bool:
        """True if bf16 is faster by the required lead."""
        return self.bf16 / self.float32 >= LEAD

    def to_json(self) -> dict[str, float]:
        """The fields as a JSON object, with one decimal place."""
        return {name: round(rate, 1) for name, rate in asdict(self).items()}


def choose_precision(
    config: TrainConfig, machine: Machine, sets: TrainingSets, reporter: Reporter
) -> tuple[Machine, PrecisionRates | None]:
    """Chooses the precision of a new run if the machine leaves the choice open.

    Args:
        config: The resolved options.
        machine: From `find_machine`.
        sets: The data sets of the run.
        reporter: Receives progress and the choice.

    Returns:
        The machine with the precision, and the rates; None for the rates if nothing was timed, because the choice is
        not open or the run is short.
    """
    if not machine.is_precision_open or _is_short(config, len(sets.train)):
        return machine, None
    reporter.report(TaskStarted(task=_TASK))
    rates = time_precisions(config, sets, processes=machine.world)
    reporter.report(TaskFinished(task=_TASK))
    precision: Precision = "bf16-mixed" if rates.favor_bf16 else "32-true"
    used = "bf16" if rates.favor_bf16 else "float32"
    text = f"precision: {used}; a few steps ran at {rates.float32:.0f} pictures/s in float32, {rates.bf16:.0f} in bf16"
    reporter.report(Notice(text=text))
    return replace(machine, precision=precision), rates


def time_precisions(
    config: TrainConfig, sets: TrainingSets, *, processes: int = 1, pictures: int = _PICTURES
) -> PrecisionRates:
    """Times training steps on the CPU in float32 and in bf16, in turn. The steps have no lasting effect.

    Args:
        config: The resolved options. The backbone is timed without compilation, which takes minutes.
        sets: The data sets of the run.
        processes: Number of processes of the run; steps are timed with the threads and the pictures of one of them.
        pictures: Number of pictures per step, or a few more if batches cannot be divided like this.
    """
    precisions: tuple[Precision, ...] = ("32-true", "bf16-mixed")
    with torch.random.fork_rng(devices=[]), _threads(processes):
        both = [_build_context(replace(config, compile=False), sets, precision) for precision in precisions]
        batch = _small_batch(both[0].task, pictures, processes)
        began = time.perf_counter()
        fastest = [_time_step(context, batch, 0) for context in both]
        if fastest[1] < _HOPELESS * fastest[0]:
            # Timed again, since the first steps also prepare memory and kernels.
            fastest = [_time_step(context, batch, 1) for context in both]
            for step in range(2, _STEPS + 1):
                if time.perf_counter() - began > _SECONDS:
                    break
                fastest = [
                    min(so_far, _time_step(context, batch, step)) for so_far, context in zip(fastest, both, strict=True)
                ]
    single, half = (len(batch) / duration for duration in fastest)
    return PrecisionRates(float32=single, bf16=half)


def _is_short(config: TrainConfig, pictures: int) -> bool:
    budget = None if config.time_budget is None else seconds(config.time_budget)
    return config.epochs * pictures < _FEWEST_PICTURES or (budget is not None and budget < _SHORTEST)


@contextmanager
def _threads(processes: int) -> Iterator[None]:
    """Sets the number of threads that each process of a run will have."""
    before = torch.get_num_threads()
    if processes > 1:
        torch.set_num_threads(threads_per_process(processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _build_context(config: TrainConfig, sets: TrainingSets, precision: Precision) -> TrainingContext:
    fabric = build_fabric(Machine(device="cpu", precision=precision))
    task, module, optimizer = build_modules(fabric, config, build_initial_network(config, None), sets)
    module.train()
    return TrainingContext(
        config=config,
        fabric=fabric,
        task=task,
        module=module,
        optimizer=optimizer,
        faces=sets.train,
        supply=BatchSupply(sets.train, fabric.device),
        validation=Validation(sets),
        stop=StopRequest(c_int(0)),
    )


def _small_batch(task: TaskModule, pictures: int, processes: int) -> NDArray[np.int64]:
    """Returns the smallest sufficient part of a batch, as one of several processes would get it."""
    batch = task.batches(0)[0]
    for parts in range(max(processes, len(batch) // pictures), 1, -1):
        try:
            return batch[task.share(np.arange(len(batch)), 0, parts)]
        except DataError:
            continue  # The batch cannot be divided into this many parts.
    return batch


def _time_step(context: TrainingContext, batch: NDArray[np.int64], step: int) -> float:
    """Trains on a batch and returns the duration in seconds, without loading the crops."""
    schedule = Schedule.of(context.config, _STEPS + 1, len(batch))
    crops = torch.from_numpy(context.faces.crops(batch))
    began = time.perf_counter()
    train_on_batch(context, schedule, Clock(0.0, 0.0), step, crops, batch)
    return time.perf_counter() - began
