"""Histograms of local phase as features of a face: local phase quantization (LPQ), which has no weights to train."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

WINDOWS = (5, 9, 13)
"""Sides of the windows in which the phase is measured, in pixels."""
CELLS = 6
"""Histograms per row and per column of the face, for each window."""
LEAST_SIZE = max(WINDOWS) - 1 + CELLS

_CODES = 256
_GRAY = (0.299, 0.587, 0.114)  # The luma of ITU-R BT.601, in the order of RGB.
_LEAST_RESPONSE = 1e-3  # Gray levels; rounding errors in even areas are smaller.


class PhaseHistograms(nn.Module):
    """Histograms of the local phase of a gray face (Ojansivu and Heikkilä 2008, doi:10.1007/978-3-540-69905-7_27).

    In a window around each pixel, the Fourier transform is computed at the four lowest frequencies. The signs of its
    four real and four imaginary parts form a code of 8 bits, which changes little if the picture is blurred or if its
    brightness or contrast change. The middle of the face is divided into a grid of cells, and the codes of each cell
    are counted. The features are the square roots of the counts, so that rare codes matter more. Unlike in the paper,
    the transform is not decorrelated, and several sizes of windows are used.

    The features have no useful gradients.

    Args:
        image_size: Side of the input in pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        cell = (image_size - max(WINDOWS) + 1) // CELLS
        side = CELLS * cell
        self._starts = tuple((image_size - side) // 2 - window // 2 for window in WINDOWS)
        for window in WINDOWS:
            self.register_buffer(f"waves_{window}", _waves(window, side), persistent=False)
        place = torch.arange(side) // cell
        self.cells: Tensor
        self.register_buffer("cells", ((place[:, None] * CELLS + place) * _CODES).flatten(), persistent=False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Computes the features.

        Args:
            pictures: Output of `normalize_pixels`. Shape: (B, 3, image_size, image_size).

        Returns:
            float32. Shape: (B, windows * CELLS * CELLS * 256).
        """
        luma = torch.tensor(_GRAY, device=pictures.device).view(1, 3, 1, 1) * 127.5
        with torch.autocast(pictures.device.type, enabled=False):  # bf16 would change signs of small responses.
            gray = (pictures.float() * luma).sum(dim=1, keepdim=True)
            parts = [self._histograms(gray, *each) for each in zip(WINDOWS, self._starts, strict=True)]
            return torch.cat(parts, dim=1)

    def _histograms(self, gray: Tensor, window: int, start: int) -> Tensor:
        """Shape: (B, 1, S, S) -> (B, CELLS * CELLS * 256)."""
        waves = getattr(self, f"waves_{window}").float()
        end = start + waves.shape[2]
        across = gray[:, :, start:end, start:end] @ waves.mT
        (_, right_real, right_imaginary), (down_real, *real), (down_imaginary, *imaginary) = (
            (wave @ across).unbind(dim=1) for wave in waves
        )
        (real_real, real_imaginary), (imaginary_real, imaginary_imaginary) = real, imaginary
        responses = (
            right_real,
            right_imaginary,
            down_real,
            down_imaginary,
            real_real - imaginary_imaginary,
            real_imaginary + imaginary_real,
            real_real + imaginary_imaginary,
            imaginary_real - real_imaginary,
        )
        signs = ((response > _LEAST_RESPONSE).float() for response in responses)
        codes = sum(sign.flatten(1) * 2**bit for bit, sign in enumerate(signs))
        places = codes.long() + self.cells
        counts = gray.new_zeros(len(gray), CELLS * CELLS * _CODES)
        return counts.scatter_add(1, places, torch.ones_like(codes)).sqrt()


def _waves(window: int, side: int) -> Tensor:
    """Returns the matrices that correlate a line with a constant and with both parts of a wave as long as the window.

    Shape: (3, side, side + window - 1).
    """
    angles = 2 * math.pi * (torch.arange(window, dtype=torch.float64) - window // 2) / window
    lines = torch.stack([torch.ones_like(angles), angles.cos(), -angles.sin()]) / window
    matrices = torch.zeros(3, side, side + window - 1)
    for row in range(side):
        matrices[:, row, row : row + window] = lines
    return matrices
