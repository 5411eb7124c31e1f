"""From a detected face to a square crop, in three ways: by five landmarks, by the eyes, by the box."""

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
"""Where the landmarks lie in a crop of 112 x 112 pixels (Deng et al., ArcFace, CVPR 2019). Shape: (5, 2)."""
ARCFACE.setflags(write=False)

INTERPOLATION = "area-linear"
"""How crops are sampled: halved by averaging while that leaves more pixels than the crop needs, then bilinear."""

DEFAULT_MARGIN = 0.2

Method = Literal["arcface", "eyes", "box"]
Padding = Literal["black", "reflect"]
_BORDERS = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How a face is cut out.

    Attributes:
        method: `arcface` takes five landmarks onto the template by a similarity transform. `eyes` turns the
            picture about the middle between the eyes until they are level, and centers it between them.
            `box` cuts the detector's box as it is.
        margin: With `eyes` and `box`: what is added on each side of the box, as a share of its width or height.
        padding: What fills a crop beyond the photograph, and beside a face that is not square.
        size: Side of the crop in pixels.
    """

    method: Method = "arcface"
    margin: float = DEFAULT_MARGIN
    padding: Padding = "black"
    size: int = TEMPLATE_SIZE

    @property
    def template(self) -> str:
        """What fingerprints call it: `arcface`, `eyes 0.2`, `box 0.2`."""
        return self.method if self.method == "arcface" else f"{self.method} {self.margin:g}"

    @classmethod
    def named(cls, template: str, padding: str, size: int) -> Alignment:
        """The alignment that a fingerprint names.

        Raises:
            ValueError: There is none of that name here.
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
        """Where the face comes to lie.

        Returns:
            The matrix that takes (x, y, 1) in the picture to the part of the crop that the face fills, shape
            (2, 3), and the width and height of that part in pixels, the longer of which is `size`.

        Raises:
            ValueError: The face has no landmarks and the method needs them, or they coincide.
        """
        if self.method == "box":
            matrix, filled = _fit(face.upright_box(), self.margin, self.size)
            return matrix @ _rotation(face.turn, face.center), filled
        if face.landmarks is None:
            raise ValueError(f"alignment by {self.method} needs landmarks, and the detector gives none")
        if self.method == "arcface":
            return similarity(face.landmarks, template(self.size)), (self.size, self.size)
        return _level(face, face.landmarks, self.margin, self.size)

    def cut(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
        """Cuts a face out of a picture, and never stretches it.

        Args:
            image: RGB. Shape: (height, width, 3).
            face: In pixels of the image.

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
    """The power of two by which a picture may shrink and still have as many pixels as the crop of it needs."""
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    return 1 << max(0, math.floor(math.log2(1 / scale)))


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rotation, scale and shift that take points nearest to others, in least squares.

    The solution of S. Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE TPAMI 13(4), 1991, without reflections. In the plane, where points are complex numbers and a
    rotation with a scale is a factor, it is that of one linear equation.

    Args:
        source: Shape: (points, 2).
        target: Shape: (points, 2).

    Returns:
        The matrix M with `target = M[:, :2] @ source + M[:, 2]`. Shape: (2, 3).

    Raises:
        ValueError: The source points coincide.
    """
    seen, aimed = (np.asarray(points, np.float64) @ [1, 1j] for points in (source, target))
    seen_mean, aimed_mean = seen.mean(), aimed.mean()
    spread = seen - seen_mean
    variance = np.vdot(spread, spread).real
    if variance <= 0:
        raise ValueError("landmarks that coincide give no alignment")
    factor = np.vdot(spread, aimed - aimed_mean) / variance
    shift = aimed_mean - factor * seen_mean
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def tilt(face: Face) -> float:
    """By how many degrees a head is tilted clockwise in the view in which it was found; 0 without landmarks."""
    if face.landmarks is None:
        return 0.0
    matrix = similarity(face.landmarks, ARCFACE)
    return (math.degrees(math.atan2(-matrix[1, 0], matrix[0, 0])) - face.turn + 180) % 360 - 180


def template(size: int) -> NDArray[np.float64]:
    """Where the landmarks lie in a crop of another size. Shape: (5, 2)."""
    return ARCFACE * (size / TEMPLATE_SIZE)


def _fit(
    box: tuple[float, float, float, float], margin: float, size: int
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    left, top, width, height = box
    if not min(width, height) > 0:
        raise ValueError("a box without area gives no crop")
    whole_width, whole_height = width * (1 + 2 * margin), height * (1 + 2 * margin)
    scale = size / max(whole_width, whole_height)
    filled = max(1, round(whole_width * scale)), max(1, round(whole_height * scale))
    # Edges of a box lie between pixels, and the coordinates of pixels are those of their centers.
    shift = [scale * (0.5 - left + margin * width) - 0.5, scale * (0.5 - top + margin * height) - 0.5]
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), filled


def _level(
    face: Face, landmarks: NDArray[np.float32], margin: float, size: int
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    eyes = landmarks[:2].astype(np.float64)
    across, middle = eyes[1] - eyes[0], eyes.mean(axis=0)
    distance = float(np.hypot(*across))
    if distance <= 0:
        raise ValueError("eyes that coincide give no alignment")
    cosine, sine = across / distance
    turn = np.array([[cosine, sine], [-sine, cosine]])
    turned = np.column_stack([turn, middle - turn @ middle])
    # The box is that of the upright face, so it turns about its own center. That of the crop lies below the eyes.
    # Edges of a box lie between pixels, and the coordinates of eyes are those of the centers of pixels.
    below = float((turned @ [face.center[0] - 0.5, face.center[1] - 0.5, 1])[1]) + 0.5
    width, height = face.upright_box()[2:]
    box = float(middle[0]) + 0.5 - width / 2, below - height / 2, width, height
    matrix, filled = _fit(box, margin, size)
    return matrix @ np.vstack([turned, [0, 0, 1]]), filled


def _rotation(degrees: int, center: tuple[float, float]) -> NDArray[np.float64]:
    """Turns (x, y, 1) counterclockwise about a point counted from the edge of the first pixel. Shape: (3, 3)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn, middle = np.array([[cosine, sine], [-sine, cosine]]), np.array(center) - 0.5
    return np.vstack([np.column_stack([turn, middle - turn @ middle]), [0, 0, 1]])


def _warp(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], border: int
) -> NDArray[np.uint8]:
    # Bilinear sampling looks at four pixels only. On a face much larger than the crop it would skip most
    # of them and alias, so such a picture is first averaged down by a power of two.
    factor = reduction(matrix)
    while factor > min(image.shape[:2]):
        factor //= 2
    if factor > 1:
        height, width = (side // factor for side in image.shape[:2])
        whole = image[: height * factor, : width * factor]
        image = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        # The center of a reduced pixel lies between the centers of those that it averages.
        matrix = np.column_stack([matrix[:, :2] * factor, matrix @ [(factor - 1) / 2, (factor - 1) / 2, 1]])
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)
