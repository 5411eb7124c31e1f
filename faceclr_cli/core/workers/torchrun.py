"""Whether torchrun started this process, and which of its processes this is: the one place that knows."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TorchrunPlace:
    """This process among those that torchrun started.

    Attributes:
        rank: Its number; process 0 speaks for all.
        world: How many there are, on all machines.
        local_rank: Its number on this machine.
        local_world: How many there are on this machine.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int


def torchrun_place() -> TorchrunPlace | None:
    """The place of this process among those of torchrun; None if torchrun did not start it.

    Schedulers (Kubeflow, MPI, Slurm) set `RANK` and `WORLD_SIZE` too, for processes that know nothing of each other:
    only the variable that torchrun alone sets says that others take part.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return TorchrunPlace(
        rank=int(os.environ["RANK"]),
        world=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_world=int(os.environ["LOCAL_WORLD_SIZE"]),
    )


def is_silent() -> bool:
    """Whether another process, the first that torchrun started, speaks for this one."""
    place = torchrun_place()
    return place is not None and place.rank != 0
