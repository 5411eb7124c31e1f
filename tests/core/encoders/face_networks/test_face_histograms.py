"""Histograms of phase and of gradients: against slow transcriptions, and what the features ignore."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceclr_cli.core.encoders.face_networks.face_histograms import (
    CODES,
    DIRECTIONS,
    GRADIENT_CELLS,
    PHASE_CELLS,
    WINDOWS,
    FaceHistograms,
    GradientHistograms,
    PhaseHistograms,
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


def counts_of(gray: NDArray[np.float64], window: int, mix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted counts of one window, pixel by pixel. Shape: (PHASE_CELLS, PHASE_CELLS, 256)."""
    size, parts = len(gray), 2 * PHASE_CELLS
    part = (size - max(WINDOWS) + 1) // parts
    first, half = (size - part * parts) // 2, window // 2
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


@pytest.mark.parametrize("size", [SIZE, 41])
def test_phase_counts_the_codes_of_a_slow_transcription(size: int) -> None:
    gray = gray_of(pictures(1, size)[0])
    phase = PhaseHistograms(size)
    found = phase(torch.from_numpy(gray[None]).float()).double().numpy()
    for window, features in zip(WINDOWS, found.reshape(len(WINDOWS), PHASE_CELLS, PHASE_CELLS, CODES), strict=True):
        mix = getattr(phase, f"mix_{window}").double().numpy()
        np.testing.assert_allclose(features**2, counts_of(gray, window, mix), atol=1e-3)


@pytest.mark.parametrize("window", WINDOWS)
def test_phases_of_pixels_with_the_correlation_of_the_paper_are_uncorrelated(window: int) -> None:
    mix = getattr(PhaseHistograms(SIZE), f"mix_{window}").double().numpy()
    unit = np.eye(window * window).reshape(-1, window, window)
    phases = np.stack([phases_of(pixel) for pixel in unit], axis=1)
    y, x = np.divmod(np.arange(window * window), window)
    pixels = 0.9 ** np.hypot(y[:, None] - y, x[:, None] - x)
    np.testing.assert_allclose(mix @ mix.T, np.eye(8), atol=1e-6)
    covariance = mix @ phases @ pixels @ phases.T @ mix.T
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-6 * covariance.max())


@pytest.mark.parametrize("size", [SIZE, 45])
def test_gradients_equal_a_slow_transcription(size: int) -> None:
    gray, cells = gray_of(pictures(1, size)[0]), GRADIENT_CELLS
    width = (size - 2) // cells
    first = 1 + (size - 2 - width * cells) // 2
    counts = np.zeros((DIRECTIONS, cells, cells))
    for row in range(width * cells):
        for column in range(width * cells):
            y, x = first + row, first + column
            gradient = complex(gray[y, x + 1] - gray[y, x - 1], gray[y + 1, x] - gray[y - 1, x])
            angle = (math.atan2(gradient.imag, gradient.real) / (2 * math.pi) + 0.5) * DIRECTIONS
            down, across = ((place + 0.5) / width - 0.5 for place in (row, column))
            for step in (0, 1):
                share = step + (-1) ** step * (1 - angle % 1)
                for i in range(cells):
                    for j in range(cells):
                        near = max(0, 1 - abs(down - i)) * max(0, 1 - abs(across - j))
                        counts[(int(angle) + step) % DIRECTIONS, i, j] += abs(gradient) * share * near
    expected = np.empty_like(counts)
    energy = (counts**2).sum(axis=0)
    for i in range(cells):
        for j in range(cells):
            around = energy[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean()
            expected[:, i, j] = np.sqrt(np.minimum(1, counts[:, i, j] / (math.sqrt(around) + 1)))
    found = GradientHistograms(size)(torch.from_numpy(gray[None]).float()).double().numpy()
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


def test_an_even_area_has_one_code_and_no_gradients() -> None:
    network = FaceHistograms(SIZE)
    phase, gradients = network(torch.full((1, 3, SIZE, SIZE), 0.3)).split(network.lengths, dim=1)
    codes = phase.reshape(-1, CODES)
    assert (codes[:, 0] > 0).all() and not codes[:, 1:].any() and not gradients.any()


def test_bf16_changes_nothing() -> None:
    network = FaceHistograms(SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(pictures())
    assert rounded.dtype == torch.float32 and torch.equal(rounded, network(pictures()))


def test_it_has_no_weights() -> None:
    network = FaceHistograms(112)
    assert not list(network.parameters()) and not network.state_dict()
