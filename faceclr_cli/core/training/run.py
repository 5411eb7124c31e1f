"""The three trainers as functions: check everything, then train."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faceclr_cli.core.artifacts import exclusive, stamp, write_json
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.joined import JoinedFaces
from faceclr_cli.core.datasets.samplers import share
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.training.launch import launch
from faceclr_cli.core.training.machine import find_machine
from faceclr_cli.core.training.record import tidy
from faceclr_cli.core.training.sets import open_sets, opened
from faceclr_cli.core.training.settle import Settled, require_unused, resumes, settle
from faceclr_cli.core.training.tasks import COMMANDS, build_task
from faceclr_cli.core.training.watch import FEWEST_PEOPLE, watchable
from faceclr_cli.core.training.work import Job, initial_network, work


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run came to.

    Attributes:
        command: `pretrain`, `train-triplet` or `train-center`.
        run: The run folder.
        encoder: The encoder in it.
        epochs: How many epochs were trained, those before a resume included.
        best_epoch: Whose encoder was kept, by what was watched; None where nothing was: then it is the last.
        best_by: By which column of the history: `val_knn`, `val_loss` or `val_accuracy`.
        best: The numbers of that epoch.
        metrics: Of the last epoch, or of the untrained network: the columns of the history.
        pictures_per_second: Over all epochs, on all processes, without the watching.
        seconds: From the call to the result.
    """

    command: str
    run: Path
    encoder: Path
    epochs: int
    best_epoch: int | None
    best_by: str | None
    best: dict[str, float] | None
    metrics: dict[str, float]
    pictures_per_second: float | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return {**asdict(self), "run": str(self.run), "encoder": str(self.encoder)}


def run(config: PretrainConfig | TripletConfig | CenterConfig, reporter: Reporter) -> TrainResult:
    """Trains an encoder.

    Everything is checked before the run folder is made: bad options and bad data leave nothing behind.

    Args:
        config: Which of the three trainers, and its options.
        reporter: Hears about progress.

    Raises:
        ConfigError: Options that contradict each other, the machine, or the run that is to be continued.
        DataError: Faces that are missing, unreadable or too few, or that were prepared otherwise than `init`'s.
        ModelError: `init` or the checkpoint is missing or damaged, or the training diverged.
        LockedError: Another process trains in the same folder.
        InterruptedRunError, TerminatedRunError: A signal came; the checkpoint is written.
    """
    began = time.perf_counter()
    machine = find_machine(config)
    command = COMMANDS[type(config)]
    settled = settle(config, command)
    if machine.rank == 0:
        settled = _checked(settled, machine.world, reporter)
    job = Job(config=settled.config, data=settled.data, val=settled.val, out=settled.out, command=command)
    # Processes that torchrun started wait in `launch` until the first of them is there.
    with exclusive(job.out) if machine.rank == 0 else nullcontext():
        if machine.rank == 0:
            tidy(job.out)
            write_json(job.out / "config.json", {**stamp("run", to_json(job.config)), "command": command})
        outcome = launch(work, machine, job, reporter)
    seconds = sum(row["seconds"] for row in outcome.rows)
    pictures = sum(row["seconds"] * row["pictures_per_second"] for row in outcome.rows)
    return TrainResult(
        command=command,
        run=job.out,
        encoder=job.out / "encoder",
        epochs=len(outcome.rows),
        best_epoch=outcome.best_epoch,
        best_by=outcome.best_by,
        best=outcome.rows[outcome.best_epoch - 1] if outcome.best_epoch else None,
        metrics=outcome.metrics,
        pictures_per_second=pictures / seconds if seconds else None,
        seconds=time.perf_counter() - began,
    )


def _checked(settled: Settled, world: int, reporter: Reporter) -> Settled:
    """Whatever can be found wrong without training is found here."""
    config = settled.config
    if not resumes(config, settled.out):
        require_unused(settled.out)
    everything = opened(settled.data, reporter)
    if settled.origin is not None:
        settled.origin.fingerprint.require_same_crops(everything.fingerprint, config.init, str(settled.data[0]))
    settled = _checked_val(settled, everything, reporter)
    sets = open_sets(config, settled.data, settled.val, reporter)
    with torch.random.fork_rng(devices=[]):
        task = build_task(config, initial_network(config), sets.trained)
    share(task.batches(0)[0], 0, world)
    for text in task.remarks():
        reporter.report(Notice(text=text))
    return settled


def _checked_val(settled: Settled, faces: JoinedFaces, reporter: Reporter) -> Settled:
    if not settled.val:
        return settled
    names = ", ".join(map(str, settled.val))
    val = opened(settled.val, reporter)
    val.fingerprint.require_same(faces.fingerprint, names, str(settled.data[0]))
    if not len(watchable(val)):
        twice = int((np.bincount(val.labels[val.labels >= 0]) > 1).sum())
        have = f"{'1 person has' if twice == 1 else f'{twice} people have'} two or more pictures"
        text = f"{names}: {have}, fewer than the {FEWEST_PEOPLE} by whom an epoch can be judged; the last one is kept"
        reporter.report(Notice(text=text))
        return settled
    known = sorted(set(val.people) & set(faces.people))
    if known:
        text = f"{names}: {len(known)} of its people are trained on too ({known[0]}, ...): the numbers will flatter"
        reporter.report(Notice(level="warning", text=text))
    return settled
