"""Tone curves on batches: operations that map each value of a channel to another value.

All functions take and return whole numbers from 0 to 255 as float32.
"""

from __future__ import annotations

import torch
from torch import Tensor


def posterize(pictures: Tensor, bits: Tensor) -> Tensor:
    """Keeps the leading bits of each value.

    Args:
        pictures: Whole numbers, 0-255. Shape: (B, 3, H, W).
        bits: Number of bits to keep, 0 to 8, whole numbers. Shape: (B,).

    Returns:
        Whole numbers, 0-255. Shape: (B, 3, H, W).
    """
    steps = 2.0 ** (8 - bits)[:, None, None, None]
    return (pictures / steps).floor_().mul_(steps)


def solarize(pictures: Tensor, thresholds: Tensor) -> Tensor:
    """Inverts all values at or above a threshold.

    Args:
        pictures: Whole numbers, 0-255. Shape: (B, 3, H, W).
        thresholds: Thresholds of 0 to 255. Shape: (B,).

    Returns:
        Whole numbers, 0-255. Shape: (B, 3, H, W).
    """
    return torch.where(pictures >= thresholds[:, None, None, None], 255 - pictures, pictures)


def autocontrast(pictures: Tensor) -> Tensor:
    """Stretches each channel to the range 0 to 255. A channel of a single value stays unchanged.

    Args:
        pictures: Whole numbers, 0-255. Shape: (B, 3, H, W).

    Returns:
        Whole numbers, 0-255. Shape: (B, 3, H, W).
    """
    low, high = pictures.amin(dim=(2, 3), keepdim=True), pictures.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    low, span = low.masked_fill(flat, 0), (high - low).masked_fill(flat, 255)
    # Multiply first: a quotient of two whole numbers is exact if it is a whole number.
    return ((pictures - low) * 255).div_(span).floor_()


def equalize(pictures: Tensor) -> Tensor:
    """Equalizes the histogram of each channel, as Pillow does.

    Args:
        pictures: Whole numbers, 0-255. Shape: (B, 3, H, W).

    Returns:
        Whole numbers, 0-255. Shape: (B, 3, H, W).
    """
    values = pictures.flatten(2).long()
    ones = torch.ones((), device=pictures.device).expand(values.shape)
    # The counts are far below 2^24, so float32 sums are exact in any order.
    counts = torch.zeros(*values.shape[:2], 256, device=pictures.device).scatter_add_(2, values, ones)
    of_largest = counts.gather(2, values.amax(dim=2, keepdim=True))
    step = ((values.shape[2] - of_largest) / 255).floor()
    below = counts.cumsum(dim=2) - counts
    spread = ((below + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(max=255)
    unchanged = torch.arange(256.0, device=pictures.device)
    return torch.where(step > 0, spread, unchanged).gather(2, values).view(pictures.shape)
