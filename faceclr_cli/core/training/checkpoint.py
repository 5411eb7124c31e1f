"""Checkpoints: the complete state of a run in one safetensors file.

Random numbers depend on the seed, the epoch, the step and the rank only, and the learning rate on the step. The state
therefore consists of the weights, the state of the optimizer, the step and the metrics so far. There is no gradient
scaler, because bf16 has the range of float32.
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
    """The progress of a run.

    Attributes:
        step: Number of batches trained on, from the start of the run.
        rows: The metrics of the completed epochs.
        before: The metrics before the first step, if training starts from an encoder.
        sums: Sum of each metric over the batches of the current epoch.
        seconds: Seconds spent on the batches of the current epoch.
        elapsed: Seconds spent on the whole run, including the time before it was resumed, validation and writing.
        closing: Seconds that the end of the last epoch took: validation and writing.
    """

    step: int = 0
    rows: list[Row] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    elapsed: float = 0.0
    closing: float = 0.0
    before: Row | None = None

    @property
    def history(self) -> list[Row]:
        """The metrics before the first step, if there are any, and of the completed epochs."""
        return [*([] if self.before is None else [self.before]), *self.rows]


@dataclass(frozen=True, kw_only=True)
class CheckpointOrigin:
    """The run that a checkpoint belongs to.

    Attributes:
        config: The resolved options as JSON.
        data: Digest of the names of the training pictures.
        world: Number of processes.
    """

    config: Mapping[str, Any]
    data: str
    world: int


def list_checkpoints(run: Path) -> list[Path]:
    """Returns the checkpoints of a run, the latest first."""
    return sorted((run / "checkpoints").glob("step-*.safetensors"), reverse=True)


def collect_state(task: TaskModule, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Collects the tensors of a checkpoint by name. All processes must call it; rank 0 gets whole sharded tensors."""
    tensors = {_TASK + name: value for name, value in task.state_dict().items()}
    for index, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_OPTIMIZER}{index}.{name}"] = value
    sharded = _sharded_prefixes(task, optimizer)
    return {name: gather_rows(x) if name.startswith(sharded) and x.ndim else x for name, x in tensors.items()}


def save_checkpoint(
    run: Path, state: TrainingState, origin: CheckpointOrigin, tensors: Mapping[str, Tensor], keep: int
) -> None:
    """Writes a checkpoint atomically, then removes old ones.

    Args:
        run: The run folder.
        state: The progress of the run.
        origin: The run that the checkpoint belongs to.
        tensors: From `collect_state`.
        keep: Number of checkpoints to keep, including this one.
    """
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
        "before": state.before,
    }
    with atomic_path(run / "checkpoints" / f"step-{state.step:09d}.safetensors") as temporary:
        write_tensors(temporary, tensors, {_NOTE: json.dumps(note)})
    for former in list_checkpoints(run)[keep:]:
        former.unlink()


def load_checkpoint(
    path: Path, origin: CheckpointOrigin, task: TaskModule, optimizer: torch.optim.Optimizer, *, elastic: bool
) -> tuple[TrainingState, int]:
    """Restores the weights and the state of the optimizer in place.

    Args:
        path: Path of the checkpoint.
        origin: The current run.
        task: The task; its weights are replaced.
        optimizer: The optimizer of the task's parameters; its state is replaced.
        elastic: Accept a checkpoint that another number of processes wrote.

    Returns:
        The progress of the run, and the number of processes that wrote the checkpoint.

    Raises:
        ModelError: The checkpoint is damaged or belongs to other pictures.
        ConfigError: Another number of processes wrote the checkpoint.
    """
    note, tensors = _read_tensors(path, _sharded_prefixes(task, optimizer))
    if note["world"] != origin.world and not elastic:
        raise ConfigError(
            f"{path}: written by {note['world']} process(es), not {origin.world}; resume with --processes or "
            f"--gpus {note['world']}, or with --elastic to accept small differences in the weights"
        )
    if note["data"] != origin.data:
        raise ModelError(f"{path}: the training faces have changed since; start a new run with another -o")
    try:
        weights = {name.removeprefix(_TASK): value for name, value in tensors.items() if name.startswith(_TASK)}
        task.load_state_dict(weights)
        _restore_optimizer(optimizer, tensors)
        state = TrainingState(
            **{name: note[name] for name in ("step", "rows", "sums", "seconds", "elapsed", "closing")},
            before=note.get("before"),
        )
        return state, int(note["world"])
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path}: does not match this run ({str(error).splitlines()[0]}); start a new run with another -o"
        ) from error


def is_intact(path: Path) -> bool:
    """Returns True if a file is a complete checkpoint. Reads its header only."""
    try:
        _read_header(path)
    except ModelError:
        return False
    return True


def _read_header(path: Path) -> dict[str, Any]:
    try:
        # Opening checks that the file is as long as its header says.
        with safe_open(path, "pt") as file:
            note: dict[str, Any] = json.loads((file.metadata() or {})[_NOTE])
            if note["kind"] != _KIND or not {"world", "data"} <= note.keys():
                raise KeyError(_KIND)
            return note
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: not a checkpoint of faceclr, or incomplete; start a new run with another -o"
        ) from error


def _read_tensors(path: Path, sharded: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    note, tensors = _read_header(path), {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            on_disk = file.get_slice(name)
            shape = on_disk.get_shape()
            is_sharded = name.startswith(sharded) and shape
            tensors[name] = on_disk[own_rows(shape[0])] if is_sharded else file.get_tensor(name)
    return note, tensors


def _sharded_prefixes(task: TaskModule, optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """Returns the prefixes of the names of sharded tensors in a checkpoint.

    Scalars with these prefixes, such as the step count of an optimizer, are not sharded.
    """
    local = task.local_names()
    names = {parameter: name for name, parameter in task.named_parameters() if name in local}
    indices = [index for index, parameter in enumerate(_parameters(optimizer)) if parameter in names]
    return (*(_TASK + name for name in names.values()), *(f"{_OPTIMIZER}{index}." for index in indices))


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, entry = name.removeprefix(_OPTIMIZER).split(".", 1)
            parameter = parameters[int(index)]
            # Fused optimizer steps need the memory format of the parameter.
            same_shape = value.shape == parameter.shape
            restored = torch.empty_like(parameter).copy_(value) if same_shape else value.to(parameter.device)
            optimizer.state[parameter][entry] = restored
