"""Alignment: square crops of detected faces, by five landmarks, by the eyes or by the box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.detect import Face

TEMPLATE_SIZE = 112

ARCFACE: NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Template landmarks of a 112 x 112 pixel crop (Deng et al., ArcFace, CVPR 2019). Shape: (5, 2)."""
ARCFACE.setflags(write=False)

INTERPOLATION = "area-linear"
"""Resampling: area averaging by a power of two while the result has more pixels than the crop, then bilinear."""

DEFAULT_MARGIN = 0.2

Method = Literal["arcface", "eyes", "box"]
Padding = Literal["black", "reflect"]
_BORDERS = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The alignment of a face.

    Attributes:
        method: `arcface` maps five landmarks to the template by a similarity transform. `eyes` rotates the picture
            until the eyes are level and centers the crop horizontally between them. `box` crops the detector's box.
        margin: For `eyes` and `box`: margin on each side of the box, as a share of its width or height.
        padding: Fill of the part of a crop outside the photograph, and next to a box that is not square.
        size: Side of the crop in pixels.
    """

    method: Method = "arcface"
    margin: float = DEFAULT_MARGIN
    padding: Padding = "black"
    size: int = TEMPLATE_SIZE

    @property
    def template(self) -> str:
        """Name of the template in fingerprints: `arcface`, `eyes 0.2`, `box 0.2`."""
        return self.method if self.method == "arcface" else f"{self.method} {self.margin:g}"

    @classmethod
    def named(cls, template: str, padding: str, size: int) -> Alignment:
        """Returns the alignment for the names in a fingerprint.

        Raises:
            ValueError: The template or padding is unknown.
        """
        method, _, margin = template.partition(" ")
        if method in get_args(Method) and padding in get_args(Padding):
            wanted = cls(
                method=cast(Method, method),
                margin=float(margin or DEFAULT_MARGIN),
                padding=cast(Padding, padding),
                size=size,
            )
            if wanted.template == template:
                return wanted
        raise ValueError(template)

    def place(self, face: Face) -> tuple[NDArray[np.float64], tuple[int, int]]:
        """Computes the transform of a face.

        Returns:
            The matrix that maps (x, y, 1) in the picture to the part of the crop that the face fills, shape
            (2, 3), and the width and height of this part in pixels, the longer one being `size`.

        Raises:
            ValueError: The face has no landmarks and the method needs them, or they coincide.
        """
        if self.method == "box":
            matrix, filled = _fit(face.upright_box(), self.margin, self.size)
            return matrix @ _rotation(face.turn, face.center), filled
        if face.landmarks is None:
            raise ValueError(f"{self.method} alignment requires landmarks, but the detector returns none")
        if self.method == "arcface":
            return similarity(face.landmarks, template(self.size)), (self.size, self.size)
        return _level(face, face.landmarks, self.margin, self.size)

    def cut(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
        """Crops a face; the aspect ratio is preserved.

        Args:
            image: RGB. Shape: (height, width, 3).
            face: The face, in pixels of the image.

        Returns:
            RGB. Shape: (size, size, 3).

        Raises:
            ValueError: See `place`.
        """
        matrix, (width, height) = self.place(face)
        part = _warp(image, matrix, (width, height), _BORDERS[self.padding])
        if (width, height) == (self.size, self.size):
            return part
        left, top = (self.size - width) // 2, (self.size - height) // 2
        right, bottom = self.size - width - left, self.size - height - top
        return np.asarray(cv2.copyMakeBorder(part, top, bottom, left, right, _BORDERS[self.padding]), np.uint8)


def reduction(matrix: NDArray[np.float64]) -> int:
    """Returns the largest power of two by which a picture can be reduced without losing resolution in the crop.

    Args:
        matrix: From `Alignment.place`. Shape: (2, 3).
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    return 1 << max(0, math.floor(math.log2(1 / scale)))


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Estimates the rotation, scale and translation between two point sets by least squares.

    The solution of S. Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE TPAMI 13(4), 1991, without reflections. With points as complex numbers, rotation and scale are a
    complex factor, and the estimate is a linear regression.

    Args:
        source: Source points. Shape: (points, 2).
        target: Target points. Shape: (points, 2).

    Returns:
        The matrix M for which `M[:, :2] @ source + M[:, 2]` is closest to `target`. Shape: (2, 3).

    Raises:
        ValueError: The source points coincide.
    """
    start, goal = (np.asarray(points, np.float64) @ [1, 1j] for points in (source, target))
    start_mean, goal_mean = start.mean(), goal.mean()
    centered = start - start_mean
    variance = np.vdot(centered, centered).real
    if variance <= 0:
        raise ValueError("cannot align: all landmarks coincide")
    factor = np.vdot(centered, goal - goal_mean) / variance
    shift = goal_mean - factor * start_mean
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def tilt(face: Face) -> float:
    """Returns the clockwise tilt of a head in degrees, in the view in which it was detected; 0 without landmarks."""
    if face.landmarks is None:
        return 0.0
    matrix = similarity(face.landmarks, ARCFACE)
    return (math.degrees(math.atan2(-matrix[1, 0], matrix[0, 0])) - face.turn + 180) % 360 - 180


def template(size: int) -> NDArray[np.float64]:
    """Returns the template landmarks for a crop of the given size. Shape: (5, 2)."""
    return ARCFACE * (size / TEMPLATE_SIZE)


def _fit(
    box: tuple[float, float, float, float], margin: float, size: int
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    left, top, width, height = box
    if not min(width, height) > 0:
        raise ValueError("cannot crop: the box has no area")
    whole_width, whole_height = width * (1 + 2 * margin), height * (1 + 2 * margin)
    scale = size / max(whole_width, whole_height)
    filled = max(1, round(whole_width * scale)), max(1, round(whole_height * scale))
    # Box edges lie between pixels, whereas pixel coordinates refer to pixel centers.
    shift = [scale * (0.5 - left + margin * width) - 0.5, scale * (0.5 - top + margin * height) - 0.5]
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), filled


def _level(
    face: Face, landmarks: NDArray[np.float32], margin: float, size: int
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    eyes = landmarks[:2].astype(np.float64)
    across, middle = eyes[1] - eyes[0], eyes.mean(axis=0)
    distance = float(np.hypot(*across))
    if distance <= 0:
        raise ValueError("cannot align: the eyes coincide")
    cosine, sine = across / distance
    turn = np.array([[cosine, sine], [-sine, cosine]])
    turned = np.column_stack([turn, middle - turn @ middle])
    # The box is rotated about its own center. The center of the crop is horizontally between the eyes.
    # Box edges lie between pixels, whereas landmark coordinates refer to pixel centers.
    below = float((turned @ [face.center[0] - 0.5, face.center[1] - 0.5, 1])[1]) + 0.5
    width, height = face.upright_box()[2:]
    box = float(middle[0]) + 0.5 - width / 2, below - height / 2, width, height
    matrix, filled = _fit(box, margin, size)
    return matrix @ np.vstack([turned, [0, 0, 1]]), filled


def _rotation(degrees: int, center: tuple[float, float]) -> NDArray[np.float64]:
    """Returns a counterclockwise rotation about a point whose origin is the edge of the first pixel. Shape: (3, 3)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn, middle = np.array([[cosine, sine], [-sine, cosine]]), np.array(center) - 0.5
    return np.vstack([np.column_stack([turn, middle - turn @ middle]), [0, 0, 1]])


def _warp(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], border: int
) -> NDArray[np.uint8]:
    # Bilinear sampling uses four pixels only and would alias on a face much larger than the crop, so the picture is
    # first reduced by area averaging.
    factor = reduction(matrix)
    while factor > min(image.shape[:2]):
        factor //= 2
    if factor > 1:
        height, width = (side // factor for side in image.shape[:2])
        whole = image[: height * factor, : width * factor]
        image = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        # The center of a reduced pixel is the mean of the centers of its source pixels.
        matrix = np.column_stack([matrix[:, :2] * factor, matrix @ [(factor - 1) / 2, (factor - 1) / 2, 1]])
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)
