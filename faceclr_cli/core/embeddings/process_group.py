"""Communication of processes started by torchrun, on one or several machines with shared files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from faceclr_cli.core.workers.torchrun import torchrun_place

T = TypeVar("T")

_LONGEST_WAIT = timedelta(days=7)
"""Time to wait for the slowest process. If a process dies, torchrun ends the others."""


@dataclass(frozen=True)
class ProcessGroup:
    """The group of processes of a run, and the position of this one.

    Attributes:
        rank: Rank of this process. Rank 0 reports and writes results.
        world: Number of processes.
        local_rank: Rank on this machine.
    """

    rank: int
    world: int
    local_rank: int

    def share(self, value: T | None) -> T:
        """Broadcasts the value of rank 0. All processes must call it."""
        import torch.distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0)
        shared: T = values[0]  # type: ignore[assignment]
        return shared

    def wait(self) -> None:
        """Waits for all processes."""
        import torch.distributed as dist

        dist.barrier()

    def device(self, wanted: str) -> str:
        """Selects a GPU for this process if there are any, and returns the device."""
        if wanted == "cpu":
            return wanted
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank)
        return wanted


@contextmanager
def find_process_group() -> Iterator[ProcessGroup | None]:
    """Joins the process group that torchrun started; yields None without torchrun or with a single process."""
    place = torchrun_place()
    if place is None or place.world == 1:
        yield None
        return
    # Importing torch takes seconds.
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_LONGEST_WAIT)
    yield ProcessGroup(place.rank, place.world, place.local_rank)
    # Not in a finally clause: after an error, torchrun ends the other processes, and cleaning up would wait for them.
    dist.destroy_process_group()
