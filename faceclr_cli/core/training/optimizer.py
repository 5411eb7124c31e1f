"""The optimizer, and the learning rate as a function of how much of the run is done."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
import torch.distributed as dist
from timm.optim.lars import Lars
from torch import Tensor, nn

from faceclr_cli.core.configs.train import Optimizer
from faceclr_cli.core.losses.global_batch import sum_over_processes, world_size

_MOMENTUM = 0.9


def build_optimizer(module: nn.Module, name: Optimizer, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """An optimizer that spares norms and biases from weight decay.

    - `adamw`: Loshchilov & Hutter 2019, arXiv 1711.05101.
    - `lars`: You et al. 2017, arXiv 1708.03888, with momentum 0.9. Each weight moves by a step that is a share
      of its own norm, so that batches of thousands can be learned from; norms and biases take plain
      steps, as in SimCLR's code.
    - `sgd`, `rmsprop`: With momentum 0.9.
    - `adam`, `adagrad` (Duchi et al. 2011, with which FaceNet was trained): As torch has them.

    Args:
        module: Its parameters that require gradients are optimized. They must be on their device already.
        name: Which one.
        lr: Learning rate of the first step; `learning_rate` gives it for all others.
        weight_decay: On parameters of two dimensions or more.
    """
    # timm's param_groups_weight_decay makes a single group if the weight decay is 0. LARS needs both groups even then,
    # and checkpoints number the parameters in this order.
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    weights = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
    others = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    if name == "lars":
        # On its own, timm's adapts steps where there is weight decay, and nowhere if that is set to 0.
        weights["always_adapt"] = True
    groups = [group for group in (weights, others) if group["params"]]
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
            # The fused step wants the momentum of all parameters or of none, also where some have no gradients yet;
            # 0 is what the first step would begin with.
            for parameter in parameters:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd


def default_lr(name: Optimizer, batch_size: int) -> float:
    """The peak learning rate that an optimizer is used with.

    AdamW's steps have the size of the rate, however large the gradient is, and its rate is one for all batches. The
    others' grow with the batch: LARS's as in SimCLR (arXiv 2002.05709, section 2.2), 0.3 for 256 pictures; SGD's as
    in Goyal et al. 2017 (arXiv 1706.02677), 0.1 for 256.

    Args:
        name: Which one.
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
    """The weight decay that an optimizer is used with: LARS's is SimCLR's, SGD's USynthFace's."""
    return {"adamw": 0.05, "lars": 1e-6, "sgd": 5e-4}.get(name, 0.0)


def learning_rate(done: float, peak: float, warmup: float) -> float:
    """A linear rise, then half a cosine down to zero, from the place in the run alone: nothing has to be saved.

    Args:
        done: Share of the run, 0 to 1. At both ends the rate is 0, so a step should pass a place within it.
        peak: Highest rate.
        warmup: Share of the run during which the rate rises; 0 to 1.
    """
    if done < warmup:
        return peak * done / warmup
    fallen = (done - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return peak * (1 + math.cos(math.pi * fallen)) / 2


def average_gradients(module: nn.Module, local: Collection[str]) -> None:
    """Averages over processes the gradients that there are, as DDP does, which insists on one for every parameter.

    Args:
        module: It has gradients for the same parameters on all processes.
        local: Names of what each process has its own of.
    """
    processes = world_size()[1]
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
    norm = (sum_over_processes(_norm(own).square()) + _norm(others).square()).sqrt()
    torch.nn.utils.clip_grads_with_norm_(module.parameters(), longest, norm)
    return norm


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    return torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
