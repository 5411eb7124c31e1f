"""The YuNet detector, run by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.detect import LONG_SIDE, Face, resize_for_detection
from faceclr_cli.core.faces.weights import YUNET

_SHORTEST_LONG_SIDE = 256
"""Smaller pictures are enlarged to this: YuNet misses most faces below 32 pixels otherwise, and places the
landmarks of faces that fill a small picture worse. It costs nothing up to 256, which LFW's 250 are padded to."""

_SHORTEST_SIDE = 64
"""Narrower pictures get a black margin: in strips of up to 32 pixels OpenCV's YuNet sees a face of score 1 anywhere."""


class YuNet:
    """Boxes and five landmarks (Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023).

    Args:
        min_score: Faces that it is less sure of are left out.

    Raises:
        ModelError: The weights are missing or not the expected ones.
    """

    # On pictures of another size it finds landmarks a little elsewhere, so the sizes belong to its name.
    name = f"yunet {_SHORTEST_LONG_SIDE}-{LONG_SIDE}"
    digest = YUNET.short_digest

    def __init__(self, min_score: float | None = None) -> None:
        weights = np.frombuffer(YUNET.read(), np.uint8)
        no_config, size = np.empty(0, np.uint8), (LONG_SIDE, LONG_SIDE)
        limit = 0.6 if min_score is None else min_score
        self._network = cv2.FaceDetectorYN.create("onnx", weights, no_config, size, limit)

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """The faces of a picture, the surest first; see `Detector.detect`."""
        image, back = resize_for_detection(image, _SHORTEST_LONG_SIDE, LONG_SIDE)
        seen = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if min(seen.shape[:2]) < _SHORTEST_SIDE:
            bottom, right = (max(0, _SHORTEST_SIDE - side) for side in seen.shape[:2])
            seen = cv2.copyMakeBorder(seen, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        self._network.setInputSize((seen.shape[1], seen.shape[0]))
        _, found = self._network.detect(seen)
        if found is None:
            return []
        faces = [_face(row, back) for row in np.asarray(found, np.float32) if _is_sound(row)]
        return sorted(faces, key=lambda face: -face.score)


def _is_sound(row: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(row).all() and np.ptp(row[4:14:2]) > 0 and np.ptp(row[5:14:2]) > 0)


def _face(row: NDArray[np.float32], back: NDArray[np.float32]) -> Face:
    # x, y, width, height, then five landmarks, then the score.
    left, top, width, height = (float(value) for value in row[:4] * np.tile(back, 2))
    return Face(box=(left, top, width, height), landmarks=row[4:14].reshape(5, 2) * back, score=float(row[14]))
