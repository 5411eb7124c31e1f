"""Where the faces in a picture are: what every detector gives, and which of its faces are taken."""

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
"""Longer pictures are reduced to this before detection: YuNet loses faces larger than about 300 pixels, and for the
other detectors it bounds the time."""

Choice = Literal["largest", "center", "best", "all", "only"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A detected face, in pixels of the full picture.

    Attributes:
        box: Left, top, width, height. It may reach beyond the picture.
        landmarks: (x, y) of the eyes, the nose tip and the mouth corners, each pair from left to right
            as seen on the upright face, or None from a detector that finds boxes alone. Shape: (5, 2).
        score: How sure the detector is, 0-1.
        turn: By how many degrees the picture had to be turned counterclockwise for the face to be found upright; its
            box is that of the upright face, with sides swapped after a quarter turn.
        bordered: Whether it was found only after a border was added to the picture.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32] | None
    score: float
    turn: int = 0
    bordered: bool = False

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return self.box[2] * self.box[3]

    @property
    def center(self) -> tuple[float, float]:
        """Of the box."""
        left, top, width, height = self.box
        return left + width / 2, top + height / 2

    def scaled(self, factor: float) -> Face:
        """The same face in a picture `factor` times as large."""
        left, top, width, height = (side * factor for side in self.box)
        # Landmarks are counted from the center of the first pixel, edges of boxes from its edge.
        landmarks = None if self.landmarks is None else (self.landmarks + np.float32(0.5)) * np.float32(factor)
        if landmarks is not None:
            landmarks -= np.float32(0.5)
        return replace(self, box=(left, top, width, height), landmarks=landmarks)

    def upright_box(self) -> tuple[float, float, float, float]:
        """The box of the face if it is turned upright about the center of its box."""
        if self.turn % 180 != 90:
            return self.box
        (x, y), (height, width) = self.center, self.box[2:]
        return x - width / 2, y - height / 2, width, height


class Detector(Protocol):
    """Finds faces."""

    @property
    def name(self) -> str:
        """What fingerprints call it: its kind, and the sizes of the pictures that it sees."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its weights, shortened to 16 digits."""
        ...

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """The faces of a picture, the surest first.

        Args:
            image: RGB, 0-255. Shape: (height, width, 3).
        """
        ...


def resize_for_detection(
    image: NDArray[np.uint8], shortest: int, longest: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Brings the long side of a picture into a range.

    Args:
        image: Shape: (height, width, 3).
        shortest: The long side is enlarged to this at least.
        longest: And reduced to this at most.

    Returns:
        The picture, and the factors that take x and y in it back to the given one. Shapes: (..., 3), (2,).
    """
    height, width = image.shape[:2]
    zoom = min(max(max(height, width), shortest), longest) / max(height, width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    if size != (width, height):
        by = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, size, interpolation=by), np.uint8)
    return image, np.array([width / size[0], height / size[1]], np.float32)


class UnfitError(NoFaceError):
    """A picture that can be read, but gives no face.

    Attributes:
        reason: Why, from the fixed list.
        faces_found: How many faces it shows.
    """

    def __init__(self, origin: Path | str, reason: Reason, detail: str = "", faces_found: int = 0) -> None:
        super().__init__(f"{display_path(origin)}: {detail or reason}")
        self.reason = reason
        self.faces_found = faces_found


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of the faces that a picture shows are taken.

    Attributes:
        choice: `largest` by the box, `center` the one nearest to the middle of the picture, `best` the surest,
            `all` of them from the largest on, `only` the one that there is.
        min_size: Faces whose box is narrower or lower are not counted, in pixels.
        min_score: Faces that the detector is less sure of are not counted; None for the detector's own limit.
    """

    choice: Choice = "largest"
    min_size: int = 0
    min_score: float | None = None

    def take(self, faces: Sequence[Face], shape: Sequence[int], origin: Path | str) -> list[Face]:
        """Takes from the faces of one picture.

        Args:
            faces: All that were found.
            shape: Height and width of the picture.
            origin: What to call it in errors.

        Returns:
            One face, or with `all` any number from one on.

        Raises:
            UnfitError: There is none, or with `only` there are several.

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
