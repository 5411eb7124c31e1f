"""Boxes and names on the faces of a photograph."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.plots.figure_style import fit_text
from faceclr_cli.core.plots.fonts import font_for

_UNKNOWN_TEXT = "unknown"
_DARK, _LIGHT, _KNOWN_COLOR, _UNKNOWN_COLOR = (24, 28, 33), (255, 255, 255), (64, 224, 144), (255, 200, 60)
_POINTS = 72
"""Points per inch; at this resolution a point is a pixel."""
_LEAST_TYPE, _LARGEST_TYPE = 11, 160
_FARTHEST = 6
"""Maximum distance of a name from its face, in lines of text."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Label:
    """The label of a face.

    Attributes:
        box: x, y, width and height in pixels of the photograph.
        name: Name of the person, or None if unknown.
        probability: Probability of the name, or None if not calibrated.
        number: Number of the face in its photograph; drawn if there are several.
    """

    box: Box
    name: str | None
    probability: float | None = None
    number: int | None = None

    @property
    def text(self) -> str:
        """The name to draw."""
        # macOS decomposes accented letters in file names.
        return _UNKNOWN_TEXT if self.name is None else unicodedata.normalize("NFC", self.name)

    @property
    def sure(self) -> str:
        """The probability as text, which is never shortened."""
        if self.name is None or self.probability is None:
            return ""
        chance = self.probability
        return " >99.9%" if chance > 0.999 else " <0.1%" if chance < 0.001 else f" {100 * chance:.1f}%"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plate:
    """A rendered label. `letters` is the opacity of each pixel, 0-255. Shape: (height, width)."""

    label: Label
    letters: NDArray[np.uint8]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, including the margin."""
        height, width = self.letters.shape
        return width, height


def draw_labels(image: NDArray[np.uint8], labels: Sequence[Label]) -> NDArray[np.uint8]:
    """Draws a box and a name for each face, and a number if there are several faces.

    Known faces have solid boxes, unknown faces dashed ones. Names are drawn next to the faces if there is room; a line
    connects a name with its face if they are far apart.

    Args:
        image: RGB, 0-255. Shape: (height, width, 3).
        labels: The labels; may be empty.

    Returns:
        An annotated copy of the image. Shape: (height, width, 3).
    """
    copy = image.copy()
    if not labels:
        return copy
    size = _type(image.shape[:2], labels)
    stroke = max(1, round(size / 8))
    for label in labels:
        _draw_box(copy, label, stroke)
    plates = [_plate(label, size, image.shape[1], is_numbered=len(labels) > 1) for label in labels]
    places = _places(plates, image.shape[:2], stroke)
    for plate, place in zip(plates, places, strict=True):
        _draw_leader(copy, plate, place, stroke)
    for plate, place in zip(plates, places, strict=True):
        _draw_plate(copy, plate, place, stroke)
    return copy


def _type(shape: tuple[int, ...], labels: Sequence[Label]) -> int:
    """Returns the font size in pixels, which depends on the size of the picture and is smaller for small faces."""
    by_picture = max(shape) / 45
    by_faces = float(np.median([label.box[2] for label in labels])) / 4
    crowd = max(by_faces, max(shape) / 90)
    return int(np.clip(min(by_picture, crowd), _LEAST_TYPE, _LARGEST_TYPE))


def _color(label: Label) -> tuple[int, int, int]:
    return _UNKNOWN_COLOR if label.name is None else _KNOWN_COLOR


def _plate(label: Label, size: int, width: int, *, is_numbered: bool) -> _Plate:
    """Renders a label; a name that is too long for the picture is shortened in the middle."""
    margin = max(2, size // 3)
    number = f"{label.number}  " if is_numbered and label.number is not None else ""
    room = width - 2 * margin - len(number + label.sure) * size * 0.7
    text = number + fit_text(label.text, max(room, size) / _POINTS, size) + label.sure
    font = font_for(text)
    font.set_size(size, _POINTS)
    # The line height does not depend on the letters, so that all plates have the same height.
    font.set_text(text)
    font.draw_glyphs_to_bitmap(antialiased=True)
    drawn = np.asarray(font.get_image(), np.uint8)
    below = round(font.get_descent() / 64)
    above = max(size, drawn.shape[0] - below)
    letters = np.zeros((above + max(size // 3, below) + 2, drawn.shape[1] + 2 * margin), np.uint8)
    top = 1 + above + below - drawn.shape[0]
    letters[top : top + drawn.shape[0], margin : margin + drawn.shape[1]] = drawn
    return _Plate(label=label, letters=letters)


def _places(plates: Sequence[_Plate], shape: tuple[int, ...], stroke: int) -> list[Box]:
    """Finds a place for each plate: near its face, with minimal overlap with faces and other plates."""
    faces = [plate.label.box for plate in plates]
    taken: dict[int, Box] = {}
    # Greedy, from top to bottom.
    for number in sorted(range(len(plates)), key=lambda number: (faces[number][1], faces[number][0])):
        choices = _choices(plates[number], shape, stroke)
        costs = [_cost(place, faces[number], faces, taken.values(), stroke) for place in choices]
        taken[number] = choices[int(np.argmin(costs))]
    return [taken[number] for number in range(len(plates))]


def _choices(plate: _Plate, shape: tuple[int, ...], stroke: int) -> list[Box]:
    """Returns the candidate places below, above and next to a face, inside the picture."""
    (left, top, width, height), (wide, tall) = plate.label.box, plate.size
    gap = 2 * stroke
    across = [left + width / 2 - wide / 2, left, left + width - wide, left - wide / 2, left + width - wide / 2]
    ways = [
        (x, y)
        for away in range(_FARTHEST)
        for y in (top + height + gap + away * tall, top - gap - (away + 1) * tall)
        for x in across
    ]
    ways += [
        (x, top + share * (height - tall)) for share in (1, 0, 0.5) for x in (left + width + gap, left - gap - wide)
    ]
    rows, columns = shape
    return [
        (min(max(x, 0), max(columns - wide, 0)), min(max(y, 0), max(rows - tall, 0)), float(wide), float(tall))
        for x, y in ways
    ]


def _cost(place: Box, own: Box, faces: Sequence[Box], plates: Iterable[Box], stroke: int) -> float:
    """Returns the cost of a place: mainly the share of the plate on faces or other plates, then the distance."""
    area = place[2] * place[3]
    on_faces = sum(_common(place, face) for face in faces) / area
    on_plates = sum(_common(_grown(place, stroke), plate) for plate in plates) / area
    # The line from the name to its face should not cross another face.
    start, end = sorted((place[1] + place[3] / 2, own[1] + own[3] / 2))
    line = own[0] + own[2] / 2 - stroke, start, 2.0 * stroke, end - start
    crossed = sum(_common(line, face) > 0 for face in faces if face != own) if _distance(place, own) > 3 * stroke else 0
    aside = abs(place[0] + place[2] / 2 - own[0] - own[2] / 2) / place[2]
    # Names are expected below faces, so above costs slightly more.
    above = 0.05 if place[1] < own[1] else 0.0
    return 20 * on_faces + 30 * on_plates + 8 * crossed + 0.5 * _distance(place, own) / place[3] + 0.2 * aside + above


def _grown(box: Box, margin: float) -> Box:
    return box[0] - margin, box[1] - margin, box[2] + 2 * margin, box[3] + 2 * margin


def _common(one: Box, other: Box) -> float:
    """Returns the area of the intersection of two boxes."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)


def _distance(one: Box, other: Box) -> float:
    """Returns the distance of two boxes in pixels; 0 if they overlap."""
    across = max(one[0] - other[0] - other[2], other[0] - one[0] - one[2], 0.0)
    down = max(one[1] - other[1] - other[3], other[1] - one[1] - one[3], 0.0)
    return float(np.hypot(across, down))


def _draw_box(image: NDArray[np.uint8], label: Label, stroke: int) -> None:
    """Draws a light line on a wider dark one, visible on any background; dashed for unknown faces."""
    left, top, width, height = label.box
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    lines = list(zip(corners, corners[1:] + corners[:1], strict=True))
    if label.name is None:
        lines = [dash for line in lines for dash in _dashes(*line, 5 * stroke)]
    for color, wide in ((_DARK, stroke + 2 * max(1, stroke // 2)), (_color(label), stroke)):
        for start, end in lines:
            cv2.line(image, _pixel(start), _pixel(end), color, wide, cv2.LINE_AA)


def _dashes(
    start: tuple[float, float], end: tuple[float, float], length: int
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Yields every second of an odd number of equal pieces of a line, so that both ends are drawn."""
    ends = np.array([start, end], np.float64)
    pieces = max(1, round(float(np.linalg.norm(ends[1] - ends[0])) / length / 2)) * 2 + 1
    points = [tuple(ends[0] + (ends[1] - ends[0]) * share / pieces) for share in range(pieces + 1)]
    for piece in range(0, pieces, 2):
        yield points[piece], points[piece + 1]


def _draw_leader(image: NDArray[np.uint8], plate: _Plate, place: Box, stroke: int) -> None:
    """Draws a line from a name to its face if they are far apart."""
    own = plate.label.box
    if _distance(place, own) <= 3 * stroke:
        return
    middle = own[0] + own[2] / 2
    x = min(max(middle, place[0]), place[0] + place[2])
    if place[1] > own[1]:
        start, end = (x, place[1]), (middle, own[1] + own[3])
    else:
        start, end = (x, place[1] + place[3]), (middle, own[1])
    for color, wide in ((_DARK, stroke + 2 * max(1, stroke // 2)), (_color(plate.label), stroke)):
        cv2.line(image, _pixel(start), _pixel(end), color, wide, cv2.LINE_AA)


def _draw_plate(image: NDArray[np.uint8], plate: _Plate, place: Box, stroke: int) -> None:
    """Draws light letters on a dark background, with edges in the color of the box."""
    left, top = int(place[0]), int(place[1])
    part = image[top : top + plate.size[1], left : left + plate.size[0]]
    rows, columns = part.shape[:2]
    opaque = plate.letters[:rows, :columns, None].astype(np.float32) / 255
    ground = np.array(_DARK, np.float32)
    part[:] = np.rint(ground + (np.array(_LIGHT, np.float32) - ground) * opaque).astype(np.uint8)
    edge = max(1, stroke // 2)
    part[:, :edge] = part[:, columns - edge :] = _color(plate.label)


def _pixel(point: Sequence[float]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
