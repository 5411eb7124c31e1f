from __future__ import annotations

import math

import torch
import torchvision.transforms.v2.functional as vision

from faceclr_cli.core.views.blur import blur, gaussian_matrices, kernel_size, sharpen
from tests.core.views.pixels import each, pictures


def test_blur_is_torchvisions_with_a_sigma_of_each_pictures_own() -> None:
    batch, sigmas = pictures(4, size=56), torch.tensor([0.2, 0.7, 1.3, 2.0])
    kernel = kernel_size(56)
    expected = each(lambda p, s: vision.gaussian_blur(p, [kernel, kernel], [float(s)] * 2), batch, sigmas)
    blurred = blur(batch, sigmas)
    torch.testing.assert_close(blurred, expected, atol=1e-5, rtol=0)
    assert blurred.is_contiguous(memory_format=torch.channels_last)


def test_blur_keeps_the_mean_of_a_line_of_one_color() -> None:
    for size in (32, 80, 112, 224):
        assert kernel_size(size) % 2 == 1 and math.isclose(kernel_size(size), size / 10, rel_tol=0.1, abs_tol=1.0)
        matrices = gaussian_matrices(torch.tensor([0.1, 2.0]), size)
        torch.testing.assert_close(matrices.sum(dim=2), torch.ones(2, size))


def test_sharpness_is_torchvisions_with_a_factor_of_each_pictures_own() -> None:
    batch, factors = pictures(5), torch.tensor([0.1, 0.5, 1.0, 1.3, 1.9])
    expected = each(lambda p, f: vision.adjust_sharpness(p, float(f)), batch, factors)
    torch.testing.assert_close(sharpen(batch, factors).clamp(0, 1), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(sharpen(batch, factors)[2], batch[2])
