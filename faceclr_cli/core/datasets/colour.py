"""Colour operations on batches, as matrices: any chain of them costs one pass over the pixels.

Each operation is affine in the colour of a pixel, so each is a 4x4 matrix on (red, green, blue, 1), one
for each picture, and a chain is a product. This differs from torchvision's chain of the same operations
in two ways: values are clamped once, at the end of the chain, rather than after each operation; and hue is
turned around the axis of greys, a circle, where HSV turns it on a hexagon (on faces, which HSV moves by 14
and 27 of 1000 for 0.05 and 0.1 turns, the two differ by 12 and 17 of 1000, nearly all of it brightness).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def identity(like: Tensor) -> Tensor:
    """Leaves colours as they are. Shape: (B, 4, 4) for a `like` of shape (B, ...)."""
    return torch.eye(4, device=like.device).expand(len(like), 4, 4)


def brightness(factors: Tensor) -> Tensor:
    """Multiplies colours.

    Args:
        factors: 1 changes nothing. Shape: (B,).

    Returns:
        Shape: (B, 4, 4).
    """
    return _affine(factors[:, None, None] * torch.eye(3, device=factors.device))


def contrast(factors: Tensor, means: Tensor) -> Tensor:
    """Moves colours away from, or towards, the mean luma of the picture.

    Args:
        factors: 1 changes nothing. Shape: (B,).
        means: Mean colour of each picture at this point of the chain. Shape: (B, 3).

    Returns:
        Shape: (B, 4, 4).
    """
    matrices = brightness(factors)
    luma = means @ torch.tensor(LUMA, device=means.device)
    matrices[:, :3, 3] = ((1 - factors) * luma)[:, None]
    return matrices


def saturation(factors: Tensor) -> Tensor:
    """Moves colours away from, or towards, the grey of the same luma; 0 makes them grey.

    Args:
        factors: 1 changes nothing. Shape: (B,).

    Returns:
        Shape: (B, 4, 4).
    """
    grey = torch.tensor(LUMA, device=factors.device).expand(3, 3)
    strengths = factors[:, None, None]
    return _affine(strengths * torch.eye(3, device=factors.device) + (1 - strengths) * grey)


def hue(turns: Tensor) -> Tensor:
    """Turns colours around the axis of greys, which keeps red + green + blue.

    Args:
        turns: Share of a full turn, positive from red towards green. Shape: (B,).

    Returns:
        Shape: (B, 4, 4).
    """
    cosine, sine = (turns * (2 * math.pi)).cos(), (turns * (2 * math.pi)).sin()
    along, across = (1 - cosine) / 3, sine / math.sqrt(3)
    # Each row is the one above it, moved on by one colour.
    first = torch.stack([cosine + along, along - across, along + across], dim=1)
    return _affine(torch.stack([first, first.roll(1, dims=1), first.roll(2, dims=1)], dim=1))


def jitter(factors: Tensor, orders: Tensor, means: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, in an order of each picture's own.

    Args:
        factors: Of the four operations, in the order of their names above. Shape: (B, 4).
        orders: Each row a permutation of 0 to 3: which operation comes first, second, ... Shape: (B, 4).
        means: Mean colour of each picture. Shape: (B, 3).

    Returns:
        Shape: (B, 4, 4).
    """
    rows = torch.arange(len(factors), device=factors.device)
    start = torch.cat([means, torch.ones_like(means[:, :1])], dim=1)[:, :, None]
    bright, saturated, turned = brightness(factors[:, 0]), saturation(factors[:, 2]), hue(factors[:, 3])
    chain = identity(factors)
    for which in orders.unbind(dim=1):
        contrasted = contrast(factors[:, 1], (chain @ start)[:, :3, 0])
        chain = torch.stack([bright, contrasted, saturated, turned], dim=1)[rows, which] @ chain
    return chain


def apply(matrices: Tensor, pictures: Tensor) -> Tensor:
    """Maps every pixel by the matrix of its picture.

    Args:
        matrices: Shape: (B, 4, 4).
        pictures: Shape: (B, 3, H, W).

    Returns:
        Shape: (B, 3, H, W), contiguous.
    """
    flat = torch.baddbmm(matrices[:, :3, 3:], matrices[:, :3, :3], pictures.flatten(2))
    return flat.view(pictures.shape)


def side_light(strengths: Tensor, directions: Tensor, size: int) -> Tensor:
    """Light that falls off across the picture, exponentially, so that it is the same from either side.

    Args:
        strengths: Logarithm of the brightness at the brightest edge; 0 changes nothing. Shape: (B,).
        directions: Where it comes from, in radians. Shape: (B,).
        size: Side of the pictures in pixels.

    Returns:
        Factors. Shape: (B, 1, size, size).
    """
    places = (2 * torch.arange(size, device=strengths.device) + 1) / size - 1
    across = (strengths * directions.cos())[:, None] * places
    down = (strengths * directions.sin())[:, None] * places
    return (across.exp()[:, None, :] * down.exp()[:, :, None])[:, None]


def _affine(linear: Tensor) -> Tensor:
    matrices = torch.zeros(len(linear), 4, 4, device=linear.device)
    matrices[:, :3, :3] = linear
    matrices[:, 3, 3] = 1
    return matrices
