"""The optimiser, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

MAX_NORM = 5.0
"""Gradients are scaled down to this L2 norm. AdamW is blind to the scale of gradients, but not to a single
batch whose gradients are far larger than those before it: clipping is for those."""


def adamw(module: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) that spares norms and biases from weight decay.

    Args:
        module: Its parameters that require gradients are optimised. They must be on their device already.
        lr: Learning rate of the first step; `learning_rate` gives it for all others.
        weight_decay: On parameters of two dimensions or more.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=fused)


def learning_rate(step: int, total: int, peak: float, warmup: float) -> float:
    """A linear rise, then half a cosine down to zero, from the step alone: nothing has to be saved.

    Args:
        step: Steps that were made before this one, from 0.
        total: Steps of the whole run.
        peak: Highest rate.
        warmup: Share of the steps during which the rate rises; 0 to 1.
    """
    rising = round(total * warmup)
    if step < rising:
        return peak * (step + 1) / rising
    progress = (step - rising) / max(1, total - rising)
    return peak * (1 + math.cos(math.pi * min(1.0, progress))) / 2
