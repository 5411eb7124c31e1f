"""Processes that torchrun starts train in the precision that the first one has chosen."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from lightning_fabric import Fabric

from faceclr_cli.core.events import Reporter, Silent
from faceclr_cli.core.training.launch import launch
from faceclr_cli.core.training.local_processes import _rendezvous
from faceclr_cli.core.training.machine import Machine
from faceclr_cli.core.training.stop_signals import StopRequest
from tests.preload import PRELOADED

pytestmark = pytest.mark.slow


def _used(fabric: Fabric, stop: StopRequest, root: Path, reporter: Reporter) -> None:
    """The work of a process, which writes down the type that its layers compute in."""
    del stop, reporter
    layer = fabric.setup(torch.nn.Linear(4, 4))
    with fabric.autocast():
        used = layer._forward_module(torch.ones(2, 4)).dtype
    (root / f"{fabric.global_rank}.txt").write_text(str(used))


def _process(rank: int, root: Path, place: dict[str, str]) -> None:
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank), GLOO_SOCKET_IFNAME="lo")
    machine = Machine(device="cpu", world=2, launched=True, rank=rank, precision="32-true" if rank else "bf16-mixed")
    launch(_used, machine, root, Silent())


def test_the_first_process_decides(tmp_path: Path) -> None:
    place: dict[str, Any] = {**_rendezvous(), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    multiprocessing.set_forkserver_preload(PRELOADED)
    torch.multiprocessing.start_processes(_process, (tmp_path, place), nprocs=2, start_method="forkserver")
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["torch.bfloat16"] * 2
