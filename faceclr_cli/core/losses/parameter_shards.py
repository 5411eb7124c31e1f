"""Parameters that are too large for one process: each process has its share of the rows."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from faceclr_cli.core.losses.global_batch import all_gather_labels, world_size


def own_rows(count: int) -> slice:
    """Which of `count` rows this process has. The shares of all follow each other, and differ by one row at most."""
    rank, processes = world_size()
    return slice(rank * count // processes, (rank + 1) * count // processes)


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, on the first. All processes call it together.

    They come one share after the other to the memory of the CPU: a GPU need not hold the whole.

    Args:
        rows: Those of this process.

    Returns:
        On rank 0 the rows of all, in the order of ranks; elsewhere those of this process alone.
    """
    rank, processes = world_size()
    if processes == 1:
        return rows
    lengths = all_gather_labels(torch.tensor([len(rows)], device=rows.device)).tolist()
    if rank:
        dist.send(rows.detach().contiguous(), 0)
        return rows
    parts = [rows.detach().cpu()]
    for source in range(1, processes):
        part = torch.empty((lengths[source], *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
        dist.recv(part, source)
        parts.append(part.cpu())
    return torch.cat(parts)
