"""Gaussian blur and sharpness of batches, each picture with a strength of its own."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_size(size: int) -> int:
    """A tenth of the picture's side, as in SimCLR, made odd."""
    return size // 10 | 1


def gaussian_matrices(sigmas: Tensor, size: int) -> Tensor:
    """The blur of one line of pixels, as a matrix: a Gaussian of limited width, with the edges mirrored.

    A Gaussian blur is the same blur of all columns, then of all rows. As a product of matrices each takes a few
    percent of the time of a convolution with a kernel for each picture, on the CPU as on the GPU.

    Args:
        sigmas: In pixels. Shape: (B,).
        size: Length of the line.

    Returns:
        Each row sums to 1. Shape: (B, size, size).
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
        pictures: Shape: (B, 3, S, S).
        sigmas: In pixels. Shape: (B,).

    Returns:
        channels_last. Shape: (B, 3, S, S).
    """
    size = pictures.shape[2]
    matrices = gaussian_matrices(sigmas, size)
    # Each product takes the last axis to the front and blurs along it: from (color, y, x) to (x, color, y), and
    # from there to (y, x, color), which is channels_last. So nothing is copied in between.
    lines = torch.bmm(matrices, pictures.reshape(-1, 3 * size, size).transpose(1, 2))
    lines = torch.bmm(matrices, lines.view(-1, 3 * size, size).transpose(1, 2))
    return lines.view(-1, size, size, 3).permute(0, 3, 1, 2)


def sharpen(pictures: Tensor, factors: Tensor) -> Tensor:
    """Moves pictures away from, or towards, a slightly blurred one (Pillow's `SMOOTH`); the outermost pixels stay.

    Args:
        pictures: Shape: (B, 3, S, S).
        factors: 1 changes nothing, 0 gives the blurred picture. Shape: (B,).

    Returns:
        Not clamped. Shape: (B, 3, S, S).
    """
    columns = (pictures[:, :, :-2] + pictures[:, :, 1:-1]).add_(pictures[:, :, 2:])
    around = (columns[..., :-2] + columns[..., 1:-1]).add_(columns[..., 2:])
    # The kernel is ones around a five, of thirteen: all nine pixels once, and the middle one four times more.
    blurriness = (1 - factors)[:, None, None, None] / 13
    result = pictures.clone()
    result[..., 1:-1, 1:-1].mul_(1 - 9 * blurriness).add_(around.mul_(blurriness))
    return result
