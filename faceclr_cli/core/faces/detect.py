"""Where the faces in a picture are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.weights import YUNET

LONG_SIDE = 640
"""Longer pictures are reduced to this before detection: YuNet loses faces larger than about 300 pixels."""

SHORTEST_LONG_SIDE = 256
"""Smaller pictures are enlarged to this: YuNet misses most faces below 32 pixels otherwise, and places the
landmarks of faces that fill a small picture worse. It costs nothing up to 256, which LFW's 250 are padded to."""


_SHORTEST_SIDE = 64
"""Narrower pictures get a black margin: in strips of up to 32 pixels OpenCV's YuNet sees a face of score 1 anywhere."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A detected face, in pixels of the full picture.

    Attributes:
        box: Left, top, width, height. It may reach beyond the picture.
        landmarks: (x, y) of the eyes, the nose tip and the mouth corners, each pair from left to right
            as seen. Shape: (5, 2).
        score: How sure the detector is, 0-1.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return self.box[2] * self.box[3]


class Detector(Protocol):
    """Finds faces."""

    @property
    def name(self) -> str:
        """What fingerprints call it."""
        ...

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """The faces of a picture, the surest first.

        Args:
            image: RGB, 0-255. Shape: (height, width, 3).
        """
        ...


class YuNet:
    """The YuNet detector, run by OpenCV.

    Args:
        min_score: Faces that it is less sure of are left out.

    Raises:
        ModelError: The weights are missing or not the expected ones.
    """

    # On pictures of another size it finds landmarks a little elsewhere, so the sizes belong to its name.
    name = f"yunet {SHORTEST_LONG_SIDE}-{LONG_SIDE}"

    def __init__(self, min_score: float = 0.6) -> None:
        weights = np.frombuffer(YUNET.read(), np.uint8)
        no_config = np.empty(0, np.uint8)
        self._network = cv2.FaceDetectorYN.create("onnx", weights, no_config, (LONG_SIDE, LONG_SIDE), min_score)

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """The faces of a picture, the surest first; see `Detector.detect`."""
        height, width = image.shape[:2]
        zoom = np.clip(max(height, width), SHORTEST_LONG_SIDE, LONG_SIDE) / max(height, width)
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        if size != (width, height):
            image = np.asarray(
                cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR), np.uint8
            )
        seen = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if min(size) < _SHORTEST_SIDE:
            right, bottom = (max(0, _SHORTEST_SIDE - side) for side in size)
            seen = cv2.copyMakeBorder(seen, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        self._network.setInputSize((seen.shape[1], seen.shape[0]))
        _, found = self._network.detect(seen)
        if found is None:
            return []
        back = np.array([width / size[0], height / size[1]], np.float32)
        faces = [_face(row, back) for row in np.asarray(found, np.float32) if _is_sound(row)]
        return sorted(faces, key=lambda face: -face.score)


def _is_sound(row: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(row).all() and np.ptp(row[4:14:2]) > 0 and np.ptp(row[5:14:2]) > 0)


def _face(row: NDArray[np.float32], back: NDArray[np.float32]) -> Face:
    # x, y, width, height, then five landmarks, then the score.
    left, top, width, height = (float(value) for value in row[:4] * np.tile(back, 2))
    return Face(box=(left, top, width, height), landmarks=row[4:14].reshape(5, 2) * back, score=float(row[14]))


def largest(faces: Sequence[Face]) -> Face:
    """The face with the largest box, of equals the surest.

    Raises:
        ValueError: There is none.
    """
    return max(faces, key=lambda face: (face.area, face.score))
