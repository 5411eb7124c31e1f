"""Histograms of phase, ridges and Gabor wavelets: against slow transcriptions, and what the features ignore."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceclr_cli.core.encoders.face_networks.face_histograms import (
    CODES,
    GABOR_CELLS,
    GABOR_DIRECTIONS,
    PHASE_CELLS,
    RIDGE_CELLS,
    RIDGE_DIRECTIONS,
    WAVELENGTHS,
    WINDOW,
    FaceHistograms,
    GaborHistograms,
    PhaseHistograms,
    RidgeHistograms,
)

SIZE = 40
FREQUENCIES = ((0, 1), (1, 0), (1, 1), (1, -1))


def pictures(count: int = 2, size: int = SIZE, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def gray_of(picture: torch.Tensor) -> NDArray[np.float64]:
    rgb = picture.permute(1, 2, 0).double().numpy() * 127.5
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114]))


def phases_of(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """The real and imaginary parts of the Fourier transform of a window at the four frequencies. Shape: (8,)."""
    window = len(part)
    places = np.arange(window) - window // 2
    values = []
    for down, across in FREQUENCIES:
        wave = np.exp(-2j * np.pi * (down * places[:, None] + across * places[None, :]) / window)
        value = (part * wave).sum() / window**2
        values += [value.real, value.imag]
    return np.array(values)


def counts_of(gray: NDArray[np.float64], mix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted counts of the codes, pixel by pixel. Shape: (PHASE_CELLS, PHASE_CELLS, 256)."""
    size, parts = len(gray), 2 * PHASE_CELLS
    part = (size - WINDOW + 1) // parts
    first, half = (size - part * parts) // 2, WINDOW // 2
    counts = np.zeros((PHASE_CELLS, PHASE_CELLS, CODES))
    for row in range(part * parts):
        for column in range(part * parts):
            y, x = first + row, first + column
            values = mix @ phases_of(gray[y - half : y + half + 1, x - half : x + half + 1])
            code = sum(int(value > 1e-3) << bit for bit, value in enumerate(values))
            # The middle of the half of a cell, in cells from the middle of the first.
            down, across = ((place // part + 0.5) / 2 - 0.5 for place in (row, column))
            for i in range(PHASE_CELLS):
                for j in range(PHASE_CELLS):
                    counts[i, j, code] += max(0, 1 - abs(down - i)) * max(0, 1 - abs(across - j))
    return counts


def pixels_near(gray: NDArray[np.float64], place: tuple[float, float], reach: int) -> list[tuple[float, float, float]]:
    """The pixels around a place, with the face mirrored at its edges: distances down and across, and gray level."""
    size = len(gray)

    def inside(pixel: int) -> int:
        pixel %= 2 * size
        return min(pixel, 2 * size - 1 - pixel)

    return [
        (y - place[0], x - place[1], gray[inside(y), inside(x)])
        for y in range(math.floor(place[0]) - reach, math.ceil(place[0]) + reach + 1)
        for x in range(math.floor(place[1]) - reach, math.ceil(place[1]) + reach + 1)
    ]


def add_to_cells(counts: NDArray[np.float64], row: int, column: int, width: int, value: float) -> None:
    """Adds a value at a place to the nearest cells. Shape of `counts`: (cells, cells)."""
    down, across = ((place + 0.5) / width - 0.5 for place in (row, column))
    for i in range(len(counts)):
        for j in range(len(counts)):
            counts[i, j] += max(0, 1 - abs(down - i)) * max(0, 1 - abs(across - j)) * value


def relative_of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The square root of each cell divided by its neighborhood. Shape: (K, cells, cells)."""
    expected, energy = np.empty_like(counts), (counts**2).sum(axis=0)
    for i in range(counts.shape[1]):
        for j in range(counts.shape[2]):
            around = energy[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean()
            expected[:, i, j] = np.sqrt(np.minimum(1, counts[:, i, j] / (math.sqrt(around) + 1)))
    return expected


@pytest.mark.parametrize("size", [SIZE, 41])
def test_phase_counts_the_codes_of_a_slow_transcription(size: int) -> None:
    gray = gray_of(pictures(1, size)[0])
    phase = PhaseHistograms(size)
    found = phase(torch.from_numpy(gray[None]).float()).double().numpy()
    features = found.reshape(PHASE_CELLS, PHASE_CELLS, CODES)
    np.testing.assert_allclose(features**2, counts_of(gray, phase.mix.double().numpy()), atol=1e-3)


def test_phases_of_pixels_with_the_correlation_of_the_paper_are_uncorrelated() -> None:
    mix = PhaseHistograms(SIZE).mix.double().numpy()
    unit = np.eye(WINDOW * WINDOW).reshape(-1, WINDOW, WINDOW)
    phases = np.stack([phases_of(pixel) for pixel in unit], axis=1)
    y, x = np.divmod(np.arange(WINDOW * WINDOW), WINDOW)
    pixels = 0.9 ** np.hypot(y[:, None] - y, x[:, None] - x)
    np.testing.assert_allclose(mix @ mix.T, np.eye(8), atol=1e-6)
    covariance = mix @ phases @ pixels @ phases.T @ mix.T
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-6 * covariance.max())


@pytest.mark.parametrize("size", [28, 31])
def test_ridges_equal_a_slow_transcription(size: int) -> None:
    gray, cells, directions = gray_of(pictures(1, size)[0]), RIDGE_CELLS, RIDGE_DIRECTIONS
    width = size // cells
    first = (size - width * cells) // 2
    counts = np.zeros((2, directions, cells, cells))
    for row in range(width * cells):
        for column in range(width * cells):
            hessian = np.zeros((2, 2))
            for y, x, level in pixels_near(gray, (first + row, first + column), 5):
                near = level * math.exp(-(y * y + x * x) / 2) / (2 * math.pi)
                hessian += near * np.array([[x * x - 1, x * y], [x * y, y * y - 1]])
            curvatures, axes = np.linalg.eigh(hessian)
            for kind, (curvature, axis) in enumerate(((curvatures[1], axes[:, 1]), (-curvatures[0], axes[:, 0]))):
                # The direction of largest curvature has the angle 0 if it is vertical, and is half a turn if repeated.
                angle = math.atan2(axis[0] * axis[1], (axis[1] ** 2 - axis[0] ** 2) / 2) / (2 * math.pi)
                place = (angle + 0.5) * directions
                for step in (0, 1):
                    share = step + (-1) ** step * (1 - place % 1)
                    counts_here = counts[kind, (int(place) + step) % directions]
                    add_to_cells(counts_here, row, column, width, max(0, curvature) * share)
    expected = relative_of(counts.reshape(-1, cells, cells))
    found = RidgeHistograms(size)(torch.from_numpy(gray[None]).float()).double().numpy()
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-3)


def test_gabor_wavelets_equal_a_slow_transcription() -> None:
    size, cells = 23, GABOR_CELLS
    gray, places = gray_of(pictures(1, size)[0]), size // 2
    width = places // cells
    first = (places - width * cells) // 2
    counts = np.zeros((len(WAVELENGTHS), GABOR_DIRECTIONS, cells, cells))
    for number, wavelength in enumerate(WAVELENGTHS):
        width_of = 0.56 * wavelength
        for row in range(width * cells):
            for column in range(width * cells):
                near = np.array(pixels_near(gray, (2 * (first + row) + 0.5, 2 * (first + column) + 0.5), 48))
                y, x, levels = near.T
                envelope = np.exp(-(y * y + x * x) / (2 * width_of**2)) / (2 * math.pi * width_of**2)
                for plane, direction in enumerate((0, 1, -1, 2, -2, 3, -3, 4)):
                    angle = direction * math.pi / GABOR_DIRECTIONS
                    wave = np.exp(2j * math.pi / wavelength * (x * math.cos(angle) + y * math.sin(angle)))
                    wavelet = envelope * (wave - (envelope * wave).sum() / envelope.sum())
                    add_to_cells(counts[number, plane], row, column, width, abs((levels * wavelet).sum()))
    expected = relative_of(counts.reshape(-1, cells, cells))
    found = GaborHistograms(size)(torch.from_numpy(gray[None]).float()).double().numpy()
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-3)


def test_brightness_and_contrast_change_little() -> None:
    network, faces = FaceHistograms(SIZE), pictures()
    for ours, theirs in zip(
        *(network(x).split(network.lengths, dim=1) for x in (faces, 0.5 * faces + 0.2)), strict=True
    ):
        assert (ours - theirs).norm() < 0.05 * ours.norm()


def test_a_shift_of_a_pixel_changes_less_than_another_face() -> None:
    smooth = torch.nn.functional.avg_pool2d(pictures(2, 120), 5, stride=1)
    network = FaceHistograms(112)
    faces, shifted = smooth[:, :, :112, :112], smooth[:, :, 1:113, 1:113]
    for ours, theirs in zip(*(network(x).split(network.lengths, dim=1) for x in (faces, shifted)), strict=True):
        assert (ours - theirs).norm() < 0.6 * (ours[0] - ours[1]).norm()


def test_an_even_area_has_one_code_and_hardly_any_lines() -> None:
    network = FaceHistograms(SIZE)
    phase, ridges, waves = network(torch.full((1, 3, SIZE, SIZE), 0.3)).split(network.lengths, dim=1)
    codes = phase.reshape(-1, CODES)
    assert (codes[:, 0] > 0).all() and not codes[:, 1:].any()
    assert ridges.max() < 0.1 and waves.max() < 0.1


def test_bf16_changes_nothing() -> None:
    network = FaceHistograms(SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(pictures())
    assert rounded.dtype == torch.float32 and torch.equal(rounded, network(pictures()))


def test_it_has_no_weights() -> None:
    network = FaceHistograms(112)
    assert not list(network.parameters()) and not network.state_dict()
