from __future__ import annotations

import numpy as np

from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.pixels import PixelsEncoder


def _crops(count: int, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, (count, 112, 112, 3), np.uint8)


def test_embeddings_are_unit_rows_without_a_mean() -> None:
    encoder: Encoder = PixelsEncoder()
    rows = encoder.embed(_crops(4))
    assert rows.shape == (4, 3072)
    assert encoder.dim == 3072
    assert encoder.calibration is None
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-5)


def test_brightness_and_contrast_don_t_count() -> None:
    crop = np.repeat(np.repeat(_crops(1, 100)[:, ::14, ::14], 14, axis=1), 14, axis=2)
    one, other = PixelsEncoder().embed(np.concatenate([crop, crop * 2 + 30]))
    assert one @ other > 0.9999


def test_similarity_is_the_correlation_of_averaged_pixels() -> None:
    crops = np.repeat(np.repeat(_crops(2)[:, :16, :16], 7, axis=1), 7, axis=2)
    one, other = PixelsEncoder().embed(crops)
    # Blocks of 3.5 pixels: each block of 7 becomes two by two.
    expected = np.corrcoef(*(np.repeat(np.repeat(c[::7, ::7], 2, axis=0), 2, axis=1).ravel() for c in crops))[0, 1]
    assert abs(one @ other - expected) < 0.005


def test_a_crop_of_one_color_is_like_nothing() -> None:
    assert not PixelsEncoder().embed(np.full((1, 112, 112, 3), 77, np.uint8)).any()
