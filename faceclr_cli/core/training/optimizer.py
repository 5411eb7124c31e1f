"""Optimizers, their default learning rates, and gradient clipping across processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
import torch.distributed as dist
from timm.optim.lars import Lars
from torch import Tensor, nn

from faceclr_cli.core.configs.train import Optimizer
from faceclr_cli.core.losses.global_batch import sum_over_processes, world_size

_MOMENTUM = 0.9
_SCALE = "lr_scale"


def build_optimizer(
    module: nn.Module,
    name: Optimizer,
    *,
    lr: float,
    weight_decay: float,
    scales: Mapping[nn.Parameter, float] | None = None,
) -> torch.optim.Optimizer:
    """Builds an optimizer without weight decay on norms and biases.

    - `adamw`: Loshchilov & Hutter 2019, arXiv 1711.05101.
    - `lars`: You et al. 2017, arXiv 1708.03888, with momentum 0.9. The step of each weight is proportional to the norm
      of the weight, which allows batches of thousands of pictures. Norms and biases take SGD steps, as in SimCLR's
      code.
    - `sgd`, `rmsprop`: torch's, with momentum 0.9.
    - `adam`, `adagrad`: torch's. FaceNet was trained with AdaGrad (Duchi et al. 2011).

    Args:
        module: The module whose parameters with gradients are optimized. It must already be on its device.
        name: Name of the optimizer.
        lr: Learning rate of the first step; `learning_rate` gives the rates of all other steps.
        weight_decay: Weight decay of parameters with two or more dimensions.
        scales: Factors of the learning rate of some parameters; 1 for all others. `set_learning_rate` applies them.
    """
    # timm's param_groups_weight_decay makes a single group if the weight decay is 0. LARS needs both groups even then,
    # and checkpoints number the parameters in this order.
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    scale_of = {parameter: (scales or {}).get(parameter, 1.0) for parameter in parameters}
    groups: list[dict[str, Any]] = []
    for scale in sorted(set(scale_of.values()), reverse=True):
        own = [parameter for parameter in parameters if scale_of[parameter] == scale]
        weights = {"params": [p for p in own if p.ndim > 1], "weight_decay": weight_decay, _SCALE: scale}
        others = {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0, _SCALE: scale}
        if name == "lars":
            # By default, timm's LARS adapts steps only if the weight decay is above 0.
            weights["always_adapt"] = True
        groups += [group for group in (weights, others) if group["params"]]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    match name:
        case "adamw":
            return torch.optim.AdamW(groups, lr=lr, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=lr, fused=fused)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=lr)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=lr, momentum=_MOMENTUM)
        case "lars":
            optimizer: torch.optim.Optimizer = Lars(groups, lr=lr, momentum=_MOMENTUM)
            return optimizer
        case "sgd":
            sgd = torch.optim.SGD(groups, lr=lr, momentum=_MOMENTUM, fused=fused)
            # The fused step needs momentum buffers for all parameters or for none, but frozen parameters have no
            # gradients yet. The first step would start from 0 too.
            for parameter in parameters:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of the next step, times the factor of each group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[_SCALE]


def default_lr(name: Optimizer, batch_size: int) -> float:
    """Returns the default peak learning rate of an optimizer.

    The rates of LARS and SGD are proportional to the batch size: 0.3 per 256 pictures for LARS, as in SimCLR
    (arXiv 2002.05709, section 2.2), and 0.1 per 256 pictures for SGD (Goyal et al. 2017, arXiv 1706.02677). The steps
    of the other optimizers do not depend on the size of the gradient, and neither do their rates on the batch size.

    Args:
        name: Name of the optimizer.
        batch_size: Pictures per step, over all processes.
    """
    match name:
        case "adamw" | "adam":
            return 1e-3
        case "rmsprop":
            return 1e-4
        case "adagrad":
            return 0.05
        case "lars":
            return 0.3 * batch_size / 256
        case "sgd":
            return 0.1 * batch_size / 256


def default_weight_decay(name: Optimizer) -> float:
    """Returns the default weight decay of an optimizer: SimCLR's for LARS, USynthFace's for SGD."""
    return {"adamw": 0.05, "lars": 1e-6, "sgd": 5e-4}.get(name, 0.0)


def average_gradients(module: nn.Module, local: Collection[str]) -> None:
    """Averages gradients over processes, for parameters that have one. DDP requires a gradient for every parameter.

    Args:
        module: A module that has gradients for the same parameters on all processes.
        local: Names of parameters that are sharded over processes.
    """
    processes = world_size()[1]
    for name, parameter in module.named_parameters():
        if processes > 1 and parameter.grad is not None and name not in local:
            dist.all_reduce(parameter.grad)
            parameter.grad /= processes


def clip_gradient(module: nn.Module, local: Collection[str], max_norm: float) -> Tensor:
    """Clips the norm of the gradient of a module, including the shards on all processes.

    Args:
        module: A module whose gradients are averaged over processes, except those of sharded parameters.
        local: Names of parameters that are sharded over processes. Names of buffers are ignored.
        max_norm: Maximum norm of the gradient.

    Returns:
        The norm of the gradient before clipping, a scalar; the same on all processes.
    """
    own = [parameter for name, parameter in module.named_parameters() if name in local]
    if not own:
        return torch.nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    others = [parameter for name, parameter in module.named_parameters() if name not in local]
    norm = (sum_over_processes(_norm(own).square()) + _norm(others).square()).sqrt()
    torch.nn.utils.clip_grads_with_norm_(module.parameters(), max_norm, norm)
    return norm


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    return torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
