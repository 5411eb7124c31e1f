"""Histograms as features of a face, which have no weights to train: of local phase, ridges and Gabor wavelets."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

WINDOW = 9
"""Side of the window in which the phase is measured, in pixels."""
CODES = 256
PHASE_CELLS = 6
"""Histograms of codes per row and per column of the face."""
RIDGE_CELLS = 14
"""Histograms of ridges per row and per column of the face."""
RIDGE_DIRECTIONS = 9
GABOR_CELLS = 10
"""Histograms of Gabor wavelets per row and per column of the face."""
GABOR_DIRECTIONS = 8
WAVELENGTHS = (5, 7, 10, 14, 20)
"""Of the Gabor wavelets, in pixels."""
LEAST_SIZE = max(WINDOW - 1 + 2 * PHASE_CELLS, RIDGE_CELLS, 2 * GABOR_CELLS)

_GRAY = (0.299, 0.587, 0.114)  # The luma of ITU-R BT.601, in the order of RGB.
_LEAST_RESPONSE = 1e-3  # Gray levels; rounding errors in even areas are smaller.
_CORRELATION = 0.9  # Of neighboring pixels.
_RIDGE_WIDTH = 1.0  # Standard deviation of the smoothing, in pixels.
_GABOR_WIDTH = 0.56  # Standard deviation of the envelope, in wavelengths: a bandwidth of one octave.
_GABOR_MEAN = math.exp(-((2 * math.pi * _GABOR_WIDTH) ** 2) / 2)  # Of the wave, weighted by the envelope.
_REACH = 4  # Of smoothing and envelopes, in standard deviations.
_LEAST_ENERGY = 1.0


class FaceHistograms(nn.Module):
    """Histograms of the local phase, of ridges and of Gabor wavelets of a gray face.

    The features have no useful gradients.

    Args:
        image_size: Side of the input in pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(
            [PhaseHistograms(image_size), RidgeHistograms(image_size), GaborHistograms(image_size)]
        )
        self.lengths = [PhaseHistograms.length, RidgeHistograms.length, GaborHistograms.length]
        """Number of features of each kind of histograms."""

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Computes the features.

        Args:
            pictures: Output of `normalize_pixels`. Shape: (B, 3, image_size, image_size).

        Returns:
            float32; the histograms of phase, then of ridges, then of Gabor wavelets. Shape: (B, sum(lengths)).
        """
        luma = torch.tensor(_GRAY, device=pictures.device).view(1, 3, 1, 1) * 127.5
        with torch.autocast(pictures.device.type, enabled=False):  # bf16 would change signs of small responses.
            gray = (pictures.float() * luma).sum(dim=1)
            return torch.cat([kind(gray) for kind in self.kinds], dim=1)


class PhaseHistograms(nn.Module):
    """Local phase quantization (LPQ; Ojansivu and Heikkilä 2008, doi:10.1007/978-3-540-69905-7_27).

    In a window around each pixel, the Fourier transform is computed at the four lowest frequencies, and its four real
    and four imaginary parts are decorrelated. Their signs form a code of 8 bits, which changes little if the picture is
    blurred or if its brightness or contrast change. The middle of the face is divided into a grid of cells, and the
    codes of each cell are counted. The features are the square roots of the counts, so that rare codes matter more.

    Unlike in the paper, a code counts for the nearest cells, with weights that decrease with the distance, so that a
    small shift of the face changes little.

    Args:
        image_size: Side of the input in pixels.
    """

    length = PHASE_CELLS**2 * CODES
    """Number of features."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        parts = 2 * PHASE_CELLS  # Codes are counted in halves of cells first.
        part = (image_size - WINDOW + 1) // parts
        side = parts * part
        self._start = (image_size - side) // 2 - WINDOW // 2
        self.waves: Tensor
        self.register_buffer("waves", _waves(WINDOW, side), persistent=False)
        self.mix: Tensor
        self.register_buffer("mix", _decorrelation(WINDOW), persistent=False)
        place = torch.arange(side) // part
        self.places: Tensor
        self.register_buffer("places", ((place * parts + place[:, None]) * CODES).flatten(), persistent=False)
        self.cells: Tensor
        self.register_buffer("cells", _overlapping_cells(parts, PHASE_CELLS), persistent=False)

    def forward(self, gray: Tensor) -> Tensor:
        """Shape: (B, S, S) -> (B, PHASE_CELLS * PHASE_CELLS * 256)."""
        waves, mix, start = self.waves.float(), self.mix.float(), self._start
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


class RidgeHistograms(nn.Module):
    """Histograms of bright and dark lines, such as wrinkles, brows and the edges of lips.

    The second derivatives of the smoothed face form a symmetric matrix for each pixel, the Hessian. Its eigenvalues are
    the curvatures of the brightness along and across a line (Lindeberg 1998, doi:10.1023/A:1008097225773). The negative
    curvature of each bright line, and the positive curvature of each dark line, is counted for the two nearest
    directions and for the nearest cells. The features are relative to the neighborhood; see `_relative`.

    Args:
        image_size: Side of the input in pixels.
    """

    length = RIDGE_CELLS**2 * 2 * RIDGE_DIRECTIONS
    """Number of features."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        places, reach = torch.arange(image_size, dtype=torch.float64), math.ceil(_REACH * _RIDGE_WIDTH)
        derivatives = [_correlation(_derivative(order), reach, places, image_size) for order in range(3)]
        self.derivatives: Tensor
        self.register_buffer("derivatives", torch.stack(derivatives), persistent=False)
        self.cells: Tensor
        self.register_buffer("cells", _overlapping_cells(image_size, RIDGE_CELLS), persistent=False)

    def forward(self, gray: Tensor) -> Tensor:
        """Shape: (B, S, S) -> (B, 2 * RIDGE_DIRECTIONS * RIDGE_CELLS * RIDGE_CELLS)."""
        smooth, first, second = self.derivatives.float()
        down, across, mixed = second @ gray @ smooth.T, smooth @ gray @ second.T, first @ gray @ first.T
        mean, half = (down + across) / 2, (down - across) / 2
        apart = (half.square() + mixed.square()).sqrt()
        # The orientations of both eigenvectors; half a turn is RIDGE_DIRECTIONS.
        dark = torch.atan2(mixed, half) * (RIDGE_DIRECTIONS / (2 * math.pi)) + RIDGE_DIRECTIONS / 2
        bright = (dark + RIDGE_DIRECTIONS / 2) % RIDGE_DIRECTIONS
        planes = []
        for strength, orientation in (((mean + apart).clamp(min=0), dark), ((apart - mean).clamp(min=0), bright)):
            planes += [self._count(strength, orientation, direction) for direction in range(RIDGE_DIRECTIONS)]
        return _relative(torch.stack(planes, dim=1))

    def _count(self, strength: Tensor, orientation: Tensor, direction: int) -> Tensor:
        """Sums the strengths of one direction in each cell. Shape: (B, S, S) -> (B, RIDGE_CELLS, RIDGE_CELLS)."""
        cells, distance = self.cells.float(), (orientation - direction).abs()
        distance = distance if direction else torch.minimum(distance, RIDGE_DIRECTIONS - distance)
        return cells @ (strength * (1 - distance).clamp(min=0)) @ cells.T


class GaborHistograms(nn.Module):
    """Histograms of the magnitudes of Gabor wavelets (Liu and Wechsler 2002, doi:10.1109/TIP.2002.999679).

    A Gabor wavelet is a complex wave with a Gaussian envelope and a mean of zero. The magnitude of its correlation with
    the face tells how strong waves of its length and direction are around a pixel. The magnitudes at every second pixel
    are summed in the nearest cells. The features are relative to the neighborhood; see `_relative`.

    Args:
        image_size: Side of the input in pixels.
    """

    length = GABOR_CELLS**2 * len(WAVELENGTHS) * GABOR_DIRECTIONS
    """Number of features."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        places = 2 * torch.arange(image_size // 2, dtype=torch.float64) + 0.5
        frequencies = [math.cos(step * math.pi / GABOR_DIRECTIONS) for step in range(GABOR_DIRECTIONS // 2 + 1)]
        for wavelength in WAVELENGTHS:
            reach = math.ceil(_REACH * _GABOR_WIDTH * wavelength)
            waves = [_wave(wavelength, each, part) for each in frequencies for part in (torch.cos, torch.sin)]
            lines = torch.cat([_correlation(wave, reach, places, image_size) for wave in waves])
            self.register_buffer(f"lines_{wavelength}", lines.view(len(frequencies), -1, image_size), persistent=False)
        self.cells: Tensor
        self.register_buffer("cells", _overlapping_cells(len(places), GABOR_CELLS), persistent=False)

    def forward(self, gray: Tensor) -> Tensor:
        """Shape: (B, S, S) -> (B, wavelengths * GABOR_DIRECTIONS * GABOR_CELLS * GABOR_CELLS)."""
        return _relative(torch.cat([self._count(gray, wavelength) for wavelength in WAVELENGTHS], dim=1))

    def _count(self, gray: Tensor, wavelength: int) -> Tensor:
        """Shape: (B, S, S) -> (B, GABOR_DIRECTIONS, GABOR_CELLS, GABOR_CELLS)."""
        lines, cells = getattr(self, f"lines_{wavelength}").float(), self.cells.float()
        side, last, planes = cells.shape[1], len(lines) - 1, []
        smooth = lines[last, :side]
        mean = _GABOR_MEAN * (smooth @ gray @ smooth.T)
        for step in range(last + 1):
            # The frequency across is the cosine of the direction, and that down is its sine.
            products = (lines[last - step] @ (gray @ lines[step].T)).view(-1, 2, side, 2, side)
            (even, odd_across), (odd_down, odd) = (part.unbind(dim=2) for part in products.unbind(dim=1))
            parts = [(even - odd, odd_across + odd_down)]
            if 0 < step < last:
                parts.append((even + odd, odd_across - odd_down))  # The mirror image of the wavelet.
            for real, imaginary in parts:
                planes.append(cells @ ((real - mean).square() + imaginary.square()).sqrt() @ cells.T)
        return torch.stack(planes, dim=1)


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


def _derivative(order: int) -> Callable[[Tensor], Tensor]:
    """Returns a derivative of a Gaussian, of order 0, 1 or 2, as a function of the distance in pixels."""

    def value(distance: Tensor) -> Tensor:
        relative = distance / _RIDGE_WIDTH
        factor = (torch.ones_like(relative), -relative, relative.square() - 1)[order]
        return factor * _gaussian(relative) / _RIDGE_WIDTH

    return value


def _wave(wavelength: int, frequency: float, part: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Returns a wave (`part`: cosine or sine) with a Gaussian envelope, as a function of the distance in pixels.

    Args:
        wavelength: Length of the wavelet in pixels.
        frequency: Waves per wavelength along this line.
        part: `torch.cos` or `torch.sin`.
    """
    width = _GABOR_WIDTH * wavelength

    def value(distance: Tensor) -> Tensor:
        return part(distance * (2 * math.pi * frequency / wavelength)) * _gaussian(distance / width) / width

    return value


def _gaussian(relative: Tensor) -> Tensor:
    return (-relative.square() / 2).exp() / math.sqrt(2 * math.pi)


def _correlation(kernel: Callable[[Tensor], Tensor], reach: int, places: Tensor, size: int) -> Tensor:
    """Returns the matrix that correlates a line of pixels, mirrored at its ends, with a kernel around some places.

    Args:
        kernel: Function of the distance of a pixel from the place.
        reach: The pixels beyond each end that count.
        places: In pixels from the first. Shape: (P,).
        size: Number of pixels.

    Returns:
        float32. Shape: (P, size).
    """
    pixels = torch.arange(-reach, size + reach)
    sources = pixels % (2 * size)
    sources = torch.minimum(sources, 2 * size - 1 - sources)
    matrix = torch.zeros(len(places), size, dtype=torch.float64)
    return matrix.index_add(1, sources, kernel(pixels - places[:, None])).float()


def _relative(histograms: Tensor) -> Tensor:
    """Divides each cell by the root mean square of its neighborhood, which removes differences of contrast.

    The neighborhood consists of 3x3 cells, as in histograms of oriented gradients (HOG; Dalal and Triggs 2005,
    doi:10.1109/CVPR.2005.177). The features are the square roots of the quotients, so that weak lines matter more.

    Shape: (B, K, cells, cells) -> (B, K * cells * cells).
    """
    energy = histograms.square().sum(dim=1, keepdim=True)
    around = F.avg_pool2d(energy, 3, stride=1, padding=1, count_include_pad=False).sqrt()
    return (histograms / (around + _LEAST_ENERGY)).clamp(max=1).sqrt().flatten(1)


def _overlapping_cells(places: int, cells: int) -> Tensor:
    """Returns the weights of places for a line of cells: 1 in the middle of a cell, 0 in the middle of its neighbors.

    Shape: (cells, places).
    """
    width = places // cells
    middle = (torch.arange(places, dtype=torch.float64) + 0.5 - (places - width * cells) // 2) / width - 0.5
    inside = (middle > -0.5) & (middle < cells - 0.5)
    weights = (1 - (middle - torch.arange(cells)[:, None]).abs()).clamp(min=0) * inside
    return weights.float()
