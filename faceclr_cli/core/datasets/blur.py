"""Gaussian blur of batches, each picture with a sigma of its own."""

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


def blur(pictures: Tensor, which: Tensor, sigmas: Tensor) -> Tensor:
    """Blurs some pictures of a batch.

    Args:
        pictures: Changed in place. Shape: (B, 3, S, S), contiguous.
        which: Indices of the pictures to blur. Shape: (b,).
        sigmas: In pixels. Shape: (b,).

    Returns:
        All pictures, channels_last. Shape: (B, 3, S, S).
    """
    size = pictures.shape[2]
    if len(which) == 0:
        return pictures.contiguous(memory_format=torch.channels_last)
    matrices = gaussian_matrices(sigmas, size)
    # Rows are blurred channel by channel and columns after the change of layout, so that each is one
    # product for each picture of matrices that lie in memory as they are.
    chosen = pictures[which].view(len(which), 3 * size, size)
    pictures[which] = torch.bmm(chosen, matrices.transpose(1, 2)).view(-1, 3, size, size)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    lines = pictures.permute(0, 2, 3, 1).view(len(pictures), size, 3 * size)
    lines[which] = torch.bmm(matrices, lines[which])
    return pictures
