"""The work of each process of a run: build the task, restore the checkpoint, train."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from timm.layers.norm_act import convert_sync_batchnorm
from torch.nn.parallel import DistributedDataParallel

from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.train import LabeledConfig, TrainConfig
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.built_in_network import load_sface_network
from faceclr_cli.core.encoders.checkpoints.network_source import find_network_source, is_foreign_source
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter, Silent
from faceclr_cli.core.training.batch_supply import BatchSupply
from faceclr_cli.core.training.checkpoint import (
    CheckpointOrigin,
    TrainingState,
    is_intact,
    list_checkpoints,
    load_checkpoint,
)
from faceclr_cli.core.training.history import History, Row, without_position
from faceclr_cli.core.training.initial_encoder import SFACE, InitialEncoder
from faceclr_cli.core.training.loop import TrainingContext, fit
from faceclr_cli.core.training.optimizer import build_optimizer, default_weight_decay
from faceclr_cli.core.training.resolved_options import is_resuming
from faceclr_cli.core.training.run_folder import RunFolder, best_epoch, selection_metric
from faceclr_cli.core.training.stop_signals import StopRequest, max_over_processes, stop_error
from faceclr_cli.core.training.strided_convolutions import keep_in_float32
from faceclr_cli.core.training.task import TaskModule
from faceclr_cli.core.training.task_registry import build_task
from faceclr_cli.core.training.training_sets import TrainingSets, decode_listing, list_faces, open_sets
from faceclr_cli.core.training.tuning import learning_rate_scales, select_weights
from faceclr_cli.core.training.validation import Validation
from faceclr_cli.core.wording import count
from faceclr_cli.core.workers.capacity import cores
from faceclr_cli.core.workers.torchrun import torchrun_place

_MOST_DECODERS = 8
"""Maximum number of decoding processes for each process of a run. No GPU trains as fast as these decode."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The instructions for a process of a run.

    Attributes:
        config: The resolved options, with absolute paths and the architecture of `init`.
        data: Folders of the training faces.
        val: Folders of the validation faces.
        out: The run folder.
        command: Name of the command.
        initial: The record of the encoder in `init`; None if there is none.
        sets: The opened data sets. Processes started by faceclr receive them from the parent. Under torchrun, only
            rank 0 has them at first; see `share_sets`.
    """

    config: TrainConfig
    data: tuple[Path, ...]
    val: tuple[Path, ...]
    out: Path
    command: str
    initial: InitialEncoder | None = None
    sets: TrainingSets | None = None


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """The outcome of a run.

    Attributes:
        rows: The metrics of each epoch.
        before: The metrics before the first step, if training started from an encoder.
        best_epoch: The epoch whose encoder was kept, counted from 1; 0 for the encoder before the first step, and None
            if nothing was validated.
        best_by: The column of the history by which it is the best.
        metrics: The metrics of the last epoch, or of the untrained network.
    """

    rows: list[Row]
    before: Row | None
    best_epoch: int | None
    best_by: str | None
    metrics: dict[str, float]


def build_initial_network(config: TrainConfig, initial: InitialEncoder | None) -> EncoderNetwork:
    """Builds the network before the first step: random, from ImageNet weights or from an encoder.

    A run that resumes from a checkpoint does not need the encoder: all weights are in the checkpoint.

    The batch norms of an encoder that recognizes people keep their running averages, because those of a few training
    people would make it worse on all others, even at low learning rates (docs/benchmarks.md). If only some of its
    weights are trained, those of any encoder do, because frozen layers would change with them. At another input size
    than the encoder's, the averages are other ones, so they are not kept.

    Args:
        config: The resolved options, with the run folder.
        initial: The record of the encoder in `init`; None if there is none.

    Raises:
        ConfigError: The backbone is unknown or does not support the image size, or there is no last layer to train.
        ModelError: The weights are missing or damaged.
    """
    torch.manual_seed(config.seed)
    knows_people = initial is not None and initial.knows_people
    is_resized = initial is not None and initial.is_resized
    keeps_statistics = knows_people or (config.tune != "all" and not is_resized)
    if config.starts_from_encoder:
        if initial is not None and config.out is not None and has_checkpoint(config, config.out):
            network = EncoderNetwork(initial.architecture, initialize_head=False)
        else:
            network = _load_initial_network(config.init).at_size(config.input_size, config.embedding_dim)
        if config.tune == "last" and next(network.embedding.parameters(), None) is None:
            raise ConfigError(
                f"--tune last: the encoder in --init {config.init} has no embedding layer; choose all or lora, or "
                "another --embedding-dim for a new layer"
            )
        network.keeps_statistics = keeps_statistics
        network.has_new_head = initial is not None and initial.has_new_head
        return network.train()
    architecture = Architecture(
        backbone=config.backbone,
        embedding_dim=config.embedding_length,
        image_size=config.input_size,
        pool=config.pool,
        backbone_args=config.backbone_arguments,
    )
    network = EncoderNetwork(architecture, pretrained=config.init == "imagenet")
    network.keeps_statistics = keeps_statistics
    return network.train()


def has_checkpoint(config: TrainConfig, out: Path) -> bool:
    """Returns True if a run resumes from a checkpoint."""
    return is_resuming(config, out) and bool(list_checkpoints(out))


def _load_initial_network(init: str) -> EncoderNetwork:
    if init == SFACE:
        return load_sface_network()
    return find_network_source(init).load().network if is_foreign_source(init) else load_network(Path(init))[0]


def run_worker(fabric: Fabric, stop: StopRequest, job: TrainingJob, reporter: Reporter) -> RunOutcome:
    """Trains in this process, together with the other processes of the run.

    Raises:
        FaceclrError: See `fit`.
        ConfigError: A batch does not fit into GPU memory.
    """
    # Keeps the random state of the caller.
    gpus = [fabric.device] if fabric.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=gpus):
            return _run(fabric, stop, job, reporter)
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"--batch-size {job.config.batch_size} does not fit into GPU memory; "
            "lower it or --image-size, or choose a smaller --backbone"
        ) from error


def _run(fabric: Fabric, stop: StopRequest, job: TrainingJob, reporter: Reporter) -> RunOutcome:
    # Only rank 0 knows which run folder it claimed.
    out: Path = fabric.broadcast(job.out)
    job = replace(job, out=out, config=replace(job.config, out=out))
    sets = share_sets(job)
    faces = sets.train
    task, module, optimizer = build_modules(fabric, job.config, build_initial_network(job.config, job.initial), sets)
    origin = CheckpointOrigin(config=to_json(job.config), data=faces.digest(), world=fabric.world_size)
    state = (
        _restore_state(job, origin, task, optimizer, reporter) if is_resuming(job.config, job.out) else TrainingState()
    )
    supply = BatchSupply(faces, fabric.device, _decoders(fabric))
    context = TrainingContext(
        config=job.config,
        fabric=fabric,
        task=task,
        module=module,
        optimizer=optimizer,
        faces=faces,
        supply=supply,
        validation=Validation(sets),
        stop=stop,
        lr_factor=job.config.lr_factor * (1.0 if job.initial is None else job.initial.lr_factor),
    )
    writes = fabric.global_rank == 0
    run_folder = RunFolder(
        folder=job.out,
        config=job.config,
        writes=writes,
        task=task,
        optimizer=optimizer,
        origin=origin,
        fingerprint=faces.fingerprint,
        card=_build_card(job, task, sets, origin.config),
        source=None if job.initial is None else job.initial.source,
        keep=job.config.keep,
        history=History(job.out, state.history) if writes and job.config.epochs else None,
    )
    reporter.report(Notice(text=opening_notice(context, state)))
    try:
        outcome: RunOutcome = fabric.broadcast(_train(context, state, run_folder, reporter))
        return outcome
    finally:
        supply.close()
        if run_folder.history is not None:
            run_folder.history.close()


def _decoders(fabric: Fabric) -> int:
    """Returns the number of processes that decode faces for this process of the run."""
    here = min(fabric.world_size, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return max(1, min(_MOST_DECODERS, cores() // here))


def share_sets(job: TrainingJob) -> TrainingSets:
    """Returns the data sets of the run, which are opened once on each machine.

    Under torchrun, the first process of each machine opens them, and the others map the faces that it decoded.

    Raises:
        DataError: The faces cannot be read on this machine.
    """
    sets, place = job.sets, torchrun_place()
    if sets is None and (place is None or place.local_rank == 0):
        listing = list_faces(job.config, job.data, job.val)
        sets = open_sets(job.config, decode_listing(listing, job.config.pixels, Silent()), job.data, job.val, Silent())
    if place is not None and place.world > 1:
        machine, _ = dist.new_subgroups(place.local_world)
        box = [sets]
        dist.broadcast_object_list(box, place.rank - place.local_rank, machine)
        (sets,) = box
    if sets is None:
        raise ValueError("the first process of this machine has no data sets")
    return sets


def _train(context: TrainingContext, state: TrainingState, run_folder: RunFolder, reporter: Reporter) -> RunOutcome:
    if context.config.epochs == 0:
        if context.config.is_computed and state.before is not None:  # The checkpoint of a finished run has its metrics.
            return RunOutcome(
                rows=[], before=None, best_epoch=None, best_by=None, metrics=without_position(state.before)
            )
        context.task.compute_encoder(context.supply, context.stop, reporter)
        seen = context.validation.measure(context.task, 0, context.fabric.device, context.stop)
        (signal,) = max_over_processes(context.fabric.device, context.stop.flag.value)
        if signal:
            raise stop_error(signal, "stopped before the encoder was written; run the same command with --resume")
        run_folder.write_encoder(seen)
        if context.config.is_computed:
            run_folder.write_checkpoint(replace(state, before={"epoch": 0, **seen}))
        return RunOutcome(rows=[], before=None, best_epoch=None, best_by=None, metrics=seen)
    for event in fit(context, state, run_folder):
        reporter.report(event)
    config, history = context.config, state.history
    best, by = best_epoch(history, config), selection_metric(history, config)
    if best == 0 and by is not None:
        after = max(row.get(by, 0.0) for row in state.rows)
        text = (
            f"training made the encoder worse on people not trained on ({by} {history[0][by]:.3g} before, {after:.3g} "
            "at best after); the encoder before training was kept"
        )
        reporter.report(Notice(level="warning", text=text))
    return RunOutcome(
        rows=state.rows, before=state.before, best_epoch=best, best_by=by, metrics=without_position(history[-1])
    )


def build_modules(
    fabric: Fabric, config: TrainConfig, network: EncoderNetwork, sets: TrainingSets
) -> tuple[TaskModule, Any, torch.optim.Optimizer]:
    """Builds the task on its device, the task as wrapped for distributed training, and the optimizer."""
    select_weights(network, config.tune)
    task = build_task(config, network, sets)
    task = task.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # torch supports synchronized batch norm on GPUs only. On CPUs the running statistics of rank 0 are used.
        task = convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
    keep_in_float32(task.encoder)
    if config.compile:
        task.encoder.backbone.compile()
    decay = default_weight_decay(config.optimizer) if config.weight_decay is None else config.weight_decay
    scales = learning_rate_scales(task.encoder, config.layer_decay)
    optimizer = build_optimizer(task, config.optimizer, lr=0.0, weight_decay=decay, scales=scales)
    # torch has no public function for this.
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(task, task.local_names())  # type: ignore[no-untyped-call]
    module, _ = fabric.setup(task, optimizer)
    return task, module, optimizer


def _restore_state(
    job: TrainingJob, origin: CheckpointOrigin, task: TaskModule, optimizer: torch.optim.Optimizer, reporter: Reporter
) -> TrainingState:
    """Restores the latest intact checkpoint; starts from the beginning if there is no checkpoint yet."""
    found = list_checkpoints(job.out)
    if not found:
        return TrainingState()
    intact = next((path for path in found if is_intact(path)), found[0])
    if intact != found[0]:
        text = f"{found[0]}: damaged; resuming from the previous checkpoint, {intact.name}"
        reporter.report(Notice(level="warning", text=text))
    state, world = load_checkpoint(intact, origin, task, optimizer, elastic=job.config.elastic)
    if world != origin.world:
        reporter.report(Notice(level="warning", text=elastic_notice(task, world, origin.world)))
    return state


def _build_card(job: TrainingJob, task: TaskModule, sets: TrainingSets, config: Any) -> Card:
    faces = sets.train
    counts = Counter(int(label) for label in faces.labels[task.pictures] if label >= 0)
    return Card(
        command=job.command,
        config=config,
        data=", ".join(folder.resolve().name for folder in job.data),
        pictures=len(task.pictures),
        teachers=() if sets.teacher is None else sets.teacher.teachers,
        people={faces.people[label]: pictures for label, pictures in sorted(counts.items())},
        ancestors=() if job.initial is None else job.initial.ancestors,
    )


def opening_notice(context: TrainingContext, state: TrainingState) -> str:
    """Describes the run: command, network, training set, processes and device; people if the labels are used."""
    config, fabric, pictures = context.config, context.fabric, context.task.pictures
    people, held_out_people = 0, 0
    if isinstance(config, LabeledConfig):
        people = len(set(context.faces.labels[pictures].tolist()) - {-1})
        held_out_people = context.validation.people
    millions = sum(parameter.numel() for parameter in context.task.encoder.parameters()) / 1e6
    text = (
        f"{context.task.command}: {config.backbone} ({millions:.1f} M parameters) on "
        f"{_pictures_of(len(pictures), people)} in batches of {len(context.task.batches(0)[0])}, "
        f"{fabric.world_size} process{'es' if fabric.world_size > 1 else ''} on {fabric.device.type} in "
        f"{'bf16' if config.precision == 'bf16' else 'float32'}"
    )
    if config.time_budget is not None:
        text += f", for at most {config.time_budget}"
    if len(context.validation):
        text += f", validating on {_pictures_of(len(context.validation), held_out_people, 'held-out ')}"
    if fabric.world_size > 1 and fabric.device.type == "cpu" and _has_batch_norm(context.task.encoder):
        text += "; on CPUs, batch norms are not synchronized between processes"
    return text + (f"; resuming from step {state.step}" if state.step else "")


def _pictures_of(pictures: int, people: int, kind: str = "") -> str:
    return count(pictures, f"{kind}picture") + (f" of {count(people, 'person', 'people')}" if people else "")


def elastic_notice(task: TaskModule, before: int, now: int) -> str:
    """Describes the effects of resuming with another number of processes."""
    text = f"resuming with {now} process{'es' if now > 1 else ''} instead of {before}: batches and views stay the same"
    if _has_batch_norm(task.encoder):
        text += ", batch norms on a CPU see other parts of each batch"
    return f"{text}, dropout and rounding differ; the final weights will be close but not identical"


def _has_batch_norm(network: torch.nn.Module) -> bool:
    return any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules())
