"""SFace run by OpenCV: the network of the built-in encoder, and of the tracks in films."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.weights import SFACE

_DIM = 128


def read_sface() -> cv2.dnn.Net:
    """Loads the network.

    Raises:
        ModelError: The weights are missing, or their digest is not the pinned one.
    """
    weights = SFACE.read()
    try:
        return cv2.dnn.readNetFromONNX(np.frombuffer(weights, np.uint8))
    except cv2.error as error:
        raise ModelError(f"OpenCV {cv2.__version__} cannot load SFace ({error.err}); install 4.13 or later") from error


def run_sface(network: cv2.dnn.Net, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeds crops that are aligned to the arcface template.

    Args:
        network: From `read_sface`.
        crops: RGB, 0-255. Shape: (batch_size, 112, 112, 3).

    Returns:
        Embeddings that are not normalized. Shape: (batch_size, 128).
    """
    embeddings = np.empty((len(crops), _DIM), np.float32)
    # One crop at a time: OpenCV returns garbage for batches of this network.
    for row, crop in zip(embeddings, crops, strict=True):
        # The same as cv2.FaceRecognizerSF, which cannot load weights from memory in all builds.
        network.setInput(cv2.dnn.blobFromImage(crop))
        row[:] = network.forward()[0]
    return embeddings
