"""Occlusion of batches by plain shapes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from faceclr_cli.core.views.head_shape import pixel_places

DRAWS = 9
"""Random numbers per picture that `occlude` needs."""

_SHORTEST, _LONGEST = 0.15, 0.5  # Half the side of a shape, where the picture reaches from -1 to 1.


def occlude(pictures: Tensor, uniform: Tensor) -> Tensor:
    """Covers a part of each picture with an ellipse or a rectangle of one color.

    Args:
        pictures: Values from -1 to 1. Shape: (B, 3, S, S).
        uniform: Random numbers between 0 and 1: kind of shape, center, half sides, rotation and color.
            Shape: (B, `DRAWS`).

    Returns:
        The covered pictures. Shape: (B, 3, S, S).
    """
    kind, x, y, width, height, angle = (column[:, None, None] for column in uniform[:, :6].unbind(dim=1))
    places = pixel_places(pictures.shape[2], pictures.device)
    across, down = places - (2 * x - 1), places[:, None] - (2 * y - 1)
    cosine, sine = (math.pi * angle).cos(), (math.pi * angle).sin()
    along = (cosine * across + sine * down) / (_SHORTEST + (_LONGEST - _SHORTEST) * width)
    beside = (cosine * down - sine * across) / (_SHORTEST + (_LONGEST - _SHORTEST) * height)
    ellipse, rectangle = along.square() + beside.square() < 1, torch.maximum(along.abs(), beside.abs()) < 1
    masks = torch.where(kind < 0.5, ellipse, rectangle)[:, None]
    colors = (2 * uniform[:, 6:] - 1)[:, :, None, None]
    return torch.where(masks, colors, pictures)
