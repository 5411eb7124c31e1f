"""The built-in encoder `pixels`: raw pixels, a baseline for trained encoders."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.metrics.normalization import normalize_rows

_CROP = 112
_SIDE = 32
_RECIPE = f"area-{_SIDE}x{_SIDE}-rgb, mean removed"


class PixelsEncoder:
    """The crop itself, downscaled to 32x32 by averaging, with its mean subtracted and L2-normalized.

    The similarity of two crops is the correlation of their pixels, so it is invariant to global brightness and
    contrast. It has no calibration, since no threshold on it is meaningful.
    """

    name = "pixels"
    dim = _SIDE * _SIDE * 3
    digest = hashlib.sha256(_RECIPE.encode()).hexdigest()
    calibration = None
    trained_on = None
    fills_cores = False
    has_norms = True

    def __init__(self) -> None:
        self.fingerprint: Fingerprint = replace(default_fingerprint(_CROP), channels="rgb", normalization=_RECIPE)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `Encoder.embed`. The embedding of a crop of one color is zero."""
        return normalize_rows(self.embed_unnormalized(crops))

    def embed_unnormalized(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `UnnormalizedEncoder.embed_unnormalized`. The norm is that of the contrast."""
        if crops.ndim != 4 or crops.shape[1:] != (_CROP, _CROP, 3) or crops.dtype != np.uint8:
            raise ValueError(f"pixels takes 8-bit crops of (batch_size, {_CROP}, {_CROP}, 3), not {crops.shape}")
        small = np.empty((len(crops), self.dim), np.float32)
        for row, crop in zip(small, crops, strict=True):
            row[:] = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).reshape(-1)
        small -= small.mean(axis=1, keepdims=True)
        return small
