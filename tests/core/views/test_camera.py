"""Effects between a face and its picture: occlusion, small sensors and compression."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from faceclr_cli.core.views.jpeg import compress
from faceclr_cli.core.views.occlusion import DRAWS, occlude
from faceclr_cli.core.views.resolution import reduce_resolution
from tests.core.views.pixels import generator, pictures


def noisy(count: int, size: int) -> torch.Tensor:
    grain = torch.randn(count, 3, size, size, generator=generator(5))
    return (pictures(count, size, 30, 220) + 8 * grain).clamp(0, 255).round()


def test_a_shape_covers_the_pixels_inside_it() -> None:
    batch, uniform = torch.zeros(12, 3, 32, 32), torch.rand(12, DRAWS, generator=generator(2))
    covered = occlude(batch, uniform)
    for picture, drawn in zip(covered, uniform.tolist(), strict=True):
        kind, x, y, width, height, angle, *color = drawn
        for row in range(32):
            for column in range(32):
                dx, dy = (2 * column + 1) / 32 - 2 * x, (2 * row + 1) / 32 - 2 * y
                along = dx * math.cos(math.pi * angle) + dy * math.sin(math.pi * angle)
                beside = dy * math.cos(math.pi * angle) - dx * math.sin(math.pi * angle)
                u, v = along / (0.15 + 0.35 * width), beside / (0.15 + 0.35 * height)
                reach = u * u + v * v if kind < 0.5 else max(abs(u), abs(v))
                if abs(reach - 1) > 1e-3:
                    expected = [2 * c - 1 for c in color] if reach < 1 else [0.0] * 3
                    assert picture[:, row, column].tolist() == pytest.approx(expected, abs=1e-5)
    assert (batch == 0).all()


def test_resolution_is_lost_as_in_pillow() -> None:
    batch, sides = noisy(5, 40), torch.tensor([8, 13, 21, 39, 40])
    reduced = reduce_resolution(batch, sides)
    assert reduced.is_contiguous(memory_format=torch.channels_last)
    for before, after, side in zip(batch, reduced, sides.tolist(), strict=True):
        for plane, result in zip(before, after, strict=True):
            picture = Image.fromarray(plane.numpy())
            small = picture.resize((side, side), Image.Resampling.BILINEAR)
            expected = np.asarray(small.resize((40, 40), Image.Resampling.BILINEAR))
            np.testing.assert_allclose(result.numpy(), expected, atol=0.01)


@pytest.mark.parametrize("size", [64, 44])
def test_compression_has_the_blocks_of_libjpeg(size: int) -> None:
    batch, qualities = noisy(4, size), torch.tensor([10.0, 30.0, 50.0, 85.0])
    compressed = compress(batch, qualities).clamp(0, 255)
    for before, after, quality in zip(batch, compressed, qualities.tolist(), strict=True):
        file = io.BytesIO()
        Image.fromarray(before.byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(quality), subsampling=0)
        expected = np.asarray(Image.open(file)).astype(float)
        change = np.abs(expected - before.permute(1, 2, 0).numpy()).mean()
        apart = np.abs(expected - after.permute(1, 2, 0).numpy()).mean()
        assert change > 2
        assert apart < 0.15 * change + 0.4
