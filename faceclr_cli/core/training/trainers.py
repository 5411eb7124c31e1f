"""The trainers as functions: resolve and check everything, then train."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from faceclr_cli.core.artifacts import exclusive, stamp, write_json
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.training.resolved_options import (
    COMMANDS,
    ResolvedOptions,
    claim_run_folder,
    is_resuming,
    require_unused,
    resolve_options,
)
from faceclr_cli.core.training.training_sets import FaceListing, TrainingSets, decode_listing, list_faces, open_sets
from faceclr_cli.core.workers.torchrun import torchrun_place

if TYPE_CHECKING:
    from faceclr_cli.core.training.machine import Machine
    from faceclr_cli.core.training.run_worker import RunOutcome, TrainingJob
    from faceclr_cli.core.training.student_report import StudentReport


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of a run.

    Attributes:
        command: `pretrain`, `distill`, `train-triplet` or `train-center`.
        run: The run folder.
        encoder: The encoder in the run folder.
        epochs: Number of trained epochs, including those before a resume.
        before: The metrics before the first step, if training started from an encoder.
        best_epoch: The epoch whose encoder was kept, 0 for the encoder before the first step; None if nothing was
            validated, then it is the last epoch.
        best_by: The column of the history that determines the best epoch, such as `val_knn`, `val_loss` or
            `val_tar@1e-3`.
        best: The metrics of the best epoch.
        metrics: The metrics of the last epoch or of the untrained network, by column of the history.
        precision: `32` or `bf16`.
        precision_rates: Pictures per second of the steps that were timed to choose the precision, in `float32` and in
            `bf16`; None if the precision was not chosen by timing.
        pictures_per_second: Throughput of training over all epochs and processes, without validation.
        seconds: Wall time from the call to the result.
        student: The size and the speed of a student beside its teachers; None unless the command is `distill`.
    """

    command: str
    run: Path
    encoder: Path
    epochs: int
    before: dict[str, float] | None
    best_epoch: int | None
    best_by: str | None
    best: dict[str, float] | None
    metrics: dict[str, float]
    precision: Literal["32", "bf16"]
    precision_rates: Mapping[str, float] | None
    pictures_per_second: float | None
    seconds: float
    student: StudentReport | None

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return {**asdict(self), "run": str(self.run), "encoder": str(self.encoder)}


def train(config: TrainConfig, reporter: Reporter) -> TrainResult:
    """Trains an encoder.

    Everything is checked before the run folder is created, so invalid options or data leave nothing behind.

    Args:
        config: The options of a trainer; their type determines the trainer.
        reporter: Receives progress and warnings.

    Raises:
        ConfigError: The options contradict each other, the machine or the run to resume.
        DataError: The faces are missing, unreadable, too few, or prepared differently from the crops of `init`.
        ModelError: `init` or the checkpoint is missing or damaged, or the training diverged.
        LockedError: Another process trains in the same folder.
        InterruptedRunError, TerminatedRunError: A signal requested a stop; the checkpoint is written.
    """
    began = time.perf_counter()
    command = COMMANDS[type(config)]
    resolved = resolve_options(config, command)
    place = torchrun_place()
    is_first = place is None or place.rank == 0
    is_new = resolved.out is None or not is_resuming(resolved.config, resolved.out)
    if is_first and is_new and resolved.out is not None:
        require_unused(resolved.out)
    listing = list_faces(resolved.config, resolved.data, resolved.val) if is_first else None
    if "torch" not in sys.modules:
        reporter.report(Notice(text="loading PyTorch"))
    # Importing torch takes seconds, so the faces are listed first to report a misspelled folder quickly.
    from faceclr_cli.core.training.launch import launch
    from faceclr_cli.core.training.machine import find_machine
    from faceclr_cli.core.training.precision_choice import choose_precision
    from faceclr_cli.core.training.run_folder import clean_run_folder
    from faceclr_cli.core.training.run_worker import TrainingJob, run_worker

    for text in resolved.notices if is_first else ():
        reporter.report(Notice(text=text))
    machine = find_machine(resolved.config)
    sets = None if listing is None else _check_and_decode(resolved, listing, machine.world, reporter)
    rates = resolved.precision_rates
    if is_new and sets is not None:
        machine, measured = choose_precision(resolved.config, machine, sets, reporter)
        rates = None if measured is None else measured.to_json()
    # Other processes of torchrun wait in `launch` for rank 0, which sends them the precision and the run folder.
    out = resolved.out or (claim_run_folder(command) if is_first else Path())
    job = TrainingJob(
        config=replace(resolved.config, out=out, precision=machine.precision_option),
        data=resolved.data,
        val=resolved.val,
        out=out,
        command=command,
        initial=resolved.initial,
        sets=sets,
    )
    with exclusive(job.out) if is_first else nullcontext():
        if is_first:
            clean_run_folder(job.out)
            _write_run_config(job, rates)
        outcome = launch(run_worker, machine, job, reporter)
    student = None
    if isinstance(config, DistillConfig) and is_first:
        from faceclr_cli.core.training.student_report import measure_student

        student = measure_student(job.out / "encoder", config.teacher, "cpu" if config.device == "cpu" else "auto")
    return _summarize(job, machine, outcome, rates, student, time.perf_counter() - began)


def _write_run_config(job: TrainingJob, rates: Mapping[str, float] | None) -> None:
    content = {**stamp("run", to_json(job.config)), "command": job.command, "precision_rates": rates}
    record = {} if job.initial is None else {"init": job.initial.to_json()}
    write_json(job.out / "config.json", content | record)


def _summarize(
    job: TrainingJob,
    machine: Machine,
    outcome: RunOutcome,
    rates: Mapping[str, float] | None,
    student: StudentReport | None,
    seconds: float,
) -> TrainResult:
    trained = sum(row["seconds"] for row in outcome.rows)
    pictures = sum(row["seconds"] * row["pictures_per_second"] for row in outcome.rows)
    return TrainResult(
        command=job.command,
        run=job.out,
        encoder=job.out / "encoder",
        epochs=len(outcome.rows),
        before=outcome.before,
        best_epoch=outcome.best_epoch,
        best_by=outcome.best_by,
        best=None if outcome.best_epoch is None else [outcome.before, *outcome.rows][outcome.best_epoch],
        metrics=outcome.metrics,
        precision=machine.precision_option,
        precision_rates=rates,
        pictures_per_second=pictures / trained if trained else None,
        seconds=seconds,
        student=student,
    )


def pretrain(config: PretrainConfig, reporter: Reporter) -> TrainResult:
    """Computes an encoder without labels from histograms, or trains one by SimCLR or MoCo; see `train`."""
    return train(config, reporter)


def distill(config: DistillConfig, reporter: Reporter) -> TrainResult:
    """Trains a student to embed as a teacher does; see `train`."""
    return train(config, reporter)


def train_triplet(config: TripletConfig, reporter: Reporter) -> TrainResult:
    """Trains an encoder with triplets; see `train`."""
    return train(config, reporter)


def train_center(config: CenterConfig, reporter: Reporter) -> TrainResult:
    """Trains an encoder as a classifier with the center loss; see `train`."""
    return train(config, reporter)


def _check_and_decode(resolved: ResolvedOptions, listing: FaceListing, world: int, reporter: Reporter) -> TrainingSets:
    """Decodes the faces, once for all processes, and checks everything that can be checked without training.

    Decoding takes longest, so the network is built first to report a misspelled one quickly.
    """
    import torch

    from faceclr_cli.core.training.run_worker import build_initial_network
    from faceclr_cli.core.training.task_registry import build_task

    config = resolved.config
    with torch.random.fork_rng(devices=[]):
        network = build_initial_network(config, resolved.initial)
    faces = decode_listing(listing, config.pixels, reporter)
    if resolved.origin is not None:
        _check_crops(resolved.origin.fingerprint, faces.data.fingerprint, resolved, reporter)
    if faces.val is not None:
        _check_val(faces.val, resolved, faces.data, reporter)
    sets = open_sets(config, faces, resolved.data, resolved.val, reporter)
    if resolved.initial is not None and resolved.initial.knows_people and config.epochs:
        _warn_if_unwatched(sets, reporter)
    with torch.random.fork_rng(devices=[]):
        task = build_task(config, network, sets)
    task.share(task.batches(0)[0], 0, world)
    for text in task.notices():
        reporter.report(Notice(text=text))
    return sets


def _warn_if_unwatched(sets: TrainingSets, reporter: Reporter) -> None:
    """Warns if no measurement shows how fine-tuning affects people who are not in the training set."""
    from faceclr_cli.core.training.validation import find_measurable_rows

    if sets.new_people is None or not len(find_measurable_rows(sets.new_people)):
        text = (
            "too few people are held out to measure whether training makes the encoder worse on other people; "
            "give pictures of other people with --val DIR"
        )
        reporter.report(Notice(level="warning", text=text))


def _check_crops(wanted: Fingerprint, crops: Fingerprint, resolved: ResolvedOptions, reporter: Reporter) -> None:
    if wanted.template != UNKNOWN:
        wanted.require_same_crops(crops, resolved.config.init, str(resolved.data[0]))
        return
    text = (
        f"{resolved.config.init}: does not say how its faces are aligned; it is trained on faces as they are here: "
        f"{crops.template}, {crops.size} pixels, resized to {resolved.config.input_size}"
    )
    reporter.report(Notice(text=text))


def _check_val(val: JoinedFaces, resolved: ResolvedOptions, faces: JoinedFaces, reporter: Reporter) -> None:
    import numpy as np

    from faceclr_cli.core.training.validation import FEWEST_PEOPLE, find_measurable_rows

    names = ", ".join(map(str, resolved.val))
    val.fingerprint.require_same(faces.fingerprint, names, str(resolved.data[0]))
    if not len(find_measurable_rows(val)):
        twice = int((np.bincount(val.labels[val.labels >= 0]) > 1).sum())
        have = f"only {'1 person has' if twice == 1 else f'{twice} people have'} two or more pictures"
        text = f"{names}: {have}; the best epoch needs at least {FEWEST_PEOPLE}, so the last epoch is kept"
        reporter.report(Notice(text=text))
        return
    known = sorted(set(val.people) & set(faces.people))
    if known:
        text = (
            f"{names}: {len(known)} of the people are also in the training set ({known[0]}, ...); "
            "the validation metrics will be too optimistic"
        )
        reporter.report(Notice(level="warning", text=text))
