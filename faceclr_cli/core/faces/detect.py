"""Detected faces, the detector interface, and the selection of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import NoFaceError
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.text import display_path

LONG_SIDE = 640
"""Maximum long side for detection: YuNet misses faces larger than about 300 pixels, and the time of the other detectors
is bounded."""

Choice = Literal["largest", "center", "best", "all", "only"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A detected face, in pixels of the full picture.

    Attributes:
        box: Left, top, width, height. May extend beyond the picture.
        landmarks: (x, y) of the eyes, the nose tip and the mouth corners, each pair from left to right
            as seen on the upright face, or None if the detector returns only boxes. Shape: (5, 2).
        score: Detector score, 0-1.
        turn: Counterclockwise rotation of the picture, in degrees, in which the face was detected upright. The box is
            that of the upright face, with width and height swapped after a quarter turn.
        bordered: True if the face was detected only after a border was added to the picture.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32] | None
    score: float
    turn: int = 0
    bordered: bool = False

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.box[2] * self.box[3]

    @property
    def center(self) -> tuple[float, float]:
        """Center of the box, (x, y)."""
        left, top, width, height = self.box
        return left + width / 2, top + height / 2

    def scaled(self, factor: float) -> Face:
        """Returns the face in the coordinates of a picture `factor` times as large."""
        left, top, width, height = (side * factor for side in self.box)
        # The origin of landmarks is the center of the first pixel, that of boxes its edge.
        landmarks = None if self.landmarks is None else (self.landmarks + np.float32(0.5)) * np.float32(factor)
        if landmarks is not None:
            landmarks -= np.float32(0.5)
        return replace(self, box=(left, top, width, height), landmarks=landmarks)

    def upright_box(self) -> tuple[float, float, float, float]:
        """Returns the box after rotating the face upright about its center."""
        if self.turn % 180 != 90:
            return self.box
        (x, y), (height, width) = self.center, self.box[2:]
        return x - width / 2, y - height / 2, width, height


class Detector(Protocol):
    """Interface of face detectors."""

    @property
    def name(self) -> str:
        """Name in fingerprints: the kind of detector and its input sizes."""
        ...

    @property
    def digest(self) -> str:
        """First 16 digits of the SHA-256 of the weights."""
        ...

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Returns the faces in a picture, in order of decreasing score.

        Args:
            image: RGB, 0-255. Shape: (height, width, 3).
        """
        ...


def resize_for_detection(
    image: NDArray[np.uint8], shortest: int, longest: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Resizes a picture so that its long side is within a range.

    Args:
        image: RGB. Shape: (height, width, 3).
        shortest: Minimum long side in pixels.
        longest: Maximum long side in pixels.

    Returns:
        The resized picture, and the factors that map its x and y coordinates to the original. Shapes: (..., 3), (2,).
    """
    height, width = image.shape[:2]
    zoom = min(max(max(height, width), shortest), longest) / max(height, width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    if size != (width, height):
        by = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, size, interpolation=by), np.uint8)
    return image, np.array([width / size[0], height / size[1]], np.float32)


class UnfitError(NoFaceError):
    """A readable picture without a suitable face.

    Attributes:
        reason: The reason.
        faces_found: Number of faces found.
    """

    def __init__(self, origin: Path | str, reason: Reason, detail: str = "", faces_found: int = 0) -> None:
        super().__init__(f"{display_path(origin)}: {detail or reason}")
        self.reason = reason
        self.faces_found = faces_found


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rule that selects faces in a picture.

    Attributes:
        choice: `largest` is the face with the largest box, `center` the one nearest to the center of the picture,
            `best` the one with the highest score, `all` all faces from the largest to the smallest, and `only` the
            single face.
        min_size: Minimum width and height of the box in pixels; smaller faces are ignored.
        min_score: Minimum detector score, or None for the default of the detector.
    """

    choice: Choice = "largest"
    min_size: int = 0
    min_score: float | None = None

    def take(self, faces: Sequence[Face], shape: Sequence[int], origin: Path | str) -> list[Face]:
        """Selects from the faces of one picture.

        Args:
            faces: All detected faces.
            shape: Height and width of the picture.
            origin: Name of the picture for error messages.

        Returns:
            One face, or one or more with `all`.

        Raises:
            UnfitError: There is no suitable face, or several with `only`.

        Examples:
            >>> small, large = (Face(box=(0, 0, side, side), landmarks=None, score=0.9) for side in (20.0, 60.0))
            >>> Selection(choice="largest").take([small, large], (480, 640), "party.jpg") == [large]
            True
            >>> Selection(choice="only").take([small, large], (480, 640), "party.jpg")
            Traceback (most recent call last):
                ...
            faceclr_cli.core.faces.detect.UnfitError: party.jpg: 2 faces found, and only one is allowed
        """
        if not faces:
            raise UnfitError(origin, Reason.NO_FACE)
        fit = [face for face in faces if min(face.box[2:]) >= self.min_size]
        if not fit:
            side = max(min(face.box[2:]) for face in faces)
            detail = f"face too small ({side:.0f} pixels, at least {self.min_size})"
            raise UnfitError(origin, Reason.SMALL, detail, len(faces))
        if self.choice == "only" and len(fit) > 1:
            raise UnfitError(origin, Reason.SEVERAL, f"{len(fit)} faces found, and only one is allowed", len(faces))
        if self.choice == "all":
            return sorted(fit, key=_size, reverse=True)
        if self.choice == "best":
            return [max(fit, key=lambda face: (face.score, face.area))]
        if self.choice == "center":
            return [min(fit, key=lambda face: _distance(face, shape))]
        return [max(fit, key=_size)]


def _size(face: Face) -> tuple[float, float]:
    return face.area, face.score


def _distance(face: Face, shape: Sequence[int]) -> float:
    x, y = face.center
    return float(np.hypot(x - shape[1] / 2, y - shape[0] / 2))
