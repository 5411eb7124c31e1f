"""Gradients of all processes together, where DDP does not see to it."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.distributed as dist
from torch import Tensor, nn

from faceclr_cli.core.losses.gather import total, world


def average_gradients(module: nn.Module, local: Collection[str]) -> None:
    """Averages over processes the gradients that there are, as DDP does, which insists on one for every parameter.

    Args:
        module: It has gradients for the same parameters on all processes.
        local: Names of what each process has its own of.
    """
    processes = world()[1]
    for name, parameter in module.named_parameters():
        if processes > 1 and parameter.grad is not None and name not in local:
            dist.all_reduce(parameter.grad)
            parameter.grad /= processes


def clip_gradient(module: nn.Module, local: Collection[str], longest: float) -> Tensor:
    """Shortens the gradient of a whole module, the rows of all processes included, alike on all processes.

    Args:
        module: Its gradients are those of all processes, but for what is local.
        local: Names of parameters of which each process has its share of the rows. Other names are ignored.
        longest: What a longer gradient is shortened to.

    Returns:
        How long the gradient was: a scalar.
    """
    own = [parameter for name, parameter in module.named_parameters() if name in local]
    if not own:
        return torch.nn.utils.clip_grad_norm_(module.parameters(), longest)
    others = [parameter for name, parameter in module.named_parameters() if name not in local]
    norm = (total(_norm(own).square()) + _norm(others).square()).sqrt()
    torch.nn.utils.clip_grads_with_norm_(module.parameters(), longest, norm)
    return norm


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    return torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
