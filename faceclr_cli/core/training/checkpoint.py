"""All that a run needs to go on as if nothing had happened, in one file without pickle.

Every random choice follows from the seed, the epoch, the step and the rank, and the learning rate from
the step: so weights, the optimizer's moments, the step and the numbers collected so far are all. There is
no gradient scaler to keep either: bf16 has the range of float32 and needs none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from faceclr_cli import __version__
from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.encoders.tensor_file import write_tensors
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.losses.parameter_shards import gather_rows, own_rows
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.task import TaskModule

_KIND = "checkpoint"
_NOTE = "faceclr"
_TASK, _OPTIMIZER = "task.", "optimiser."  # Names in checkpoints keep the spelling of earlier releases.


@dataclass
class TrainingState:
    """How far a run is.

    Attributes:
        step: Batches learned from, from the start of the run.
        rows: The epochs that are closed.
        sums: Sum of each metric over the batches of the open epoch.
        seconds: Time spent on the batches of the open epoch.
        elapsed: Time spent on the whole run, in this and former processes: batches, watching, writing.
        closing: Time that it took to close the last epoch: watching, writing.
    """

    step: int = 0
    rows: list[Row] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    elapsed: float = 0.0
    closing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CheckpointOrigin:
    """What a checkpoint belongs to.

    Attributes:
        config: The resolved options.
        data: Digest of which pictures are trained on.
        world: Number of processes.
    """

    config: Mapping[str, Any]
    data: str
    world: int


def list_checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, the latest first."""
    return sorted((run / "checkpoints").glob("step-*.safetensors"), reverse=True)


def collect_state(task: TaskModule, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of a checkpoint. All processes call it together: rank 0 gets the whole of what is divided."""
    tensors = {_TASK + name: value for name, value in task.state_dict().items()}
    for index, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_OPTIMIZER}{index}.{name}"] = value
    divided = _divided(task, optimizer)
    return {name: gather_rows(x) if name.startswith(divided) and x.ndim else x for name, x in tensors.items()}


def save_checkpoint(
    run: Path, state: TrainingState, origin: CheckpointOrigin, tensors: Mapping[str, Tensor], keep: int
) -> None:
    """Writes a checkpoint atomically, then removes all but the latest `keep`. `tensors` are what `collect` gave."""
    note = {
        "kind": _KIND,
        "faceclr": __version__,
        "config": dict(origin.config),
        "data": origin.data,
        "world": origin.world,
        "step": state.step,
        "epoch": len(state.rows),
        "rows": state.rows,
        "sums": state.sums,
        "seconds": state.seconds,
        "elapsed": state.elapsed,
        "closing": state.closing,
    }
    with atomic_path(run / "checkpoints" / f"step-{state.step:09d}.safetensors") as temporary:
        write_tensors(temporary, tensors, {_NOTE: json.dumps(note)})
    for former in list_checkpoints(run)[keep:]:
        former.unlink()


def load_checkpoint(
    path: Path, origin: CheckpointOrigin, task: TaskModule, optimizer: torch.optim.Optimizer, *, elastic: bool
) -> tuple[TrainingState, int]:
    """Restores weights and optimizer in place.

    Args:
        path: The checkpoint.
        origin: What this run is.
        task: As it was built.
        optimizer: Of its parameters.
        elastic: Whether the number of processes may have changed.

    Returns:
        How far the run was, and the number of processes that wrote the checkpoint.

    Raises:
        ModelError: The checkpoint is damaged, or belongs to other pictures.
        ConfigError: It belongs to another number of processes.
    """
    note, tensors = _read(path, _divided(task, optimizer))
    if note["world"] != origin.world and not elastic:
        raise ConfigError(
            f"{path}: written by {note['world']} process(es), so {origin.world} would not continue the same run; "
            f"give --processes or --gpus {note['world']}, or --elastic to go on otherwise"
        )
    if note["data"] != origin.data:
        raise ModelError(f"{path}: the faces were changed since; start a new run with another -o")
    try:
        weights = {name.removeprefix(_TASK): value for name, value in tensors.items() if name.startswith(_TASK)}
        task.load_state_dict(weights)
        _restore(optimizer, tensors)
        state = TrainingState(
            **{name: note[name] for name in ("step", "rows", "sums", "seconds", "elapsed", "closing")}
        )
        return state, int(note["world"])
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: does not fit this run ({str(error).splitlines()[0]})") from error


def is_whole(path: Path) -> bool:
    """Whether a file is a checkpoint that can be read; nothing is loaded."""
    try:
        _note(path)
    except ModelError:
        return False
    return True


def _note(path: Path) -> dict[str, Any]:
    try:
        # Opening checks that the file is as long as its header says.
        with safe_open(path, "pt") as file:
            note: dict[str, Any] = json.loads((file.metadata() or {})[_NOTE])
            if note["kind"] != _KIND or not {"world", "data"} <= note.keys():
                raise KeyError(_KIND)
            return note
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not a whole checkpoint of faceclr; start a new run with another -o") from error


def _read(path: Path, divided: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    note, tensors = _note(path), {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            on_disk = file.get_slice(name)
            shape = on_disk.get_shape()
            is_divided = name.startswith(divided) and shape
            tensors[name] = on_disk[own_rows(shape[0])] if is_divided else file.get_tensor(name)
    return note, tensors


def _divided(task: TaskModule, optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """How the names in a checkpoint begin of tensors of which each process has its share of the rows.

    Scalars, as an optimizer's count of steps, are of no share.
    """
    local = task.local_names()
    names = {parameter: name for name, parameter in task.named_parameters() if name in local}
    indices = [index for index, parameter in enumerate(_parameters(optimizer)) if parameter in names]
    return (*(_TASK + name for name in names.values()), *(f"{_OPTIMIZER}{index}." for index in indices))


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, entry = name.removeprefix(_OPTIMIZER).split(".", 1)
            parameter = parameters[int(index)]
            # In the memory format of the parameter: fused steps walk through both side by side.
            alike = value.shape == parameter.shape
            restored = torch.empty_like(parameter).copy_(value) if alike else value.to(parameter.device)
            optimizer.state[parameter][entry] = restored
