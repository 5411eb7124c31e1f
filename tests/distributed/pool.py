"""Runs a function on several processes that communicate by gloo."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing

from tests.preload import PRELOADED


def run(function: Callable[[], Any], processes: int) -> list[Any]:
    """Returns the results of `function` on all processes, by rank.

    The function must live in a module, since each process imports it; it must return what
    `torch.load(weights_only=True)` reads: tensors, numbers, strings, lists, dicts.
    """
    # Importing torch takes seconds, so these are copies of a process that has imported it.
    multiprocessing.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(
            _work, (processes, folder, function), nprocs=processes, start_method="forkserver"
        )
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(processes)]


def _work(rank: int, processes: int, folder: str, function: Callable[[], Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    try:
        torch.save(function(), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
