"""The processes of a run that torchrun started, maybe on several machines that see the same files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from faceclr_cli.core.workers.torchrun import torchrun_place

T = TypeVar("T")

_LONGEST_WAIT = timedelta(days=7)
"""For the slowest process. That one has died is for torchrun to see, which then ends the others."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among the others.

    Attributes:
        rank: Its number; the first speaks for all.
        world: How many there are.
        local_rank: Its number on its machine.
    """

    rank: int
    world: int
    local_rank: int

    def share(self, value: T | None) -> T:
        """Gives what the first process has to all. All must call it."""
        import torch.distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0)
        shared: T = values[0]  # type: ignore[assignment]
        return shared

    def wait(self) -> None:
        """Waits until all have come so far."""
        import torch.distributed as dist

        dist.barrier()

    def device(self, wanted: str) -> str:
        """The device of this process: its own GPU, where there are some, and else the CPU."""
        if wanted == "cpu":
            return wanted
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank)
        return wanted


@contextmanager
def find_process_group() -> Iterator[ProcessGroup | None]:
    """Joins this process to those that torchrun started with it; None where it did not start several."""
    place = torchrun_place()
    if place is None or place.world == 1:
        yield None
        return
    # torch takes seconds to import.
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_LONGEST_WAIT)
    yield ProcessGroup(place.rank, place.world, place.local_rank)
    # After an error torchrun ends the others; to leave in order would make them wait for this one.
    dist.destroy_process_group()
