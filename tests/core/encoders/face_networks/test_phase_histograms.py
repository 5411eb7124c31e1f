"""Local phase quantization: against a slow transcription, and what the features ignore."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceclr_cli.core.encoders.face_networks.phase_histograms import CELLS, WINDOWS, PhaseHistograms

SIZE = 40
FREQUENCIES = ((0, 1), (1, 0), (1, 1), (1, -1))


def pictures(count: int = 2, size: int = SIZE, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def counts_of(picture: torch.Tensor, window: int) -> NDArray[np.float64]:
    """The counts of one window, pixel by pixel with complex numbers. Shape: (CELLS, CELLS, 256)."""
    rgb = picture.permute(1, 2, 0).double().numpy() * 127.5
    gray = rgb @ np.array([0.299, 0.587, 0.114])
    size = len(gray)
    cell = (size - max(WINDOWS) + 1) // CELLS
    first, half = (size - cell * CELLS) // 2, window // 2
    places = np.arange(window) - half
    counts = np.zeros((CELLS, CELLS, 256))
    for row in range(cell * CELLS):
        for column in range(cell * CELLS):
            y, x = first + row, first + column
            part = gray[y - half : y + half + 1, x - half : x + half + 1]
            code = 0
            for number, (down, across) in enumerate(FREQUENCIES):
                wave = np.exp(-2j * np.pi * (down * places[:, None] + across * places[None, :]) / window)
                value = (part * wave).sum() / window**2
                code += (int(value.real > 1e-3) << 2 * number) + (int(value.imag > 1e-3) << 2 * number + 1)
            counts[row // cell, column // cell, code] += 1
    return counts


@pytest.mark.parametrize("size", [SIZE, 41])
def test_it_counts_the_codes_of_a_slow_transcription(size: int) -> None:
    (picture,) = pictures(1, size)
    found = PhaseHistograms(size)(picture[None]).double().numpy().reshape(len(WINDOWS), CELLS, CELLS, 256)
    for window, features in zip(WINDOWS, found, strict=True):
        np.testing.assert_allclose(features**2, counts_of(picture, window), atol=1e-3)


def test_brightness_and_contrast_change_nothing() -> None:
    network, faces = PhaseHistograms(SIZE), pictures()
    assert (network(0.5 * faces + 0.2) != network(faces)).float().mean() < 1e-3


def test_an_even_area_has_one_code() -> None:
    even = PhaseHistograms(SIZE)(torch.full((1, 3, SIZE, SIZE), 0.3)).reshape(-1, 256)
    assert (even[:, 0] > 0).all() and not even[:, 1:].any()


def test_bf16_changes_nothing() -> None:
    network = PhaseHistograms(SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(pictures())
    assert rounded.dtype == torch.float32 and torch.equal(rounded, network(pictures()))


def test_it_has_no_weights() -> None:
    network = PhaseHistograms(112)
    assert not list(network.parameters()) and not network.state_dict()
