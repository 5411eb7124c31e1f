"""Gaussian blur and sharpness of batches, with a separate strength for each picture."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_size(size: int) -> int:
    """Returns a tenth of the side of the picture, as in SimCLR, rounded to an odd number."""
    return size // 10 | 1


def gaussian_matrices(sigmas: Tensor, size: int) -> Tensor:
    """Returns the blur of one line of pixels as a matrix: a truncated Gaussian with reflected edges.

    A Gaussian blur is separable: first all columns, then all rows. As a matrix product, each pass takes a few percent
    of the time of a convolution with a separate kernel for each picture, on CPUs and GPUs.

    Args:
        sigmas: Standard deviations in pixels. Shape: (B,).
        size: Length of the line in pixels.

    Returns:
        Matrices whose rows sum to 1. Shape: (B, size, size).
    """
    radius = kernel_size(size) // 2
    steps = torch.arange(-radius, radius + 1, device=sigmas.device)
    weights = (-(steps**2) / (2 * sigmas[:, None] ** 2)).exp()
    weights = weights / weights.sum(dim=1, keepdim=True)
    places = torch.arange(size, device=sigmas.device)
    source = (places + steps[:, None]).abs()
    source = torch.where(source >= size, 2 * (size - 1) - source, source)
    shifts = (source[:, :, None] == places).float()
    return (weights @ shifts.flatten(1)).view(-1, size, size)


def blur(pictures: Tensor, sigmas: Tensor) -> Tensor:
    """Blurs pictures.

    Args:
        pictures: Any values. Shape: (B, 3, S, S).
        sigmas: Standard deviations in pixels. Shape: (B,).

    Returns:
        The blurred pictures, channels_last. Shape: (B, 3, S, S).
    """
    return apply_to_lines(gaussian_matrices(sigmas, pictures.shape[2]), pictures)


def apply_to_lines(matrices: Tensor, pictures: Tensor) -> Tensor:
    """Multiplies all columns and all rows of each picture by its matrix.

    Args:
        matrices: One matrix for each picture. Shape: (B, S, S).
        pictures: Any values. Shape: (B, 3, S, S).

    Returns:
        The results, channels_last. Shape: (B, 3, S, S).
    """
    size = pictures.shape[2]
    # Each product moves the last axis to the front and works along it: from (color, y, x) to (x, color, y), and
    # then to (y, x, color), which is channels_last. This avoids copies.
    lines = torch.bmm(matrices, pictures.reshape(-1, 3 * size, size).transpose(1, 2))
    lines = torch.bmm(matrices, lines.view(-1, 3 * size, size).transpose(1, 2))
    return lines.view(-1, size, size, 3).permute(0, 3, 1, 2)


def sharpen(pictures: Tensor, factors: Tensor) -> Tensor:
    """Blends pictures with a slightly blurred version (Pillow's `SMOOTH`). Border pixels stay unchanged.

    Args:
        pictures: Any values. Shape: (B, 3, S, S).
        factors: 1 keeps the picture, 0 gives the blurred picture, above 1 sharpens. Shape: (B,).

    Returns:
        The blended pictures, not clamped. Shape: (B, 3, S, S).
    """
    columns = (pictures[:, :, :-2] + pictures[:, :, 1:-1]).add_(pictures[:, :, 2:])
    around = (columns[..., :-2] + columns[..., 1:-1]).add_(columns[..., 2:])
    # The kernel is a 5 surrounded by ones, divided by 13: the sum of all nine pixels plus four times the center.
    blurriness = (1 - factors)[:, None, None, None] / 13
    result = pictures.clone()
    result[..., 1:-1, 1:-1].mul_(1 - 9 * blurriness).add_(around.mul_(blurriness))
    return result
