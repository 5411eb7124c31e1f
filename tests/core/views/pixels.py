"""Pictures for tests of operations on pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, size: int = 48, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Smooth colors. Shape: (count, 3, size, size)."""
    coarse = torch.rand(count, 3, 6, 6, generator=generator(1))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return low + (high - low) * smooth


def crops(count: int, size: int = 48) -> Tensor:
    return (pictures(count, size) * 255).byte().permute(0, 2, 3, 1).contiguous()


def each(function: Callable[..., Tensor], batch: Tensor, *parameters: object) -> Tensor:
    """Applies a function of torchvision to each picture with its own parameters."""
    return torch.stack([function(p, *own) for p, *own in zip(batch, *parameters, strict=True)])
