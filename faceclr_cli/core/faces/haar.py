"""The Haar cascade of OpenCV: boxes without landmarks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.detect import LONG_SIDE, Face, resize_for_detection

_CASCADE = "haarcascade_frontalface_default.xml"
_SMALLEST = (24, 24)  # window size of the cascade
_STEP = 1.1


class Haar:
    """Detects frontal faces as boxes (Viola & Jones, CVPR 2001; cascade by R. Lienhart).

    The cascade gives no probability. The score is n / (n + 1) for n overlapping detections, for example 0.8 for four.

    Args:
        min_score: Minimum score of a face; None for 0.8.

    Raises:
        ModelError: This OpenCV has no cascade.
    """

    name = f"haar {LONG_SIDE}"

    def __init__(self, min_score: float | None = None) -> None:
        self.digest = cascade_digest()
        limit = 0.8 if min_score is None else min_score
        self._neighbors = 10**6 if limit >= 1 else max(1, round(limit / (1 - limit)))
        self._cascade = cv2.CascadeClassifier(str(_path()))

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Returns the faces of a picture, by descending score; see `Detector.detect`."""
        image, back = resize_for_detection(image, max(_SMALLEST), LONG_SIDE)
        gray = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        boxes, votes = self._cascade.detectMultiScale2(
            gray, scaleFactor=_STEP, minNeighbors=self._neighbors, minSize=_SMALLEST
        )
        faces = []
        for box, count in zip(boxes, votes, strict=True):
            left, top, width, height = (float(side) for side in np.asarray(box) * np.tile(back, 2))
            faces.append(Face(box=(left, top, width, height), landmarks=None, score=float(count / (count + 1))))
        return sorted(faces, key=lambda face: (-face.score, -face.area))


@lru_cache(maxsize=1)
def cascade_digest() -> str:
    """Returns the first 16 digits of the SHA-256 of the cascade.

    Raises:
        ModelError: This OpenCV has no cascade.
    """
    return digest_file(_path())[:16]


def _path() -> Path:
    path = Path(cv2.__file__).parent / "data" / _CASCADE
    if not path.is_file():
        raise ModelError(
            f"{path}: this OpenCV has no Haar cascades; run: pip install 'opencv-python-headless>=4.13,<5'"
        )
    return path
