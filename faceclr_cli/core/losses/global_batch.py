"""Collective operations that let a loss see the global batch, with gradients across processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> tuple[int, int]:
    """Returns the rank of this process and the number of processes; (0, 1) without torch.distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def all_gather(x: Tensor) -> Tensor:
    """Concatenates the tensors of all processes along the first dimension, in the order of ranks.

    Gradients flow back to every process: process r receives the sum over all processes of the gradients
    for its own rows. DDP then averages parameter gradients over processes, so a loss that is a mean over
    local anchors has the gradient of the mean over all anchors.

    Args:
        x: The tensor of this process. Shape: (N, ...), the same on all processes.

    Returns:
        Shape: (processes * N, ...); `x` itself if there is only one process.
    """
    if world_size()[1] == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def all_gather_labels(y: Tensor) -> Tensor:
    """Concatenates the tensors of all processes like `all_gather`, without gradients.

    Args:
        y: The tensor of this process. Shape: (N, ...), the same on all processes.

    Returns:
        Shape: (processes * N, ...).
    """
    return y if world_size()[1] == 1 else _all_gather(y.detach())


def sum_over_processes(count: Tensor) -> Tensor:
    """Sums a tensor of any shape over all processes, without gradients."""
    count = count.detach().clone()
    if world_size()[1] > 1:
        dist.all_reduce(count)
    return count


def _all_gather(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return _all_gather(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        start = dist.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows]
