"""What each process of a run does: build, restore, train."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.layers.norm_act import convert_sync_batchnorm

from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.datasets.folder import open_faces
from faceclr_cli.core.datasets.packed import PackedFaces, pack
from faceclr_cli.core.encoders.bundle import Card, load_network
from faceclr_cli.core.encoders.network import Architecture, EncoderNetwork
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter, Silent
from faceclr_cli.core.training.checkpoint import Origin, State, checkpoint_path, load_checkpoint
from faceclr_cli.core.training.history import History, Row
from faceclr_cli.core.training.loop import Trainee, fit
from faceclr_cli.core.training.optim import adamw
from faceclr_cli.core.training.record import Record, best_epoch
from faceclr_cli.core.training.stopping import Stop
from faceclr_cli.core.training.tasks import Task, build_task
from faceclr_cli.core.training.watch import NAME, Watch


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a process is told.

    Attributes:
        config: The resolved options: `data`, `out` and `val` are final, the architecture is that of `init`.
        out: The run folder.
        command: Which command this is.
    """

    config: TrainConfig
    data: Path
    val: Path | None
    out: Path
    command: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What rank 0 found.

    Attributes:
        rows: The numbers of each epoch.
        best_epoch: Whose encoder was kept because of the watched faces; None where nobody watched.
        metrics: Of the last epoch, or of the untrained network.
    """

    rows: list[Row]
    best_epoch: int | None
    metrics: dict[str, float]


def initial_network(config: TrainConfig) -> EncoderNetwork:
    """The network before the first step.

    Raises:
        ConfigError, ModelError: As `build_backbone` and `load_network`.
    """
    torch.manual_seed(config.seed)
    if config.init not in ("random", "imagenet"):
        return load_network(Path(config.init))[0]
    architecture = Architecture(
        backbone=config.backbone, embedding_dim=config.embedding_dim, image_size=config.image_size
    )
    return EncoderNetwork(architecture, pretrained=config.init == "imagenet")


def work(fabric: Fabric, stop: Stop, job: Job, reporter: Reporter) -> Outcome:
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


def _work(fabric: Fabric, stop: Stop, job: Job, reporter: Reporter) -> Outcome:
    # Packed by now: this maps what the first process decoded.
    faces = pack(open_faces(job.data), Silent())
    watch = Watch(pack(open_faces(job.val), Silent())) if job.val else None
    task, module, optimiser = _built(fabric, job, faces)
    origin = Origin(config=to_json(job.config), data=_digest(faces), world=fabric.world_size)
    last, state = checkpoint_path(job.out), State()
    if job.config.resume and last.exists():
        state = load_checkpoint(last, origin, task, optimiser)
    trainee = Trainee(
        config=job.config,
        fabric=fabric,
        task=task,
        module=module,
        optimiser=optimiser,
        faces=faces,
        watch=watch,
        stop=stop,
    )
    writes = fabric.global_rank == 0
    record = Record(
        folder=job.out,
        writes=writes,
        task=task,
        optimiser=optimiser,
        origin=origin,
        fingerprint=faces.fingerprint,
        card=_card(job, task, faces, origin.config),
        history=History(job.out, state.rows) if writes and job.config.epochs else None,
    )
    reporter.report(Notice(text=_opening(trainee, state)))
    try:
        outcome: Outcome = fabric.broadcast(_train(trainee, state, record, reporter))
        return outcome
    finally:
        if record.history is not None:
            record.history.close()


def _train(trainee: Trainee, state: State, record: Record, reporter: Reporter) -> Outcome:
    if trainee.config.epochs == 0:
        record.encoder()
        metrics = {}
        if trainee.watch is not None:
            accuracy = trainee.watch.accuracy(trainee.task.encoder, trainee.fabric.device, trainee.stop)
            metrics = {} if accuracy is None else {NAME: accuracy}
        return Outcome(rows=[], best_epoch=None, metrics=metrics)
    for event in fit(trainee, state, record):
        reporter.report(event)
    metrics = {name: value for name, value in state.rows[-1].items() if name not in ("epoch", "step")}
    return Outcome(rows=state.rows, best_epoch=best_epoch(state.rows), metrics=metrics)


def _built(fabric: Fabric, job: Job, faces: PackedFaces) -> tuple[Task, Any, torch.optim.Optimizer]:
    """The task on its device, wrapped for the other processes, and its optimiser."""
    task = build_task(job.config, initial_network(job.config), faces.labels)
    task = task.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # torch synchronises batch norm on GPUs alone. On the CPU the running statistics are those of rank 0.
        task = convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
    optimiser = adamw(task, lr=job.config.lr, weight_decay=job.config.weight_decay)
    module, _ = fabric.setup(task, optimiser)
    return task, module, optimiser


def _card(job: Job, task: Task, faces: PackedFaces, config: Any) -> Card:
    counts = Counter(int(label) for label in faces.labels[task.pictures] if label >= 0)
    return Card(
        command=job.command,
        config=config,
        data=job.data.resolve().name,
        pictures=len(task.pictures),
        people={faces.people[label]: count for label, count in sorted(counts.items())},
    )


def _digest(faces: PackedFaces) -> str:
    """Which pictures these are, and of whom; their order decides which picture is in which batch."""
    return hashlib.sha256("\n".join(faces.paths).encode(errors="surrogateescape")).hexdigest()


def _opening(trainee: Trainee, state: State) -> str:
    config, fabric = trainee.config, trainee.fabric
    millions = sum(parameter.numel() for parameter in trainee.task.encoder.parameters()) / 1e6
    text = (
        f"{trainee.task.command}: {config.backbone} ({millions:.1f} M parameters) on {len(trainee.task.pictures)} "
        f"pictures in batches of {len(trainee.task.batches(0)[0])}, "
        f"{fabric.world_size} process{'es' if fabric.world_size > 1 else ''} on {fabric.device.type}"
    )
    if trainee.watch is not None:
        text += f", watching {len(trainee.watch)} pictures of other people"
    if fabric.world_size > 1 and fabric.device.type == "cpu" and _has_batch_norm(trainee.task.encoder):
        text += "; on the CPU each process normalises the backbone's batches by its own pictures alone"
    return text + (f"; continuing from step {state.step}" if state.step else "")


def _has_batch_norm(network: torch.nn.Module) -> bool:
    return any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules())
