"""Face quality: notes on faces that are uncertain, small, blurred or turned."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.align import ARCFACE, TEMPLATE_SIZE
from faceclr_cli.core.faces.crop import AlignedFace
from faceclr_cli.core.faces.detect import Face

_LEAST_SURE = 0.8
"""Detector score; YuNet gives 99.8% of 710 faces in LFW and press photographs a higher score."""
_FEWEST_PIXELS = 20.0
"""Distance between the eyes; above it, shrinking does not change SFace's scores of genuine pairs."""
_LEAST_SHARP = 20.0
"""Sharpness after a Gaussian blur of about 1.5 pixels of the crop, at which scores of genuine pairs begin to fall."""
_MOST_TURNED = 30.0
"""Degrees, as estimated by `_frontal_view`."""

_NOSE_DEPTH = 0.63
"""Distance of the nose tip in front of the eyes, relative to the distance between the eyes: 3.94 / 6.30 cm in
MediaPipe's canonical face model. The depth of an eye is that of its corners and lids (mean of vertices 33, 133, 145 and
159), its position is midway between the corners, and the nose tip is vertex 4."""
_BOX_TO_EYES = 2.6
"""Ratio of the width of a Haar box to the distance between the eyes; median of 100 photographs of LFW."""


def doubts(face: AlignedFace) -> tuple[str, ...]:
    """Returns notes on the quality of a face that make a verdict unreliable; no notes for a good face.

    The limits are the values at which SFace's scores of 125 genuine pairs of LFW begin to fall when one picture is
    shrunk or blurred. Of 400 photographs of LFW, one per person, 0% are noted as small, 0.3% as blurred and 1.5% as
    turned; of 200 press photographs of many sizes, 0.5%, 0% and 5%. All of LFW's faces are noted as small when shrunk
    to a quarter, and as blurred after a Gaussian blur of 3 pixels of the crop. Three quarters of CFP's profile faces
    are noted as turned, and none of its frontal faces.

    Args:
        face: A face from any detector; the rotation of the head is estimated only with landmarks.

    Returns:
        Notes such as `small: 12 pixels between the eyes`, `blurred (sharpness 9)`, or
        `turned sideways (40 degrees or more)`.
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
    """Returns the variance of the Laplacian of the gray values (Pech-Pacheco et al., ICPR 2000); low if blurred.

    Args:
        crop: RGB. Shape: (size, size, 3).
    """
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return round(float(cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_32F))[1][0, 0]) ** 2, 2)


def _unsure(face: Face) -> str | None:
    return f"perhaps not a face (detector score {face.score:.2f})" if face.score < _LEAST_SURE else None


def _found_otherwise(face: Face) -> str | None:
    # Heads may be tilted by less; detections on their side or upside down are often false.
    ways = [f"the photograph was turned by {face.turn} degrees"] if 90 <= face.turn <= 270 else []
    ways += ["a border was added to it" if ways else "a border was added to the photograph"] if face.bordered else []
    return f"found only after {' and '.join(ways)}" if ways else None


def _small(face: Face, size: int) -> str | None:
    # A small crop needs fewer pixels.
    needed = min(_FEWEST_PIXELS, float(np.hypot(*(ARCFACE[1] - ARCFACE[0]))) * size / TEMPLATE_SIZE)
    if face.landmarks is None:
        width = face.box[2]
        return f"small: {width:.0f} pixels wide" if width < needed * _BOX_TO_EYES else None
    distance, _ = _frontal_view(face.landmarks)
    return f"small: {distance:.0f} pixels between the eyes" if distance < needed else None


def _blurred(crop: NDArray[np.uint8]) -> str | None:
    # The sharpness of a large crop is low even for a sharp photograph, so it is measured at the template size.
    if len(crop) > TEMPLATE_SIZE:
        crop = np.asarray(cv2.resize(crop, (TEMPLATE_SIZE, TEMPLATE_SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    grade = sharpness(crop)
    return f"blurred (sharpness {grade:.0f})" if grade < _LEAST_SHARP else None


def _turned(face: Face) -> str | None:
    if face.landmarks is None:
        return None
    _, degrees = _frontal_view(face.landmarks)
    # Detectors place a hidden eye too far out, so the estimate for a profile is about 40 degrees.
    return f"turned sideways ({5 * (degrees // 5):.0f} degrees or more)" if degrees > _MOST_TURNED else None


def _frontal_view(landmarks: NDArray[np.float32]) -> tuple[float, float]:
    """Estimates the distance between the eyes in a frontal view, and the yaw of the head, independent of its roll.

    Under orthographic projection, the distance between the eyes is multiplied by cos(yaw), and a nose tip `_NOSE_DEPTH`
    in front of their center moves parallel to the line between the eyes by `_NOSE_DEPTH` sin(yaw).

    Returns:
        The distance in pixels and the yaw in degrees, 0-90.
    """
    left, right, nose = (complex(x, y) for x, y in landmarks[:3])
    apart = abs(right - left)
    along = (right - left) / (apart or 1.0)
    aside = abs(((nose - (left + right) / 2) * along.conjugate()).real) / _NOSE_DEPTH
    return math.hypot(apart, aside), math.degrees(math.atan2(aside, apart))
