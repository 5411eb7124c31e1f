"""Color operations on batches, as matrices: any chain of them costs one pass over the pixels.

Each operation is linear in the color of a pixel and, where it is contrast, the mean color of its picture. So each
is a 6x6 matrix on (red, green, blue, mean red, mean green, mean blue), one for each picture, and a chain is a
product, which needs to know no mean before it is applied. This differs from torchvision's chain of the same
operations in two ways: values are clamped once, at the end of the chain, rather than after each operation; and hue
is turned around the axis of grays, a circle, where HSV turns it on a hexagon (on faces, which HSV moves by 14
and 27 of 1000 for 0.05 and 0.1 turns, the two differ by 12 and 17 of 1000, nearly all of it brightness).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def identity(like: Tensor) -> Tensor:
    """Leaves colors as they are. Shape: (B, 6, 6) for a `like` of shape (B, ...)."""
    return torch.eye(6, device=like.device).expand(len(like), 6, 6)


def brightness(factors: Tensor) -> Tensor:
    """Multiplies colors.

    Args:
        factors: 1 changes nothing. Shape: (B,).

    Returns:
        Shape: (B, 6, 6).
    """
    return factors[:, None, None] * identity(factors)


def contrast(factors: Tensor) -> Tensor:
    """Moves colors away from, or towards, the mean luma of the picture at this point of the chain.

    Args:
        factors: 1 changes nothing. Shape: (B,).

    Returns:
        Shape: (B, 6, 6).
    """
    strengths = factors[:, None, None]
    return _operation(strengths * torch.eye(3, device=factors.device), (1 - strengths) * _gray(factors))


def saturation(factors: Tensor) -> Tensor:
    """Moves colors away from, or towards, the gray of the same luma; 0 makes them gray.

    Args:
        factors: 1 changes nothing. Shape: (B,).

    Returns:
        Shape: (B, 6, 6).
    """
    strengths = factors[:, None, None]
    return _operation(strengths * torch.eye(3, device=factors.device) + (1 - strengths) * _gray(factors))


def hue(turns: Tensor) -> Tensor:
    """Turns colors around the axis of grays, which keeps red + green + blue.

    Args:
        turns: Share of a full turn, positive from red towards green. Shape: (B,).

    Returns:
        Shape: (B, 6, 6).
    """
    cosine, sine = (turns * (2 * math.pi)).cos(), (turns * (2 * math.pi)).sin()
    along, across = (1 - cosine) / 3, sine / math.sqrt(3)
    # Each row is the one above it, moved on by one color.
    first = torch.stack([cosine + along, along - across, along + across], dim=1)
    return _operation(torch.stack([first, first.roll(1, dims=1), first.roll(2, dims=1)], dim=1))


def jitter(factors: Tensor, orders: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, in an order of each picture's own.

    Args:
        factors: Of the four operations, in the order of their names above. Shape: (B, 4).
        orders: Each row a permutation of 0 to 3: which operation comes first, second, ... Shape: (B, 4).

    Returns:
        Shape: (B, 6, 6).
    """
    bright, contrasted, saturated, turned = factors.unbind(dim=1)
    named = torch.stack([brightness(bright), contrast(contrasted), saturation(saturated), hue(turned)], dim=1)
    first, second, third, last = named[torch.arange(len(factors), device=factors.device)[:, None], orders].unbind(dim=1)
    return last @ third @ second @ first


def apply(matrices: Tensor, pictures: Tensor, *, scale: float = 1.0, offset: float = 0.0) -> Tensor:
    """Maps every pixel by the matrix of its picture, and the result to `scale` times it plus `offset`.

    Args:
        matrices: Shape: (B, 6, 6).
        pictures: Shape: (B, 3, H, W).
        scale: Of all colors.
        offset: To all colors.

    Returns:
        Shape: (B, 3, H, W), contiguous.
    """
    flat = pictures.flatten(2)
    of_means = matrices[:, :3, 3:] @ flat.mean(dim=2, keepdim=True)
    return torch.baddbmm(scale * of_means + offset, matrices[:, :3, :3], flat, alpha=scale).view(pictures.shape)


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


def _gray(like: Tensor) -> Tensor:
    """The map of a color to the gray of the same luma. Shape: (3, 3)."""
    return torch.tensor(LUMA, device=like.device).expand(3, 3)


def _operation(of_color: Tensor, of_mean: Tensor | None = None) -> Tensor:
    """The matrix of an operation, from what it makes of a color and of the mean color. Shapes: (B, 3, 3)."""
    matrices = torch.zeros(len(of_color), 6, 6, device=of_color.device)
    matrices[:, :3, :3] = matrices[:, 3:, 3:] = of_color
    if of_mean is not None:
        matrices[:, :3, 3:] = of_mean
        matrices[:, 3:, 3:] += of_mean
    return matrices
