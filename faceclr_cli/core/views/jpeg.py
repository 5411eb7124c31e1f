"""JPEG compression of batches, with a separate quality for each picture."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 8
# Tables K.1 and K.2 of the standard (ITU-T T.81), for a quality of 50.
_LUMA = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
_CHROMA = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99 "
    "99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"
)
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def compress(pictures: Tensor, qualities: Tensor) -> Tensor:
    """Compresses pictures as a JPEG encoder without chroma subsampling does, and decompresses them.

    Args:
        pictures: Values of 0-255. Shape: (B, 3, S, S).
        qualities: Quality on the scale of libjpeg, 1 to 100. Shape: (B,).

    Returns:
        Values that may be slightly outside 0-255. Shape: (B, 3, S, S).
    """
    size = pictures.shape[2]
    forward, cosines, tables = _constants(pictures.device)
    short = -size % _BLOCK
    padded = F.pad(pictures, (0, short, 0, short), mode="replicate") if short else pictures
    count = padded.shape[2] // _BLOCK
    shape = (len(padded), 3, count, _BLOCK, count, _BLOCK)
    planes = torch.einsum("ij,bjyx->biyx", forward, padded.round() - 128).round()
    blocks = planes.reshape(shape).transpose(3, 4)
    scales = torch.where(qualities < 50, 5000 / qualities, 200 - 2 * qualities)[:, None, None, None]
    steps = ((tables * scales + 50) / 100).floor().clamp(1, 255)[:, :, None, None]
    coefficients = (cosines @ blocks @ cosines.T / steps).round() * steps
    planes = (cosines.T @ coefficients @ cosines).transpose(3, 4).reshape(planes.shape).round().clamp(-128, 127)
    restored = torch.einsum("ij,bjyx->biyx", forward.inverse(), planes) + 128
    return restored[:, :, :size, :size]


@cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the color matrix, the discrete cosine transform, and the quantization tables of the three planes."""
    rows, columns = torch.arange(_BLOCK)[:, None], torch.arange(_BLOCK)
    cosines = ((2 * columns + 1) * rows * (math.pi / (2 * _BLOCK))).cos() * math.sqrt(2 / _BLOCK)
    cosines[0] /= math.sqrt(2)
    luma, chroma = (torch.tensor([float(x) for x in text.split()]).view(_BLOCK, _BLOCK) for text in (_LUMA, _CHROMA))
    return torch.tensor(_TO_YCBCR).to(device), cosines.to(device), torch.stack([luma, chroma, chroma]).to(device)
