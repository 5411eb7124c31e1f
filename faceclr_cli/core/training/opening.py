"""What a run says of itself before the first step."""

from __future__ import annotations

import torch

from faceclr_cli.core.training.checkpoint import State
from faceclr_cli.core.training.loop import Trainee
from faceclr_cli.core.training.tasks import Task


def opening(trainee: Trainee, state: State) -> str:
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
        text += "; on the CPU each process normalises the backbone's batches by its own pictures alone"
    return text + (f"; continuing from step {state.step}" if state.step else "")


def elastic_notice(task: Task, before: int, now: int) -> str:
    """What changes with the number of processes."""
    text = (
        f"continuing with {now} process{'es' if now > 1 else ''} what {before} began: batches and views stay the same"
    )
    if _has_batch_norm(task.encoder):
        text += ", the backbone's batch norms on a CPU see other parts of them"
    return f"{text}, dropout draws other numbers and sums round otherwise; so it ends near, not at, the same weights"


def _has_batch_norm(network: torch.nn.Module) -> bool:
    return any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules())
