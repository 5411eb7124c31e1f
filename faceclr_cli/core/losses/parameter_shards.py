"""Sharding of the rows of large parameters over processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from faceclr_cli.core.losses.global_batch import all_gather_labels, world_size


def own_rows(count: int) -> slice:
    """Returns which of `count` rows belong to this process. Shards are contiguous and differ by one row at most."""
    rank, processes = world_size()
    return slice(rank * count // processes, (rank + 1) * count // processes)


def gather_rows(rows: Tensor) -> Tensor:
    """Gathers the rows of all processes on rank 0. All processes must call it.

    Rank 0 receives one shard at a time and moves it to CPU memory, so no GPU has to hold the whole parameter.

    Args:
        rows: The rows of this process. Shape: (N, ...).

    Returns:
        On rank 0, the rows of all processes in the order of ranks; on other ranks, `rows`.
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
