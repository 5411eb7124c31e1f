"""Loss of resolution on batches: pictures shrunk and enlarged again."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from faceclr_cli.core.views.blur import apply_to_lines


def reduce_resolution(pictures: Tensor, sides: Tensor) -> Tensor:
    """Shrinks each picture with antialiasing, and enlarges it to its size.

    Args:
        pictures: Any values. Shape: (B, 3, S, S).
        sides: Side of the small picture in pixels, whole numbers from 1 to S; S keeps the picture. Shape: (B,).

    Returns:
        The pictures, channels_last. Shape: (B, 3, S, S).
    """
    matrices = _line_matrices(pictures.shape[2], pictures.device)
    return apply_to_lines(matrices[sides.long() - 1], pictures)


@cache
def _line_matrices(size: int, device: torch.device) -> Tensor:
    """Returns the matrix of each side that shrinks and enlarges one line of pixels. Shape: (size, size, size)."""
    line = torch.eye(size)[None, :, None]  # One picture whose channels are the unit vectors, each one line high.
    found = []
    for side in range(1, size + 1):
        small = F.interpolate(line, (1, side), mode="bilinear", antialias=True)
        large = F.interpolate(small, (1, size), mode="bilinear")
        found.append(large[0, :, 0].T)
    return torch.stack(found).to(device)
