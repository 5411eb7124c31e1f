"""Crops that are useless for training: without a face, with two, or blurred."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.faces.quality import MIN_SHARPNESS, measure_quality
from faceclr_cli.core.faces.yunet import YuNet
from faceclr_cli.core.workers.capacity import cores

Junk = Literal["no-face", "two-faces", "blurred", "unreadable"]

_SECOND_SCORE, _SECOND_SIZE = 0.8, 0.5
"""Minimum score of a second face, and its width relative to the first. None of 600 crops of single faces has one."""
_AT_ONCE = 512


def find_junk(faces: FaceFolder, reporter: Reporter) -> dict[int, Junk]:
    """Runs the detector on each crop, and measures its sharpness.

    Returns:
        The reason why a crop is useless, by its place in the folder.
    """
    places = track(range(len(faces)), reporter, "looking for junk", total=len(faces), unit="faces")
    found = dict[int, Junk]()
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for place, what in _in_order(pool, faces, places):
            if what is not None:
                found[place] = what
    return found


def _in_order(pool: ThreadPoolExecutor, faces: FaceFolder, places: Iterator[int]) -> Iterator[tuple[int, Junk | None]]:
    own = threading.local()  # A detector is not thread-safe.

    def look(place: int) -> Junk | None:
        if not hasattr(own, "detector"):
            own.detector = YuNet()
        try:
            crop = decode_picture(faces.read(place), faces.paths[place])
        except DataError:
            return "unreadable"
        return _judge(own.detector, crop)

    while some := list(islice(places, _AT_ONCE)):
        yield from zip(some, pool.map(look, some), strict=True)


def _judge(detector: YuNet, crop: NDArray[np.uint8]) -> Junk | None:
    found = detector.detect(crop)
    if not found:
        return "no-face"
    widths = sorted((face.box[2] for face in found if face.score >= _SECOND_SCORE), reverse=True)
    if len(widths) > 1 and widths[1] >= _SECOND_SIZE * widths[0]:
        return "two-faces"
    return "blurred" if measure_quality(crop, None).sharpness < MIN_SHARPNESS else None
