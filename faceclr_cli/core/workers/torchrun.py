"""Detection of torchrun: the rank of this process, from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TorchrunPlace:
    """The position of this process among those that torchrun started.

    Attributes:
        rank: Global rank. Rank 0 writes the output.
        world: Number of processes on all machines.
        local_rank: Rank on this machine.
        local_world: Number of processes on this machine.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int


def torchrun_place() -> TorchrunPlace | None:
    """Returns the position of this process under torchrun; None if torchrun did not start it.

    Schedulers such as Kubeflow, MPI and Slurm also set `RANK` and `WORLD_SIZE`, for processes that are independent of
    each other. Therefore only a variable that torchrun alone sets is trusted.
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
    """Returns True if this process was started by torchrun and is not rank 0, which writes the output."""
    place = torchrun_place()
    return place is not None and place.rank != 0
