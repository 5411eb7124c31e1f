"""Face quality: measures of a face, and notes on faces that are uncertain, small, blurred or turned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.align import ARCFACE, TEMPLATE_SIZE
from faceclr_cli.core.faces.crop import AlignedFace
from faceclr_cli.core.faces.detect import Face

_LEAST_SURE = 0.8
"""Detection score; YuNet gives 99.8% of 710 faces in LFW and press photographs a higher score."""
_FEWEST_PIXELS = 20.0
"""Distance between the eyes; above it, shrinking does not change SFace's scores of genuine pairs."""
MIN_SHARPNESS = 20.0
"""Sharpness after a Gaussian blur of about 1.5 pixels of the crop, at which scores of genuine pairs begin to fall."""
_MOST_TURNED = 30.0
"""Degrees, as estimated by `_frontal_view`."""

_NOSE_DEPTH = 0.63
"""Distance of the nose tip in front of the eyes, relative to the distance between the eyes: 3.94 / 6.30 cm in
MediaPipe's canonical face model. The depth of an eye is that of its corners and lids (mean of vertices 33, 133, 145 and
159), its position is midway between the corners, and the nose tip is vertex 4."""
_BOX_TO_EYES = 2.6
"""Ratio of the width of a Haar box to the distance between the eyes; median of 100 photographs of LFW."""


@dataclass(frozen=True, kw_only=True)
class FaceQuality:
    """Measures of the quality of one face.

    Attributes:
        sharpness: Sharpness of the crop at the size of the template; see `sharpness`.
        eye_distance: Pixels of the photograph between the eyes in a frontal view; estimated from the width of the box
            without landmarks. NaN if the photograph is unknown.
        yaw: Rotation of the head to either side in degrees, 0-90; NaN without landmarks.
    """

    sharpness: float
    eye_distance: float = math.nan
    yaw: float = math.nan

    @property
    def frontality(self) -> float:
        """Cosine of the yaw: 1 for a frontal face, 0 for a profile; NaN without landmarks."""
        return math.cos(math.radians(self.yaw))


def measure_quality(crop: NDArray[np.uint8], face: Face | None) -> FaceQuality:
    """Measures the quality of a face.

    Args:
        crop: The aligned face, RGB. Shape: (size, size, 3).
        face: The face in its photograph, or None if only the crop is known.
    """
    # The sharpness of a large crop is low even for a sharp photograph, so it is measured at the template size.
    if len(crop) > TEMPLATE_SIZE:
        crop = np.asarray(cv2.resize(crop, (TEMPLATE_SIZE, TEMPLATE_SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    distance, yaw = (math.nan, math.nan) if face is None else measure_pose(face)
    return FaceQuality(sharpness=sharpness(crop), eye_distance=distance, yaw=yaw)


def measure_pose(face: Face) -> tuple[float, float]:
    """Returns the `eye_distance` and the `yaw` of a face; see `FaceQuality`."""
    return (face.box[2] / _BOX_TO_EYES, math.nan) if face.landmarks is None else _frontal_view(face.landmarks)


def describe_doubts(face: AlignedFace) -> tuple[str, ...]:
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
    measured = measure_quality(face.crop, face.face)
    notes = [
        _unsure(face.face),
        _found_otherwise(face.face),
        _small(face.face, measured.eye_distance, len(face.crop)),
        f"blurred (sharpness {measured.sharpness:.0f})" if measured.sharpness < MIN_SHARPNESS else None,
        # Detectors place a hidden eye too far out, so the estimate for a profile is about 40 degrees.
        f"turned sideways ({5 * (measured.yaw // 5):.0f} degrees or more)" if measured.yaw > _MOST_TURNED else None,
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


def _small(face: Face, distance: float, size: int) -> str | None:
    # A small crop needs fewer pixels.
    needed = min(_FEWEST_PIXELS, float(np.hypot(*(ARCFACE[1] - ARCFACE[0]))) * size / TEMPLATE_SIZE)
    if distance >= needed:
        return None
    seen = f"{face.box[2]:.0f} pixels wide" if face.landmarks is None else f"{distance:.0f} pixels between the eyes"
    return f"small: {seen}"


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
