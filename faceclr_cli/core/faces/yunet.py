"""The YuNet face detector, run by OpenCV."""

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
"""Minimum long side; smaller pictures are enlarged. Otherwise YuNet misses most faces below 32 pixels, and its
landmarks on faces that fill a small picture are less accurate. There is no cost up to 256, to which LFW's 250 pixels
are padded."""

_SHORTEST_SIDE = 64
"""Minimum short side; narrower pictures are padded. In strips of up to 32 pixels, OpenCV's YuNet returns false faces
with score 1."""

_SURE = 0.91
"""Of 710 upright photographs, 5% have a lower best score; of their upside-down copies, 99%."""

_CERTAIN = 0.92
"""Score that no upside-down face reaches, so that other rotations need not be tried."""

_LEVEL = 12.0
"""Degrees. In 97% of these upright photographs, the tilt of the head according to the landmarks is lower."""

_UNLIKELY = 0.8
"""Score below which only 0.5% of upright faces fall."""

_BELIEVED = 0.86
"""Minimum score of a face that is found only in another view. 99.5% of upright faces have a higher score; parts of
faces have a lower one."""

_TRACE = 0.05
"""Minimum score of a trace of a face, without which no other view of a picture is tried. Of 148 faces that are found
only in a turned photograph, the lowest trace is 0.08; half of 14 pictures without a face have none."""

_SURER = 0.01
"""Minimum score difference for preferring another rotation."""

_REGION = 128
"""Side in pixels of the square around a face in which rotations are compared."""


class YuNet:
    """Boxes and five landmarks (Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023).

    YuNet was trained on upright faces and detects an upside-down face as an upright one with a lower score. Therefore,
    if the score is low or the landmarks show a tilted head, it is also run on rotated surroundings of the face, and the
    rotation with the highest score is used. If it finds only a trace of a face, it is run on the rotated photograph,
    and then with a border.

    Args:
        min_score: Minimum score, or None for 0.6.

    Raises:
        ModelError: The weights are missing or damaged.
    """

    # The landmarks depend slightly on the input size, so the sizes are part of the name.
    name = f"yunet {_SHORTEST_LONG_SIDE}-{LONG_SIDE}"
    digest = YUNET.short_digest

    def __init__(self, min_score: float | None = None) -> None:
        self._limit = 0.6 if min_score is None else min_score
        self._network = _load(min(self._limit, _TRACE))

    @cached_property
    def _region_network(self) -> cv2.FaceDetectorYN:
        # A separate network, since OpenCV rebuilds a network whenever its input size changes.
        return _load(self._limit)

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Returns the faces in a picture, in order of decreasing score; see `Detector.detect`."""
        image, back = resize_for_detection(image, _SHORTEST_LONG_SIDE, LONG_SIDE)
        traces = [_face(row, back) for row in _run_network(self._network, image)]
        plain = [face for face in traces if face.score >= self._limit]
        if not traces:
            return []
        if not plain:
            return self._best_faces(image, back, map(View, TURNS)) or self._best_faces(image, back, WITH_BORDER)
        if plain[0].score >= _SURE and abs(tilt(plain[0])) <= _LEVEL:
            return plain
        turns = self._rotations_to_try(image, _scale(plain[0], np.float32(1) / back))
        return self._best_faces(image, back, map(View, turns), plain[0].score) or plain

    def _rotations_to_try(self, image: NDArray[np.uint8], face: Face) -> Sequence[int]:
        """Returns the best rotation for the face, none if it is upright, or all if no score is high."""
        scores: dict[int, float] = {}
        asked = TURNS if face.score < _SURE else (45 if tilt(face) > 0 else 315,)
        for turn, part in turned_regions(image, face, _REGION, (0, *asked)):
            faces = [_face(row, np.ones(2, np.float32)) for row in _run_network(self._region_network, part)]
            scores[turn] = faces[0].score if faces else 0.0
            if turn == 0 and scores[turn] >= _CERTAIN and abs(tilt(faces[0])) <= _LEVEL:
                return []
        best = max(scores, key=lambda turn: scores[turn])
        if scores[best] >= _BELIEVED:
            return [best] if scores[best] >= scores[0] + _SURER else []
        # This may be a false detection, and the real face may be elsewhere.
        return TURNS if face.score < _UNLIKELY else []

    def _best_faces(
        self, image: NDArray[np.uint8], back: NDArray[np.float32], views: Iterable[View], least: float = 0.0
    ) -> list[Face]:
        """Returns the faces of the view with the highest score; none if no score reaches the minimum or `least`."""
        best: list[Face] = []
        for view in views:
            seen = view.of(image, _SHORTEST_LONG_SIDE, LONG_SIDE)
            traces = [_face(row, np.ones(2, np.float32)) for row in _run_network(self._network, seen.pixels)]
            found = [face for face in traces if face.score >= self._limit]
            if found and found[0].score >= (best[0].score + _SURER if best else max(_BELIEVED, least)):
                best = [_scale(seen.in_picture(face), back) for face in found]
        return best


def _load(limit: float) -> cv2.FaceDetectorYN:
    weights, no_config = np.frombuffer(YUNET.read(), np.uint8), np.empty(0, np.uint8)
    return cv2.FaceDetectorYN.create("onnx", weights, no_config, (LONG_SIDE, LONG_SIDE), limit)


def _run_network(network: cv2.FaceDetectorYN, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Runs the network on a resized picture and returns its rows in order of decreasing score."""
    seen = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if min(seen.shape[:2]) < _SHORTEST_SIDE:
        bottom, right = (max(0, _SHORTEST_SIDE - side) for side in seen.shape[:2])
        seen = cv2.copyMakeBorder(seen, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    network.setInputSize((seen.shape[1], seen.shape[0]))
    _, found = network.detect(seen)
    if found is None:
        return []
    return sorted((row for row in np.asarray(found, np.float32) if _is_sound(row)), key=lambda row: -row[14])


def _scale(face: Face, by: NDArray[np.float32]) -> Face:
    left, top, width, height = (float(value) for value in face.box * np.tile(by, 2))
    landmarks = None if face.landmarks is None else face.landmarks * by
    return replace(face, box=(left, top, width, height), landmarks=landmarks)


def _is_sound(row: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(row).all() and np.ptp(row[4:14:2]) > 0 and np.ptp(row[5:14:2]) > 0)


def _face(row: NDArray[np.float32], back: NDArray[np.float32]) -> Face:
    # x, y, width, height, then five landmarks, then the score.
    left, top, width, height = (float(value) for value in row[:4] * np.tile(back, 2))
    return Face(box=(left, top, width, height), landmarks=row[4:14].reshape(5, 2) * back, score=float(row[14]))
