"""Operations on the values of pictures that are no matrix of colors: each value of a channel becomes another.

All take whole numbers from 0 to 255 as float32, and give such numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def posterize(pictures: Tensor, bits: Tensor) -> Tensor:
    """Keeps the leading bits of each value.

    Args:
        pictures: Shape: (B, 3, H, W).
        bits: 0 to 8, whole numbers. Shape: (B,).

    Returns:
        Shape: (B, 3, H, W).
    """
    steps = 2.0 ** (8 - bits)[:, None, None, None]
    return (pictures / steps).floor_().mul_(steps)


def solarize(pictures: Tensor, thresholds: Tensor) -> Tensor:
    """Inverts the values that are not below a threshold.

    Args:
        pictures: Shape: (B, 3, H, W).
        thresholds: 0 to 255. Shape: (B,).

    Returns:
        Shape: (B, 3, H, W).
    """
    return torch.where(pictures >= thresholds[:, None, None, None], 255 - pictures, pictures)


def autocontrast(pictures: Tensor) -> Tensor:
    """Stretches each channel so that it reaches from 0 to 255; a channel of one value stays as it is.

    Args:
        pictures: Shape: (B, 3, H, W).

    Returns:
        Shape: (B, 3, H, W).
    """
    low, high = pictures.amin(dim=(2, 3), keepdim=True), pictures.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    low, span = low.masked_fill(flat, 0), (high - low).masked_fill(flat, 255)
    # Multiplied first: a whole number divided by a whole one is whole where it should be.
    return ((pictures - low) * 255).div_(span).floor_()


def equalize(pictures: Tensor) -> Tensor:
    """Spreads the values of each channel so that all are about as frequent, in the way of Pillow.

    Args:
        pictures: Shape: (B, 3, H, W).

    Returns:
        Shape: (B, 3, H, W).
    """
    values = pictures.flatten(2).long()
    ones = torch.ones((), device=pictures.device).expand(values.shape)
    # Exact in float32, in whatever order a GPU adds: nowhere near 2^24.
    counts = torch.zeros(*values.shape[:2], 256, device=pictures.device).scatter_add_(2, values, ones)
    of_largest = counts.gather(2, values.amax(dim=2, keepdim=True))
    step = ((values.shape[2] - of_largest) / 255).floor()
    below = counts.cumsum(dim=2) - counts
    spread = ((below + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(max=255)
    unchanged = torch.arange(256.0, device=pictures.device)
    return torch.where(step > 0, spread, unchanged).gather(2, values).view(pictures.shape)
