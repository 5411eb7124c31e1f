"""The MTCNN detector of facenet-pytorch (an extra)."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.faces.detect import LONG_SIDE, Face, resize_for_detection
from faceclr_cli.core.faces.weights import MTCNN

_SMALLEST = 20  # pixels; the receptive field of the network is 12


class Mtcnn:
    """Detects boxes and five landmarks (Zhang et al., Joint Face Detection and Alignment, IEEE SPL 23(10), 2016).

    Args:
        min_score: Minimum score of a face; None for 0.9.

    Raises:
        ConfigError: The extra is not installed.
        ModelError: The weights are not the expected ones.
    """

    name = f"mtcnn {LONG_SIDE}"
    digest = hashlib.sha256("".join(weights.sha256 for weights in MTCNN).encode()).hexdigest()[:16]

    def __init__(self, min_score: float | None = None) -> None:
        try:
            import facenet_pytorch
        except ImportError as error:
            raise ConfigError(
                f"--detector mtcnn is not installed ({error}); run: pip install 'faceclr[mtcnn]'"
            ) from error
        for weights in MTCNN:
            weights.read()
        self._min_score = 0.9 if min_score is None else min_score
        self._network = facenet_pytorch.MTCNN(
            keep_all=True, select_largest=False, min_face_size=_SMALLEST, device="cpu"
        )

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Returns the faces of a picture, by descending score; see `Detector.detect`."""
        image, back = resize_for_detection(image, _SMALLEST, LONG_SIDE)
        if min(image.shape[:2]) < _SMALLEST:
            return []  # too small for a face, and the network would fail
        boxes, scores, points = self._network.detect(image, landmarks=True)
        if boxes is None:
            return []
        # Some NumPy releases return object arrays.
        corners, marks = np.asarray(boxes, np.float32), np.asarray(points, np.float32)
        faces = [
            _face(corner, float(score), mark, back)
            for corner, score, mark in zip(corners, scores, marks, strict=True)
            if score >= self._min_score
        ]
        return sorted(faces, key=lambda face: -face.score)


def _face(corners: NDArray[np.float32], score: float, marks: NDArray[np.float32], back: NDArray[np.float32]) -> Face:
    left, top, right, bottom = (float(value) for value in corners * np.tile(back, 2))
    return Face(box=(left, top, right - left, bottom - top), landmarks=marks * back, score=score)
