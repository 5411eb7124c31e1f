"""The device, processes and precision of a run, checked before anything is started or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.workers.capacity import require_memory, require_processes
from faceclr_cli.core.workers.torchrun import torchrun_place

_PROCESS_BYTES = 384 << 20
"""Minimum memory of a training process: torch, without the network and its batch."""

_BYTES_PER_PIXEL = 48
"""Minimum memory per pixel of a batch: the picture as float32, plus three times as much for the first feature maps.
Most networks need several times as much."""

Precision = Literal["32-true", "bf16-mixed"]
MachineDevice = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The device, processes and precision of a run.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        world: Number of processes on all nodes.
        nodes: Number of nodes.
        launched: True if torchrun started the processes; otherwise faceclr starts them.
        rank: Rank of this process if torchrun started it, otherwise 0.
        precision: Precision in Fabric's terms.
        is_precision_open: True if timing decides whether `bf16-mixed` takes the place of `precision`.
    """

    device: MachineDevice
    world: int = 1
    nodes: int = 1
    launched: bool = False
    rank: int = 0
    precision: Precision = "32-true"
    is_precision_open: bool = False

    @property
    def precision_option(self) -> Literal["32", "bf16"]:
        """The precision as a value of `--precision`."""
        return "bf16" if self.precision == "bf16-mixed" else "32"


def find_machine(config: TrainConfig) -> Machine:
    """Determines the device, processes and precision of a run.

    Raises:
        ConfigError: The machine lacks a requested resource.
    """
    gpus = torch.cuda.device_count()
    wanted = config.gpus or 0
    if wanted > gpus:
        raise ConfigError(f"--gpus {wanted}: torch found {gpus}; omit the option to use the CPU")
    if config.device == "cuda" and not gpus:
        raise ConfigError("--device cuda: torch found no GPU; omit the option to use the CPU")
    device = _find_device(config, gpus)
    able = supports_bf16(device)
    precision = _precision(config, device, able)
    is_open = config.precision == "auto" and device == "cpu" and able
    if device == "cpu":
        _require_fit(config)
    place = torchrun_place()
    if place is None:
        world = config.gpus or config.processes
        return Machine(device=device, world=world, precision=precision, is_precision_open=is_open)
    machine = Machine(
        device=device,
        world=place.world,
        nodes=place.world // place.local_world,
        launched=True,
        rank=place.rank,
        precision=precision,
        is_precision_open=is_open,
    )
    _check_launched(config, machine, gpus)
    return machine


def _find_device(config: TrainConfig, gpus: int) -> MachineDevice:
    if config.device == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("--device mps: torch found no Apple GPU; omit the option to use the CPU")
        if torchrun_place() is not None:
            raise ConfigError("--device mps: an Apple GPU trains in one process; start without torchrun")
        return "mps"
    return "cpu" if config.device == "cpu" or config.processes > 1 or not gpus else "cuda"


def _require_fit(config: TrainConfig) -> None:
    require_processes("--processes", config.processes, _PROCESS_BYTES)
    views = 2 if isinstance(config, PretrainConfig) else 1
    needed = config.batch_size * views * _BYTES_PER_PIXEL * config.input_size**2
    require_memory(f"--image-size {config.input_size} with --batch-size {config.batch_size}", needed)


def supports_bf16(device: MachineDevice) -> bool:
    """Returns True if the processor or the GPU has instructions for bf16."""
    if device == "mps":
        return False
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _precision(config: TrainConfig, device: MachineDevice, able: bool) -> Precision:
    if config.precision == "bf16" and not able:
        raise ConfigError(
            f"--precision bf16: this {'CPU' if device == 'cpu' else 'GPU'} does not support bf16; omit the option"
        )
    wanted = config.precision == "bf16" or (config.precision == "auto" and device == "cuda" and able)
    return "bf16-mixed" if wanted else "32-true"


def _check_launched(config: TrainConfig, machine: Machine, gpus: int) -> None:
    asked = config.gpus or config.processes
    if asked not in (1, machine.world):
        raise ConfigError(f"torchrun started {machine.world} processes; omit --gpus and --processes")
    if machine.device == "cuda" and machine.world // machine.nodes > gpus:
        raise ConfigError(f"torchrun started more processes than GPUs; torch found {gpus}")
    pictures = getattr(config, "pictures", 1)
    if config.batch_size % (machine.world * pictures):
        raise ConfigError(f"--batch-size {config.batch_size} is not divisible among {machine.world} processes")
