"""What each process of a run does: build, restore, train."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.layers.norm_act import convert_sync_batchnorm
from torch.nn.parallel import DistributedDataParallel

from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.train import LabeledConfig, TrainConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter, Silent
from faceclr_cli.core.training.batch_supply import Supply
from faceclr_cli.core.training.checkpoint import (
    CheckpointOrigin,
    TrainingState,
    is_whole,
    list_checkpoints,
    load_checkpoint,
)
from faceclr_cli.core.training.history import History, Row
from faceclr_cli.core.training.loop import Trainee, fit
from faceclr_cli.core.training.optimizer import build_optimizer, default_weight_decay
from faceclr_cli.core.training.resolved_options import is_resuming
from faceclr_cli.core.training.run_folder import RunFolder, best_epoch, selection_metric
from faceclr_cli.core.training.stop_signals import StopRequest, agree_to_stop, stop_error
from faceclr_cli.core.training.task import TaskModule
from faceclr_cli.core.training.task_registry import build_task
from faceclr_cli.core.training.training_sets import TrainingSets, list_faces, open_listed, open_sets
from faceclr_cli.core.training.validation import Validation


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What a process is told.

    Attributes:
        config: The resolved options: `data`, `out` and `val` are final, the architecture is that of `init`.
        out: The run folder.
        command: Which command this is.
        sets: What `data` and `val` hold, opened by the process that checked them. Processes that it starts are handed
            what it opened; those that torchrun started open it for themselves.
    """

    config: TrainConfig
    data: tuple[Path, ...]
    val: tuple[Path, ...]
    out: Path
    command: str
    sets: TrainingSets | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What rank 0 found.

    Attributes:
        rows: The numbers of each epoch.
        best_epoch: Whose encoder was kept because of what was watched; None where nothing was.
        best_by: The column of the history by which it is the best.
        metrics: Of the last epoch, or of the untrained network.
    """

    rows: list[Row]
    best_epoch: int | None
    best_by: str | None
    metrics: dict[str, float]


def initial_network(config: TrainConfig) -> EncoderNetwork:
    """The network before the first step.

    Raises:
        ConfigError, ModelError: As `build_backbone` and `load_network`.
    """
    torch.manual_seed(config.seed)
    if config.init not in ("random", "imagenet"):
        return load_network(Path(config.init))[0].at_size(config.image_size)
    architecture = Architecture(
        backbone=config.backbone, embedding_dim=config.embedding_dim, image_size=config.image_size, pool=config.pool
    )
    return EncoderNetwork(architecture, pretrained=config.init == "imagenet")


def run_worker(fabric: Fabric, stop: StopRequest, job: TrainingJob, reporter: Reporter) -> Outcome:
    """Trains in this process, together with the others if there are any.

    Raises:
        FaceclrError: See `fit`.
        ConfigError: A batch does not fit into the GPU's memory.
    """
    # The caller's own random numbers are not ours to disturb.
    gpus = [fabric.device] if fabric.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=gpus):
            return _work(fabric, stop, job, reporter)
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"--batch-size {job.config.batch_size} does not fit into the GPU's memory; "
            "lower it, or --image-size, or choose a smaller --backbone"
        ) from error


def _work(fabric: Fabric, stop: StopRequest, job: TrainingJob, reporter: Reporter) -> Outcome:
    # The first process alone knows which run folder it claimed.
    out: Path = fabric.broadcast(job.out)
    job = replace(job, out=out, config=replace(job.config, out=out))
    sets = job.sets
    if sets is None:
        # Packed by now: this maps what the first process decoded.
        listing = list_faces(job.config, job.data, job.val)
        sets = open_sets(job.config, open_listed(listing, Silent()), Silent())
    faces = sets.trained
    task, module, optimizer = _built(fabric, job, faces)
    origin = CheckpointOrigin(config=to_json(job.config), data=faces.digest(), world=fabric.world_size)
    state = _restored(job, origin, task, optimizer, reporter) if is_resuming(job.config, job.out) else TrainingState()
    trainee = Trainee(
        config=job.config,
        fabric=fabric,
        task=task,
        module=module,
        optimizer=optimizer,
        faces=faces,
        supply=Supply(faces, fabric.device),
        watch=Validation(sets, job.config.lfw_every if isinstance(job.config, LabeledConfig) else 1),
        stop=stop,
    )
    writes = fabric.global_rank == 0
    record = RunFolder(
        folder=job.out,
        config=job.config,
        writes=writes,
        task=task,
        optimizer=optimizer,
        origin=origin,
        fingerprint=faces.fingerprint,
        card=_card(job, task, faces, origin.config),
        keep=job.config.keep,
        history=History(job.out, state.rows) if writes and job.config.epochs else None,
    )
    reporter.report(Notice(text=opening_notice(trainee, state)))
    try:
        outcome: Outcome = fabric.broadcast(_train(trainee, state, record, reporter))
        return outcome
    finally:
        if record.history is not None:
            record.history.close()


def _train(trainee: Trainee, state: TrainingState, record: RunFolder, reporter: Reporter) -> Outcome:
    if trainee.config.epochs == 0:
        seen = trainee.watch.look(trainee.task, 0, trainee.fabric.device, trainee.stop)
        (signal,) = agree_to_stop(trainee.fabric.device, trainee.stop.flag.value)
        if signal:
            raise stop_error(signal, "stopped before the untrained network was written")
        record.encoder(seen)
        return Outcome(rows=[], best_epoch=None, best_by=None, metrics=seen)
    for event in fit(trainee, state, record):
        reporter.report(event)
    metrics = {name: value for name, value in state.rows[-1].items() if name not in ("epoch", "step")}
    config = trainee.config
    best, by = best_epoch(state.rows, config), selection_metric(state.rows, config)
    return Outcome(rows=state.rows, best_epoch=best, best_by=by, metrics=metrics)


def _built(fabric: Fabric, job: TrainingJob, faces: JoinedFaces) -> tuple[TaskModule, Any, torch.optim.Optimizer]:
    """The task on its device, wrapped for the other processes, and its optimizer."""
    config = job.config
    task = build_task(config, initial_network(config), faces)
    task = task.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # torch synchronizes batch norm on GPUs alone. On the CPU the running statistics are those of rank 0.
        task = convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
    if config.compile:
        task.encoder.backbone.compile()
    decay = default_weight_decay(config.optimizer) if config.weight_decay is None else config.weight_decay
    optimizer = build_optimizer(task, config.optimizer, lr=0.0, weight_decay=decay)
    # Private in torch, which has no other way to say so.
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(task, task.local_names())  # type: ignore[no-untyped-call]
    module, _ = fabric.setup(task, optimizer)
    return task, module, optimizer


def _restored(
    job: TrainingJob, origin: CheckpointOrigin, task: TaskModule, optimizer: torch.optim.Optimizer, reporter: Reporter
) -> TrainingState:
    """Where the run was, by its latest whole checkpoint; at the start, if it was stopped before its first."""
    found = list_checkpoints(job.out)
    if not found:
        return TrainingState()
    whole = next((path for path in found if is_whole(path)), found[0])
    if whole != found[0]:
        text = f"{found[0]}: damaged; going on from the checkpoint before it, {whole.name}"
        reporter.report(Notice(level="warning", text=text))
    state, world = load_checkpoint(whole, origin, task, optimizer, elastic=job.config.elastic)
    if world != origin.world:
        reporter.report(Notice(level="warning", text=elastic_notice(task, world, origin.world)))
    return state


def _card(job: TrainingJob, task: TaskModule, faces: JoinedFaces, config: Any) -> Card:
    counts = Counter(int(label) for label in faces.labels[task.pictures] if label >= 0)
    return Card(
        command=job.command,
        config=config,
        data=", ".join(folder.resolve().name for folder in job.data),
        pictures=len(task.pictures),
        people={faces.people[label]: count for label, count in sorted(counts.items())},
    )


def opening_notice(trainee: Trainee, state: TrainingState) -> str:
    """What is trained, on what, by whom."""
    config, fabric = trainee.config, trainee.fabric
    millions = sum(parameter.numel() for parameter in trainee.task.encoder.parameters()) / 1e6
    text = (
        f"{trainee.task.command}: {config.backbone} ({millions:.1f} M parameters) on {len(trainee.task.pictures)} "
        f"pictures in batches of {len(trainee.task.batches(0)[0])}, "
        f"{fabric.world_size} process{'es' if fabric.world_size > 1 else ''} on {fabric.device.type}"
    )
    if config.time_budget is not None:
        text += f", for {config.time_budget} at most"
    if len(trainee.watch):
        text += f", watching {len(trainee.watch)} pictures that it never sees"
    if fabric.world_size > 1 and fabric.device.type == "cpu" and _has_batch_norm(trainee.task.encoder):
        text += "; on the CPU each process normalizes the backbone's batches by its own pictures alone"
    return text + (f"; continuing from step {state.step}" if state.step else "")


def elastic_notice(task: TaskModule, before: int, now: int) -> str:
    """What changes with the number of processes."""
    text = (
        f"continuing with {now} process{'es' if now > 1 else ''} what {before} began: batches and views stay the same"
    )
    if _has_batch_norm(task.encoder):
        text += ", the backbone's batch norms on a CPU see other parts of them"
    return f"{text}, dropout draws other numbers and sums round otherwise; so it ends near, not at, the same weights"


def _has_batch_norm(network: torch.nn.Module) -> bool:
    return any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules())
