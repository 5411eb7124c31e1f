"""What makes a verdict about a face doubtful: the detector is unsure, or it is small, blurred or turned."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.align import ARCFACE, TEMPLATE_SIZE
from faceclr_cli.core.faces.crop import AlignedFace
from faceclr_cli.core.faces.detect import Face

_LEAST_SURE = 0.8
"""YuNet is surer of 99.8% of 710 faces of LFW and press photographs."""
_FEWEST_PIXELS = 20.0
"""Between the eyes. SFace's scores of one person's photographs don't change until they are shrunk below this."""
_LEAST_SHARP = 20.0
"""A Gaussian blur of 1.5 pixels of the crop leaves about this, from where scores of one person's photographs sink."""
_MOST_TURNED = 30.0
"""Degrees, as `_seen_from` estimates them."""

_NOSE_DEPTH = 0.63
"""How far the nose tip lies before the eyes, in distances between the eyes: 3.94 / 6.30 cm in MediaPipe's canonical
face model, where an eye lies as deep as its corners and lids (mean of vertices 33, 133, 145 and 159) and midway between
its corners, and the nose tip is vertex 4."""
_BOX_TO_EYES = 2.6
"""Width of the box that Haar finds over the distance between the eyes; median of 100 photographs of LFW."""


def doubts(face: AlignedFace) -> tuple[str, ...]:
    """Notes on what of a face calls for care with a verdict about it; none on a good one.

    Limits were set where SFace's scores of 125 genuine pairs of LFW begin to sink as one picture is shrunk or
    blurred. On 400 photographs of LFW, one a person, none is noted as small, 0.3% as blurred and 1.5% as turned; on
    200 press photographs of many sizes 0.5%, 0% and 5%. Of LFW's faces shrunk to a quarter all are noted as
    small, and of those blurred by a Gaussian of 3 pixels of the crop all as blurred. Of CFP's profiles three quarters
    are noted as turned, of its frontal faces none.

    Args:
        face: From any detector; without landmarks, nothing can be said about its turning.

    Returns:
        Such as `small: 12 pixels between the eyes`, `blurred (sharpness 9)`, `turned sideways (40 degrees or more)`.
    """
    notes = [
        _unsure(face.face),
        _found_otherwise(face.face),
        _small(face.face, len(face.crop)),
        _blurred(face.crop),
        _turned(face.face),
    ]
    return tuple(note for note in notes if note)


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the gray values (Pech-Pacheco et al., ICPR 2000): low where a crop is blurred.

    Args:
        crop: RGB. Shape: (size, size, 3).
    """
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return round(float(cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_32F))[1][0, 0]) ** 2, 2)


def _unsure(face: Face) -> str | None:
    return f"perhaps not a face (detector score {face.score:.2f})" if face.score < _LEAST_SURE else None


def _found_otherwise(face: Face) -> str | None:
    # A head may be tilted by less; what lies on its side or upside down is more often not a face.
    ways = [f"the photograph was turned by {face.turn} degrees"] if 90 <= face.turn <= 270 else []
    ways += ["a border was added to it" if ways else "a border was added to the photograph"] if face.bordered else []
    return f"found only after {' and '.join(ways)}" if ways else None


def _small(face: Face, size: int) -> str | None:
    # A crop that shows fewer pixels than that does not need them.
    needed = min(_FEWEST_PIXELS, float(np.hypot(*(ARCFACE[1] - ARCFACE[0]))) * size / TEMPLATE_SIZE)
    if face.landmarks is None:
        width = face.box[2]
        return f"small: {width:.0f} pixels wide" if width < needed * _BOX_TO_EYES else None
    distance, _ = _seen_from(face.landmarks)
    return f"small: {distance:.0f} pixels between the eyes" if distance < needed else None


def _blurred(crop: NDArray[np.uint8]) -> str | None:
    # A large crop has little detail from one pixel to the next, however sharp the photograph.
    if len(crop) > TEMPLATE_SIZE:
        crop = np.asarray(cv2.resize(crop, (TEMPLATE_SIZE, TEMPLATE_SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    grade = sharpness(crop)
    return f"blurred (sharpness {grade:.0f})" if grade < _LEAST_SHARP else None


def _turned(face: Face) -> str | None:
    if face.landmarks is None:
        return None
    _, degrees = _seen_from(face.landmarks)
    # Detectors guess an eye that is hidden too far out, so a profile is taken for about 40 degrees.
    return f"turned sideways ({5 * (degrees // 5):.0f} degrees or more)" if degrees > _MOST_TURNED else None


def _seen_from(landmarks: NDArray[np.float32]) -> tuple[float, float]:
    """How far apart the eyes would be from the front, and by how much the head is turned, whatever its tilt.

    From afar, eyes that are 1 apart appear cos(yaw) apart on a head that turns, and a nose tip that lies `_NOSE_DEPTH`
    before their middle moves along their line by `_NOSE_DEPTH` sin(yaw).

    Returns:
        Pixels and degrees, 0-90.
    """
    left, right, nose = (complex(x, y) for x, y in landmarks[:3])
    apart = abs(right - left)
    along = (right - left) / (apart or 1.0)
    aside = abs(((nose - (left + right) / 2) * along.conjugate()).real) / _NOSE_DEPTH
    return math.hypot(apart, aside), math.degrees(math.atan2(aside, apart))
