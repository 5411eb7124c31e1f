"""Drawing tools for drawn people: a head pose in 3D, smooth curves, and a canvas with two layers.

The sharp layer has twice the resolution of the picture, so that downsampling antialiases every edge. The soft layer
stores shadow and glow as factors at half the resolution of the picture, where blurring is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.drawn.person import Color

Points = NDArray[np.float64]

SHARP = 2  # pixels of the sharp layer per picture pixel
SOFT = 2  # picture pixels per pixel of the soft layer
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True)
class Pose:
    """Position and orientation of the head in the picture. Angles in radians, lengths in pixels."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    x: float
    y: float

    def place(self, points: ArrayLike, turn: float = 1.0) -> Points:
        """Projects points of the head into the picture.

        Args:
            points: Positions in head units. Shape: (n, 3).
            turn: Share of the head's rotation that the points follow; shoulders follow little.

        Returns:
            Pixel positions. Shape: (n, 2).
        """
        turned = np.asarray(points, dtype=np.float64) @ _rotation(self.yaw * turn, self.pitch * turn, self.roll * turn)
        # Weak perspective: closer points are slightly larger, which makes the head look round.
        size = self.scale * (1 + 0.10 * turned[:, 2:])
        placed: Points = turned[:, :2] * size + (self.x, self.y)
        return placed


@lru_cache(maxsize=64)
def _rotation(yaw: float, pitch: float, roll: float) -> Points:
    """Returns the transposed rotation matrix: about y, then x, then in the picture plane."""
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    in_plane = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    matrix: Points = (np.array(in_plane) @ np.array(about_x) @ np.array(about_y)).T
    return matrix


@lru_cache(maxsize=64)
def _spline(count: int, closed: bool, steps: int) -> Points:
    """Returns the matrix that maps `count` control points to points on their Catmull-Rom spline."""
    t = np.arange(steps)[:, None] / steps
    weights = 0.5 * np.concatenate(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], axis=1
    )
    segments = count if closed else count - 1
    matrix = np.zeros((segments * steps + (not closed), count))
    for segment in range(segments):
        for offset in range(4):
            at = segment + offset - 1
            at = at % count if closed else min(max(at, 0), count - 1)
            matrix[segment * steps : (segment + 1) * steps, at] += weights[:, offset]
    if not closed:
        matrix[-1, -1] = 1
    return matrix


def curve(points: ArrayLike, closed: bool = False, steps: int = 6) -> Points:
    """Returns a smooth curve through points of any dimension. Shape: (n, d) -> (m, d)."""
    controls = np.asarray(points, dtype=np.float64)
    return _spline(len(controls), closed, steps) @ controls


def shade(color: Color, factor: float, tint: Color = (1.0, 1.0, 1.0)) -> Color:
    """Returns a lighter or darker version of a color, clipped to the valid range."""
    r, g, b = (min(255.0, max(0.0, c * factor * t)) for c, t in zip(color, tint, strict=True))
    return r, g, b


class Canvas:
    """A transparent canvas with a sharp and a soft layer."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.paint = np.zeros((height * SHARP, width * SHARP, 3), np.uint8)
        self.cover = np.zeros((height * SHARP, width * SHARP), np.uint8)
        self._origin = np.zeros(2, np.int64)  # offset of `paint` on the sharp layer, inside `inside`
        # One plane per channel: broadcasting over a last axis of length three is several times slower in NumPy.
        self.shade = np.ones((3, height // SOFT, width // SOFT), np.float32)

    def _fixed(self, points: Points) -> NDArray[np.int32]:
        return _fixed(points, SHARP, self._origin)

    def fill(self, points: Points, color: Color, solid: bool = False) -> None:
        """Fills a polygon of shape (n, 2) in picture pixels. A solid polygon hides the background."""
        fixed = self._fixed(points)
        cv2.fillPoly(self.paint, [fixed], color, cv2.LINE_AA, _SHIFT)
        if solid:
            cv2.fillPoly(self.cover, [fixed], (255,), cv2.LINE_AA, _SHIFT)

    def line(self, points: Points, color: Color, width: float, closed: bool = False) -> None:
        """Draws a line through points of shape (n, 2); these and `width` are in picture pixels."""
        thickness = max(1, round(width * SHARP))
        cv2.polylines(self.paint, [self._fixed(points)], closed, color, thickness, cv2.LINE_AA, _SHIFT)

    def lines(self, many: list[Points], color: Color, width: float) -> None:
        """Draws several open lines of the same color and width; see `line`."""
        thickness = max(1, round(width * SHARP))
        fixed = [self._fixed(points) for points in many]
        cv2.polylines(self.paint, fixed, False, color, thickness, cv2.LINE_AA, _SHIFT)

    def dot(self, center: ArrayLike, radius: float, color: Color, solid: bool = False) -> None:
        """Fills a circle; center (x, y) and radius are in picture pixels."""
        (at,) = self._fixed(np.atleast_2d(np.asarray(center, dtype=np.float64)))
        size = max(1, round(radius * SHARP * (1 << _SHIFT)))
        position = (int(at[0]), int(at[1]))
        cv2.circle(self.paint, position, size, color, -1, cv2.LINE_AA, _SHIFT)
        if solid:
            cv2.circle(self.cover, position, size, (255,), -1, cv2.LINE_AA, _SHIFT)

    @contextmanager
    def inside(self, outline: Points) -> Iterator[None]:
        """Clips everything painted in the `with` block to a polygon of shape (n, 2) in picture pixels."""
        whole, origin = self.paint, self._origin
        low = np.maximum(np.floor(outline.min(axis=0) * SHARP - origin).astype(int) - 2, 0)
        high = np.maximum(np.ceil(outline.max(axis=0) * SHARP - origin).astype(int) + 3, 0)
        area = whole[low[1] : high[1], low[0] : high[0]]
        # A polygon outside the picture still needs a pixel to paint on.
        self.paint, self._origin = area.copy() if area.size else np.zeros((1, 1, 3), np.uint8), origin + low
        yield
        if area.size == 0:
            self.paint, self._origin = whole, origin
            return
        mask = np.zeros(area.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self._fixed(outline)], (255,), cv2.LINE_AA, _SHIFT)
        share = mask.astype(np.float32) * np.float32(1 / 255)
        area[:] = cv2.blendLinear(self.paint, area, share, 1 - share)
        self.paint, self._origin = whole, origin

    def soften(self, points: Points, factor: Color, blur: float) -> None:
        """Multiplies the light inside a polygon by a factor per channel.

        Args:
            points: Corners of the polygon in picture pixels. Shape: (n, 2).
            factor: Red, green and blue factors; below 1 darkens, above 1 brightens.
            blur: Standard deviation of the blurred edge in picture pixels.
        """
        sigma = max(blur / SOFT, 0.6)
        reach = int(3 * sigma) + 1
        low = np.maximum(np.floor(points.min(axis=0) / SOFT).astype(int) - reach, 0)
        high = np.ceil(points.max(axis=0) / SOFT).astype(int) + reach
        area = self.shade[:, low[1] : high[1], low[0] : high[0]]
        if area.size == 0:
            return
        mask = np.zeros(area.shape[1:], np.uint8)
        cv2.fillPoly(mask, [_fixed(points - low * SOFT, 1 / SOFT)], (255,), cv2.LINE_AA, _SHIFT)
        amount = cv2.GaussianBlur(mask, (0, 0), sigma) * np.float32(1 / 255)
        for plane, value in zip(area, factor, strict=True):
            plane *= 1 + amount * np.float32(value - 1)

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the lit picture on black, 0-255, and its coverage, 0-1. Shapes: (h, w, 3)."""
        size = (self.width, self.height)
        paint = cv2.resize(self.paint, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        cover = cv2.resize(self.cover, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        paint *= cv2.resize(cv2.merge(list(self.shade)), size, interpolation=cv2.INTER_LINEAR)
        return paint, np.asarray(cv2.merge([cover, cover, cover]), np.float32)


def _fixed(points: Points, scale: float, origin: NDArray[np.int64] | int = 0) -> NDArray[np.int32]:
    # In OpenCV, pixel centers have integer coordinates; the offset of half a pixel aligns layers of different sizes.
    return np.round(((points + 0.5) * scale - 0.5 - origin) * (1 << _SHIFT)).astype(np.int32)
