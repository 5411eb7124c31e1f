"""From landmarks to an aligned crop."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

TEMPLATE = "arcface"
"""What fingerprints call the template below."""

TEMPLATE_SIZE = 112

ARCFACE: NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where the landmarks lie in a crop of 112 x 112 pixels (Deng et al., ArcFace, CVPR 2019). Shape: (5, 2)."""
ARCFACE.setflags(write=False)

INTERPOLATION = "area-linear"
"""How `align` samples: halved by area averaging while that leaves more pixels than the crop needs, then bilinear."""


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rotation, scale and shift that take points nearest to others, in least squares.

    Closed form of S. Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE TPAMI 13(4), 1991, equations 40-43. Reflections are excluded.

    Args:
        source: Shape: (points, 2).
        target: Shape: (points, 2).

    Returns:
        The matrix M with `target = M[:, :2] @ source + M[:, 2]`. Shape: (2, 3).

    Raises:
        ValueError: The source points coincide.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    spread, aimed = source - source_mean, target - target_mean
    variance = spread.var(axis=0).sum()
    if variance <= 0:
        raise ValueError("landmarks that coincide give no alignment")
    left, singular, right = np.linalg.svd(aimed.T @ spread / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0])
    turned = (left * signs) @ right * (singular @ signs / variance)
    return np.column_stack([turned, target_mean - turned @ source_mean])


def template(size: int) -> NDArray[np.float64]:
    """Where the landmarks lie in a crop of another size. Shape: (5, 2)."""
    return ARCFACE * (size / TEMPLATE_SIZE)


def align(image: NDArray[np.uint8], landmarks: NDArray[np.floating], size: int = TEMPLATE_SIZE) -> NDArray[np.uint8]:
    """Warps a face so that its landmarks come to lie on the template. What is outside the picture is black.

    Args:
        image: RGB. Shape: (height, width, 3).
        landmarks: As in `Face.landmarks`, in pixels of the image. Shape: (5, 2).
        size: Side of the crop in pixels.

    Returns:
        RGB. Shape: (size, size, 3).

    Raises:
        ValueError: The landmarks coincide.
    """
    matrix = similarity(landmarks, template(size))
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    # Bilinear sampling looks at four pixels only. On a face much larger than the crop it would skip most
    # of them and alias, so such a picture is first averaged down by a power of two.
    factor = 1
    while factor * 2 * scale <= 1 and factor * 2 <= min(image.shape[:2]):
        factor *= 2
    if factor > 1:
        height, width = (side // factor for side in image.shape[:2])
        whole = image[: height * factor, : width * factor]
        image = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        # The centre of a reduced pixel lies between the centres of those that it averages.
        matrix = np.column_stack([matrix[:, :2] * factor, matrix @ [(factor - 1) / 2, (factor - 1) / 2, 1]])
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(crop, np.uint8)
