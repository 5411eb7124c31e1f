"""The YuNet detector, run by OpenCV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.align import tilt
from faceclr_cli.core.faces.detect import LONG_SIDE, Face, resize_for_detection
from faceclr_cli.core.faces.detection_views import TURNS, WITH_BORDER, View, turned_regions
from faceclr_cli.core.faces.weights import YUNET

_SHORTEST_LONG_SIDE = 256
"""Smaller pictures are enlarged to this: YuNet misses most faces below 32 pixels otherwise, and places the
landmarks of faces that fill a small picture worse. It costs nothing up to 256, which LFW's 250 are padded to."""

_SHORTEST_SIDE = 64
"""Narrower pictures get a black margin: in strips of up to 32 pixels OpenCV's YuNet sees a face of score 1 anywhere."""

_SURE = 0.91
"""Of 710 upright photographs the surest face scores less on 5%, and of their copies that are upside down on 99%."""

_CERTAIN = 0.92
"""Score that no face reaches upside down, so that no other turn needs to be looked at."""

_LEVEL = 12.0
"""Degrees. On 97% of those upright photographs the landmarks say that the head is tilted by less."""

_UNLIKELY = 0.8
"""Score of an upright face that only 0.5% stay below."""

_BELIEVED = 0.86
"""Least score of a face that only another view shows. Upright faces score more on 99.5%, pieces of faces less."""

_SURER = 0.01
"""By how much another turn must be surer to be preferred."""

_REGION = 128
"""Pixels: side of the square around a face in which turns are compared."""


class YuNet:
    """Boxes and five landmarks (Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023).

    YuNet was trained on upright faces, and takes one that is upside down for an upright one of a lower score. So where
    it is unsure, or gives landmarks of a tilted head, the surroundings of the face are also looked at turned, and the
    surest turn counts. Where it finds nothing, the whole photograph is looked at turned, and then with a border.

    Args:
        min_score: Faces that it is less sure of are left out.

    Raises:
        ModelError: The weights are missing or not the expected ones.
    """

    # On pictures of another size it finds landmarks a little elsewhere, so the sizes belong to its name.
    name = f"yunet {_SHORTEST_LONG_SIDE}-{LONG_SIDE}"
    digest = YUNET.short_digest

    def __init__(self, min_score: float | None = None) -> None:
        self._limit = 0.6 if min_score is None else min_score
        self._network = _load(self._limit)

    @cached_property
    def _network_of_regions(self) -> cv2.FaceDetectorYN:
        # A network of its own, since OpenCV builds one anew whenever the size of its pictures changes.
        return _load(self._limit)

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """The faces of a picture, the surest first; see `Detector.detect`."""
        image, back = resize_for_detection(image, _SHORTEST_LONG_SIDE, LONG_SIDE)
        plain = [_face(row, back) for row in _look(self._network, image)]
        if not plain:
            return self._surest(image, back, map(View, TURNS)) or self._surest(image, back, WITH_BORDER)
        if plain[0].score >= _SURE and abs(tilt(plain[0])) <= _LEVEL:
            return plain
        turns = self._turns(image, _stretched(plain[0], np.float32(1) / back))
        return self._surest(image, back, map(View, turns), plain[0].score) or plain

    def _turns(self, image: NDArray[np.uint8], face: Face) -> Sequence[int]:
        """The turn in which it is surest of a face, none where that is upright, or all where it is sure in none."""
        scores: dict[int, float] = {}
        asked = TURNS if face.score < _SURE else (45 if tilt(face) > 0 else 315,)
        for turn, part in turned_regions(image, face, _REGION, (0, *asked)):
            faces = [_face(row, np.ones(2, np.float32)) for row in _look(self._network_of_regions, part)]
            scores[turn] = faces[0].score if faces else 0.0
            if turn == 0 and scores[turn] >= _CERTAIN and abs(tilt(faces[0])) <= _LEVEL:
                return []
        best = max(scores, key=lambda turn: scores[turn])
        if scores[best] >= _BELIEVED:
            return [best] if scores[best] >= scores[0] + _SURER else []
        # Perhaps it is not a face, and there is one elsewhere.
        return TURNS if face.score < _UNLIKELY else []

    def _surest(
        self, image: NDArray[np.uint8], back: NDArray[np.float32], views: Iterable[View], least: float = 0.0
    ) -> list[Face]:
        """The faces of the view that shows the surest one; none where none is sure enough, or surer than `least`."""
        best: list[Face] = []
        for view in views:
            seen = view.of(image, _SHORTEST_LONG_SIDE, LONG_SIDE)
            found = [_face(row, np.ones(2, np.float32)) for row in _look(self._network, seen.pixels)]
            if found and found[0].score >= (best[0].score + _SURER if best else max(_BELIEVED, least)):
                best = [_stretched(seen.in_picture(face), back) for face in found]
        return best


def _load(limit: float) -> cv2.FaceDetectorYN:
    weights, no_config = np.frombuffer(YUNET.read(), np.uint8), np.empty(0, np.uint8)
    return cv2.FaceDetectorYN.create("onnx", weights, no_config, (LONG_SIDE, LONG_SIDE), limit)


def _look(network: cv2.FaceDetectorYN, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """The rows that the network gives for a picture that has the right size, the surest first."""
    seen = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if min(seen.shape[:2]) < _SHORTEST_SIDE:
        bottom, right = (max(0, _SHORTEST_SIDE - side) for side in seen.shape[:2])
        seen = cv2.copyMakeBorder(seen, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    network.setInputSize((seen.shape[1], seen.shape[0]))
    _, found = network.detect(seen)
    if found is None:
        return []
    return sorted((row for row in np.asarray(found, np.float32) if _is_sound(row)), key=lambda row: -row[14])


def _stretched(face: Face, by: NDArray[np.float32]) -> Face:
    left, top, width, height = (float(value) for value in face.box * np.tile(by, 2))
    landmarks = None if face.landmarks is None else face.landmarks * by
    return replace(face, box=(left, top, width, height), landmarks=landmarks)


def _is_sound(row: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(row).all() and np.ptp(row[4:14:2]) > 0 and np.ptp(row[5:14:2]) > 0)


def _face(row: NDArray[np.float32], back: NDArray[np.float32]) -> Face:
    # x, y, width, height, then five landmarks, then the score.
    left, top, width, height = (float(value) for value in row[:4] * np.tile(back, 2))
    return Face(box=(left, top, width, height), landmarks=row[4:14].reshape(5, 2) * back, score=float(row[14]))
