"""The three trainers as functions: check everything, then train."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import exclusive, stamp, write_json
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.training.resolved_options import (
    COMMANDS,
    ResolvedOptions,
    claim,
    is_resuming,
    require_unused,
    resolve_options,
)
from faceclr_cli.core.training.training_sets import FaceListing, TrainingSets, list_faces, open_listed, open_sets
from faceclr_cli.core.workers.torchrun import torchrun_place


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


def train(config: PretrainConfig | TripletConfig | CenterConfig, reporter: Reporter) -> TrainResult:
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
    command = COMMANDS[type(config)]
    settled = resolve_options(config, command)
    place = torchrun_place()
    is_first = place is None or place.rank == 0
    if is_first and settled.out is not None and not is_resuming(settled.config, settled.out):
        require_unused(settled.out)
    listing = list_faces(settled.config, settled.data, settled.val) if is_first else None
    if "torch" not in sys.modules:
        reporter.report(Notice(text="loading PyTorch"))
    # To import torch takes seconds, after which a misspelled folder would be no quick answer.
    from faceclr_cli.core.training.launch import launch
    from faceclr_cli.core.training.machine import find_machine
    from faceclr_cli.core.training.run_folder import clean_run_folder
    from faceclr_cli.core.training.run_worker import TrainingJob, run_worker

    machine = find_machine(settled.config)
    sets = None if listing is None else _checked(settled, listing, machine.world, reporter)
    # Processes that torchrun started wait in `launch` until the first of them is there, and hear from it where it is.
    out = settled.out or (claim(command) if is_first else Path())
    job = TrainingJob(
        config=replace(settled.config, out=out),
        data=settled.data,
        val=settled.val,
        out=out,
        command=command,
        sets=sets,
    )
    with exclusive(job.out) if is_first else nullcontext():
        if is_first:
            clean_run_folder(job.out)
            write_json(job.out / "config.json", {**stamp("run", to_json(job.config)), "command": command})
        outcome = launch(run_worker, machine, job, reporter)
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


def pretrain(config: PretrainConfig, reporter: Reporter) -> TrainResult:
    """Trains an encoder without labels; see `train`."""
    return train(config, reporter)


def train_triplet(config: TripletConfig, reporter: Reporter) -> TrainResult:
    """Trains an encoder with triplets; see `train`."""
    return train(config, reporter)


def train_center(config: CenterConfig, reporter: Reporter) -> TrainResult:
    """Trains an encoder as a classifier with the center loss; see `train`."""
    return train(config, reporter)


def _checked(settled: ResolvedOptions, listing: FaceListing, world: int, reporter: Reporter) -> TrainingSets:
    """Decodes the faces, once for all processes. What can be found wrong without training is found here."""
    import torch

    from faceclr_cli.core.training.run_worker import initial_network
    from faceclr_cli.core.training.task_registry import build_task

    config, faces = settled.config, open_listed(listing, reporter)
    if settled.origin is not None:
        settled.origin.fingerprint.require_same_crops(faces.data.fingerprint, config.init, str(settled.data[0]))
    if faces.val is not None:
        _check_val(faces.val, settled, faces.data, reporter)
    sets = open_sets(config, faces, reporter)
    with torch.random.fork_rng(devices=[]):
        task = build_task(config, initial_network(config), sets.trained)
    task.share(task.batches(0)[0], 0, world)
    for text in task.remarks():
        reporter.report(Notice(text=text))
    return sets


def _check_val(val: JoinedFaces, settled: ResolvedOptions, faces: JoinedFaces, reporter: Reporter) -> None:
    import numpy as np

    from faceclr_cli.core.training.validation import FEWEST_PEOPLE, watchable_rows

    names = ", ".join(map(str, settled.val))
    val.fingerprint.require_same(faces.fingerprint, names, str(settled.data[0]))
    if not len(watchable_rows(val)):
        twice = int((np.bincount(val.labels[val.labels >= 0]) > 1).sum())
        have = f"{'1 person has' if twice == 1 else f'{twice} people have'} two or more pictures"
        text = f"{names}: {have}, fewer than the {FEWEST_PEOPLE} by whom an epoch can be judged; the last one is kept"
        reporter.report(Notice(text=text))
        return
    known = sorted(set(val.people) & set(faces.people))
    if known:
        text = f"{names}: {len(known)} of its people are trained on too ({known[0]}, ...): the numbers will flatter"
        reporter.report(Notice(level="warning", text=text))
