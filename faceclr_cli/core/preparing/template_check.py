"""Whether pictures that are said to be aligned crops look like it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.align import Alignment, template
from faceclr_cli.core.faces.decode import decode_picture, read_bytes
from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.faces.yunet import YuNet
from faceclr_cli.core.preparing.photo_worker import CropJob
from faceclr_cli.core.sources.archive import Archive

_SAMPLE = 48
_FEWEST = 8
"""From fewer faces nothing is concluded."""

_LIMIT = 0.06
"""Mean distance of the landmarks from the template, as a share of the crop's side, on the crop in the middle of
a sample. On ArcFace crops of several sources it is 0.036 to 0.037, on loosely cropped press photographs 0.098, on LFW's
own uncropped pictures 0.131."""


def require_arcface(work: Sequence[CropJob], origin: str) -> None:
    """Looks for the landmarks on a few dozen of the pictures.

    Args:
        work: The pictures.
        origin: What to call their source in errors.

    Raises:
        ConfigError: They lie too far from the ArcFace template.
    """
    detector = YuNet()
    distances = []
    for item in work[:: max(1, len(work) // _SAMPLE)]:
        try:
            distance = _distance(detector, decode_picture(_content(item), item.source))
        except (DataError, cv2.error):
            continue  # `prepare` will say so of each
        if distance is not None:
            distances.append(distance)
    if len(distances) >= _FEWEST and statistics.median(distances) > _LIMIT:
        raise ConfigError(
            f"{origin}: --assume arcface does not hold: on {len(distances)} of these pictures the landmarks lie "
            f"{statistics.median(distances):.0%} of the side from the template (aligned crops: 4%); "
            "leave --detector none out, or --assume"
        )


def _content(item: CropJob) -> bytes:
    if item.refused is not None:
        raise DataError(item.refused)
    if item.member is None:
        if not item.source.is_file():
            raise DataError("not a regular file")  # a pipe would be waited for
        return read_bytes(item.source)
    with Archive(item.source) as archive:
        return archive.read(item.member)


def _distance(detector: YuNet, image: NDArray[np.uint8]) -> float | None:
    """Mean distance of the landmarks from the template, as a share of the side; None where no face is seen."""
    height, width = image.shape[:2]
    side = max(height, width)
    picture = Face(box=(0.0, 0.0, float(width), float(height)), landmarks=None, score=1.0)
    crop = Alignment(method="box", margin=0.0, size=side).cut(image, picture)  # as it is going to be
    # The detector wants to see more than a face that fills the picture.
    edge = side // 2
    wider = np.asarray(cv2.copyMakeBorder(crop, edge, edge, edge, edge, cv2.BORDER_REPLICATE), np.uint8)
    faces = detector.detect(wider)
    if not faces or faces[0].landmarks is None:
        return None
    return float(np.hypot(*(faces[0].landmarks - edge - template(side)).T).mean() / side)
