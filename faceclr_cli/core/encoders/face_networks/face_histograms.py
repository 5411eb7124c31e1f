"""Histograms as features of a face, which have no weights to train: of local phase (LPQ) and of gradients (HOG)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

WINDOWS = (5, 9, 13)
"""Sides of the windows in which the phase is measured, in pixels."""
CODES = 256
PHASE_CELLS = 6
"""Histograms of codes per row and per column of the face, for each window."""
GRADIENT_CELLS = 14
"""Histograms of gradients per row and per column of the face."""
DIRECTIONS = 18
"""Directions of gradients, in which light to dark differs from dark to light."""
LEAST_SIZE = max(max(WINDOWS) - 1 + 2 * PHASE_CELLS, GRADIENT_CELLS + 2)

_GRAY = (0.299, 0.587, 0.114)  # The luma of ITU-R BT.601, in the order of RGB.
_LEAST_RESPONSE = 1e-3  # Gray levels; rounding errors in even areas are smaller.
_CORRELATION = 0.9  # Of neighboring pixels.
_LEAST_ENERGY = 1.0


class FaceHistograms(nn.Module):
    """Histograms of the local phase, and of the gradients, of a gray face.

    The features have no useful gradients.

    Args:
        image_size: Side of the input in pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.phase = PhaseHistograms(image_size)
        self.gradients = GradientHistograms(image_size)

    @property
    def lengths(self) -> list[int]:
        """Numbers of features of both kinds of histograms."""
        return [self.phase.length, self.gradients.length]

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Computes the features.

        Args:
            pictures: Output of `normalize_pixels`. Shape: (B, 3, image_size, image_size).

        Returns:
            float32; the histograms of phase, then those of gradients. Shape: (B, sum(lengths)).
        """
        luma = torch.tensor(_GRAY, device=pictures.device).view(1, 3, 1, 1) * 127.5
        with torch.autocast(pictures.device.type, enabled=False):  # bf16 would change signs of small responses.
            gray = (pictures.float() * luma).sum(dim=1)
            return torch.cat([self.phase(gray), self.gradients(gray)], dim=1)


class PhaseHistograms(nn.Module):
    """Local phase quantization (LPQ; Ojansivu and Heikkilä 2008, doi:10.1007/978-3-540-69905-7_27).

    In a window around each pixel, the Fourier transform is computed at the four lowest frequencies, and its four real
    and four imaginary parts are decorrelated. Their signs form a code of 8 bits, which changes little if the picture is
    blurred or if its brightness or contrast change. The middle of the face is divided into a grid of cells, and the
    codes of each cell are counted. The features are the square roots of the counts, so that rare codes matter more.

    Unlike in the paper, several sizes of windows are used, and a code counts for the nearest cells, with weights that
    decrease with the distance, so that a small shift of the face changes little.

    Args:
        image_size: Side of the input in pixels.
    """

    length = len(WINDOWS) * PHASE_CELLS**2 * CODES
    """Number of features."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        parts = 2 * PHASE_CELLS  # Codes are counted in halves of cells first.
        part = (image_size - max(WINDOWS) + 1) // parts
        side = parts * part
        self._starts = tuple((image_size - side) // 2 - window // 2 for window in WINDOWS)
        for window in WINDOWS:
            self.register_buffer(f"waves_{window}", _waves(window, side), persistent=False)
            self.register_buffer(f"mix_{window}", _decorrelation(window), persistent=False)
        place = torch.arange(side) // part
        self.places: Tensor
        self.register_buffer("places", ((place * parts + place[:, None]) * CODES).flatten(), persistent=False)
        self.cells: Tensor
        self.register_buffer("cells", _overlapping_cells(parts, PHASE_CELLS), persistent=False)

    def forward(self, gray: Tensor) -> Tensor:
        """Shape: (B, S, S) -> (B, windows * PHASE_CELLS * PHASE_CELLS * 256)."""
        return torch.cat([self._histograms(gray, *each) for each in zip(WINDOWS, self._starts, strict=True)], dim=1)

    def _histograms(self, gray: Tensor, window: int, start: int) -> Tensor:
        """Shape: (B, S, S) -> (B, PHASE_CELLS * PHASE_CELLS * 256)."""
        waves, mix = getattr(self, f"waves_{window}").float(), getattr(self, f"mix_{window}").float()
        lines, side, end = waves.flatten(0, 1).T, waves.shape[1], start + waves.shape[2]
        across = gray[:, start:end, start:end] @ lines
        both = (across.mT @ lines).view(-1, 3, side, 3, side)  # Columns before rows.
        (_, down_real, down_imaginary), (right_real, *real), (right_imaginary, *imaginary) = (
            part.unbind(dim=2) for part in both.unbind(dim=1)
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
            real_imaginary - imaginary_real,
        )
        signs = (mix @ torch.stack(responses).flatten(1) > _LEAST_RESPONSE).float()
        codes = sum(signs[bit] * 2**bit for bit in range(8)).view(len(gray), -1)
        parts = 2 * PHASE_CELLS
        counts = gray.new_zeros(len(gray), parts * parts * CODES)
        counts = counts.scatter_add(1, codes.long() + self.places, torch.ones_like(codes))
        cells = self.cells.float()
        rows = cells @ counts.view(-1, parts, parts * CODES)
        return (cells @ rows.view(-1, parts, CODES)).view(-1, PHASE_CELLS**2 * CODES).sqrt()


class GradientHistograms(nn.Module):
    """Histograms of oriented gradients (HOG; Dalal and Triggs 2005, doi:10.1109/CVPR.2005.177).

    The gradient of each pixel is counted with its magnitude, for the two nearest directions and for the nearest cells.
    Each cell is divided by the root mean square of its neighborhood of 3x3 cells, which removes differences of
    contrast. Unlike in the paper, the features are the square roots of the values, so that weak edges matter more.

    Args:
        image_size: Side of the input in pixels.
    """

    length = GRADIENT_CELLS**2 * DIRECTIONS
    """Number of features."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.cells: Tensor
        self.register_buffer("cells", _overlapping_cells(image_size - 2, GRADIENT_CELLS), persistent=False)

    def forward(self, gray: Tensor) -> Tensor:
        """Shape: (B, S, S) -> (B, DIRECTIONS * GRADIENT_CELLS * GRADIENT_CELLS)."""
        down = gray[:, 2:, 1:-1] - gray[:, :-2, 1:-1]
        right = gray[:, 1:-1, 2:] - gray[:, 1:-1, :-2]
        magnitude = (down.square() + right.square()).sqrt()
        angle = torch.atan2(down, right) * (DIRECTIONS / (2 * math.pi)) + DIRECTIONS / 2
        cells = self.cells.float()
        planes = []
        for direction in range(DIRECTIONS):
            apart = (angle - direction).abs()
            apart = apart if direction else torch.minimum(apart, DIRECTIONS - apart)
            planes.append(cells @ (magnitude * (1 - apart).clamp(min=0)) @ cells.T)
        histograms = torch.stack(planes, dim=1)
        energy = histograms.square().sum(dim=1, keepdim=True)
        around = F.avg_pool2d(energy, 3, stride=1, padding=1, count_include_pad=False).sqrt()
        return (histograms / (around + _LEAST_ENERGY)).clamp(max=1).sqrt().flatten(1)


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


def _decorrelation(window: int) -> Tensor:
    """Returns the rotation that decorrelates the responses, if the correlation of pixels decreases with their distance.

    The correlation is that of the paper, 0.9 to the power of the distance. Because it is symmetric, the rotation
    consists of sums and differences of responses, and of rotations of two of these at a time. Eigenvectors computed
    from the whole matrix would not be unique, and could differ between machines.

    Shape: (8, 8).
    """
    places = np.arange(window) - window // 2
    down, across = (each.ravel() for each in np.meshgrid(places, places, indexing="ij"))
    distances = np.hypot(down[:, None] - down, across[:, None] - across)
    waves = [np.exp(-2j * np.pi * (y * down + x * across) / window) for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))]
    responses = np.stack([part for wave in waves for part in (wave.real, wave.imag)]) / window**2
    rotation = _sums_and_differences()
    covariance = rotation @ responses @ _CORRELATION**distances @ responses.T @ rotation.T
    for first in (0, 2, 4):
        second = first + 1
        angle = 0.5 * math.atan2(2 * covariance[first, second], covariance[first, first] - covariance[second, second])
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        rotation[[first, second]] = turn @ rotation[[first, second]]
    return torch.from_numpy(rotation.astype(np.float32))


def _sums_and_differences() -> NDArray[np.float64]:
    """Returns a basis of responses in which only the pairs 0 and 1, 2 and 3, and 4 and 5 are correlated.

    The order of the responses is: right, down, both, and up to the right; real and imaginary parts in turn.
    Shape: (8, 8).
    """
    half = math.sqrt(0.5)
    basis = np.zeros((8, 8))
    basis[0, [0, 2]] = basis[1, [4, 6]] = half
    basis[2, 3], basis[3, [5, 7]] = 1, half
    basis[4, 1], basis[5, [5, 7]] = 1, (half, -half)
    basis[6, [0, 2]] = basis[7, [4, 6]] = half, -half
    return basis


def _overlapping_cells(places: int, cells: int) -> Tensor:
    """Returns the weights of places for a line of cells: 1 in the middle of a cell, 0 in the middle of its neighbors.

    Shape: (cells, places).
    """
    width = places // cells
    middle = (torch.arange(places, dtype=torch.float64) + 0.5 - (places - width * cells) // 2) / width - 0.5
    inside = (middle > -0.5) & (middle < cells - 0.5)
    weights = (1 - (middle - torch.arange(cells)[:, None]).abs()).clamp(min=0) * inside
    return weights.float()
