"""Light on batches: a lamp beside the face."""

from __future__ import annotations

import torch
from torch import Tensor


def side_light(strengths: Tensor, directions: Tensor, size: int) -> Tensor:
    """Returns brightness factors of a light from one side, which falls off exponentially across the picture.

    Args:
        strengths: Logarithm of the factor at the brightest edge; 0 keeps the picture. Shape: (B,).
        directions: Direction of the light in radians. Shape: (B,).
        size: Side of the pictures in pixels.

    Returns:
        Factors of the pixel values. Shape: (B, 1, size, size).
    """
    places = (2 * torch.arange(size, device=strengths.device) + 1) / size - 1
    across = (strengths * directions.cos())[:, None] * places
    down = (strengths * directions.sin())[:, None] * places
    return (across.exp()[:, None, :] * down.exp()[:, :, None])[:, None]
