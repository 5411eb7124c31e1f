"""Check of pictures that the user declares as aligned crops."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

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

T = TypeVar("T")

_SAMPLE = 48
_FEWEST = 8
"""Minimum number of detected faces for a conclusion."""

_LIMIT = 0.06
"""Maximum distance of the landmarks from the template, as a share of the crop's side: the mean over the landmarks and
the median over a sample of crops. It is 0.036 to 0.037 on ArcFace crops of several sources, 0.098 on loosely cropped
press photos, and 0.131 on LFW's original pictures."""


def require_arcface(pictures: Sequence[T], read: Callable[[T], NDArray[np.uint8]], origin: str, advice: str) -> None:
    """Detects landmarks on a sample of pictures and compares them with the ArcFace template.

    Args:
        pictures: The pictures.
        read: Decodes a picture: RGB, 0-255. Shape: (height, width, 3). Pictures for which it raises a DataError are
            skipped.
        origin: Name of their source in errors.
        advice: What to do if the check fails.

    Raises:
        ConfigError: The landmarks are too far from the template.
    """
    detector, known = YuNet(), _known_distances()
    distances = []
    for picture in pictures[:: max(1, len(pictures) // _SAMPLE)]:
        try:
            image = read(picture)
            digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
            if digest not in known:
                known[digest] = _distance(detector, image)
        except (DataError, cv2.error):
            continue  # The command reports these pictures.
        distance = known[digest]
        if distance is not None:
            distances.append(distance)
    if len(distances) >= _FEWEST and statistics.median(distances) > _LIMIT:
        raise ConfigError(
            f"{origin}: these are not ArcFace crops: on {len(distances)} pictures, the landmarks are "
            f"{statistics.median(distances):.0%} of the side away from the template (aligned crops: 4%); {advice}"
        )


def read_sample_picture(item: CropJob) -> NDArray[np.uint8]:
    """Reads and decodes the picture of a job.

    Returns:
        RGB, 0-255. Shape: (height, width, 3).

    Raises:
        DataError: The picture cannot be read or decoded.
    """
    return decode_picture(_content(item), item.source)


def _content(item: CropJob) -> bytes:
    if item.refused is not None:
        raise DataError(item.refused)
    if item.member is None:
        if not item.source.is_file():
            raise DataError("not a regular file")  # reading a pipe could block forever
        return read_bytes(item.source)
    with Archive(item.source) as archive:
        return archive.read(item.member)


@cache
def _known_distances() -> dict[bytes, float | None]:
    """The result of `_distance` by the digest of the picture, because commands open the same container repeatedly."""
    return {}


def _distance(detector: YuNet, image: NDArray[np.uint8]) -> float | None:
    """Returns the mean distance of the landmarks from the template as a share of the side; None without a face."""
    height, width = image.shape[:2]
    side = max(height, width)
    picture = Face(box=(0.0, 0.0, float(width), float(height)), landmarks=None, score=1.0)
    crop = Alignment(method="box", margin=0.0, size=side).cut(image, picture)  # as `prepare` would crop it
    # The detector needs a margin around a face that fills the picture.
    edge = side // 2
    wider = np.asarray(cv2.copyMakeBorder(crop, edge, edge, edge, edge, cv2.BORDER_REPLICATE), np.uint8)
    faces = detector.detect(wider)
    if not faces or faces[0].landmarks is None:
        return None
    return float(np.hypot(*(faces[0].landmarks - edge - template(side)).T).mean() / side)
