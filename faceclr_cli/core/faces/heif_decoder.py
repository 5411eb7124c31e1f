"""Decoding of HEIC pictures by the package pi-heif, an extra."""

from __future__ import annotations

import io
from importlib.util import find_spec

import cv2
import numpy as np
from numpy.typing import NDArray


def has_heif_decoder() -> bool:
    """Returns True if the extra `heif` is installed."""
    return find_spec("pi_heif") is not None


def decode_heic(data: bytes, most_pixels: int) -> NDArray[np.uint8] | None:
    """Decodes the primary picture of a HEIC file, turned and mirrored as its container specifies.

    Args:
        data: Content of the file.
        most_pixels: Maximum size of the picture.

    Returns:
        RGB, 0-255. Shape: (height, width, 3). None if the file is damaged or the picture is larger.
    """
    import pi_heif

    # As many threads as OpenCV has: a single one in worker processes, since each core has its own worker.
    pi_heif.options.DECODE_THREADS = max(1, cv2.getNumThreads())
    try:
        opened = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        width, height = opened.size
        if width * height > most_pixels:
            return None
        # Decodes the primary picture alone. A copy, because the package frees the pixels with its own object.
        image = np.array(opened)
    except (ValueError, RuntimeError, EOFError, OSError, SyntaxError, MemoryError, IndexError):
        return None
    if image.dtype != np.uint8:
        return None
    if image.ndim == 2 or image.shape[2] < 3:
        gray = image if image.ndim == 2 else image[:, :, 0]
        return np.repeat(gray[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3])
