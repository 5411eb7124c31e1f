"""Landmarks of faces that another detector found, from a CSV or JSON lines file."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.align import ARCFACE, similarity
from faceclr_cli.core.faces.decode import read_bytes
from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.sources.lists import find_listed
from faceclr_cli.core.sources.picture_names import plain_path
from faceclr_cli.core.text import decode, display_path
from faceclr_cli.core.wording import count

ORDER = "left eye, right eye, nose, left mouth corner, right mouth corner, as seen on the upright face"
"""The order of the points."""

_POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
_COORDINATES = tuple(f"{point}{axis}" for point in _POINTS for axis in "xy")
_NAMES = ("path", "file", "filename", "image", "imageid", "name", "photo")
_BOX = ("left", "top", "width", "height")
_COLUMNS = (
    "path, left_eye_x, left_eye_y, right_eye_x, right_eye_y, nose_x, nose_y, left_mouth_x, left_mouth_y, "
    "right_mouth_x, right_mouth_y, and optionally score and left, top, width, height"
)
_EXTRAS: dict[int, tuple[str, ...]] = {0: (), 1: ("score",), 4: _BOX, 5: ("score", *_BOX)}
"""Names of the columns after the points, by their number, in a CSV file without a header."""

_USUAL_BOX = (56.0, 66.0, 80.0, 106.0)
"""Center, width and height of YuNet's box in pixels of the 112-pixel ArcFace crop: medians of 250 photos of LFW."""

_SWAPPED = -0.2
"""Distance from the left to the right eye, or mouth corner, in units of the distance from eyes to mouth, below which
they are swapped. In a profile, it is near 0 and may be slightly negative."""

_NOSE = (-0.5, 1.5)
"""Range of the nose on the way from the eyes (0) to the mouth (1)."""


@dataclass(frozen=True, kw_only=True)
class GivenFaces:
    """The faces of one photograph in a landmark file.

    Attributes:
        faces: The faces, in the order of the file. The score is NaN if the file has none.
        lines: The line of each face.
        digest: Changes if any value of a face changes.
        is_sound: True if the points of all faces are in the right order.
    """

    faces: tuple[Face, ...]
    lines: tuple[int, ...]
    digest: str
    is_sound: bool = True


@dataclass(frozen=True, kw_only=True)
class LandmarkFile:
    """A landmark file.

    Attributes:
        path: The file.
        faces: The faces of each photograph, by its name in the file.
        has_scores: True if all faces have a score.
        has_boxes: True if the file has a box for all faces. Otherwise, boxes are estimated from the points.
        swapped: Lines whose points are not in the right order.
    """

    path: Path
    faces: Mapping[str, GivenFaces]
    has_scores: bool
    has_boxes: bool
    swapped: tuple[int, ...]

    def of_photos(self, names: Iterable[str], source: Path) -> dict[str, GivenFaces]:
        """Returns the faces of photographs by the photographs' names.

        Args:
            names: Names of the photographs, as in `Photo.name`.
            source: The photographs. Paths in the file are relative to it or to the working directory, or absolute.

        Raises:
            DataError: The file has two names for a photograph.
        """
        spellings = dict[str, str]()
        for name in self.faces:
            if (other := spellings.setdefault(_relative_to(name, source), name)) != name:
                text = f"{other} and {name} are the same photograph; use one of them"
                raise DataError(f"{display_path(self.path)}: {text}")
        found = find_listed({name: name for name in spellings}, tuple(names), "")
        return {photo: self.faces[spellings[name]] for photo, name in found.words.items()}


@dataclass(frozen=True, kw_only=True)
class _Line:
    number: int
    name: str
    points: NDArray[np.float32]
    score: float | None
    box: tuple[float, float, float, float] | None


def read_landmarks(path: Path) -> LandmarkFile:
    """Reads a landmark file: CSV, or JSON lines if a line starts with a brace. See docs/preparing.md.

    Raises:
        DataError: The file is missing, or a line is malformed, or the points of most faces are in the wrong order.
    """
    origin = display_path(path)
    try:
        text = decode(read_bytes(path))
    except ValueError as error:
        raise DataError(f"{origin}: {error}") from error
    read = _read_json if text.lstrip()[:1] == "{" else _read_csv
    lines = list(read(text, origin))
    if not lines:
        raise DataError(f"{origin}: contains no landmarks")
    swapped = tuple(line.number for line in lines if not _is_ordered(line.points))
    if 2 * len(swapped) > len(lines):
        raise DataError(
            f"{origin}:{swapped[0]}: the points are in the wrong order, here and in {len(swapped)} of {len(lines)} "
            f"lines; the order is {ORDER}"
        )
    by_name = defaultdict[str, list[_Line]](list)
    for line in lines:
        by_name[line.name].append(line)
    wrong = frozenset(swapped)
    return LandmarkFile(
        path=path,
        faces={name: _given(group, wrong) for name, group in by_name.items()},
        has_scores=all(line.score is not None for line in lines),
        has_boxes=all(line.box is not None for line in lines),
        swapped=swapped,
    )


def _given(lines: list[_Line], swapped: frozenset[int]) -> GivenFaces:
    once = {(line.points.tobytes(), line.score, line.box): line for line in reversed(lines)}
    lines = sorted(once.values(), key=lambda line: line.number)
    state = json.dumps([[line.points.tolist(), line.score, line.box] for line in lines])
    return GivenFaces(
        faces=tuple(
            Face(
                box=_usual_box(line.points) if line.box is None else line.box,
                landmarks=line.points,
                score=math.nan if line.score is None else line.score,
            )
            for line in lines
        ),
        lines=tuple(line.number for line in lines),
        digest=hashlib.sha256(state.encode()).hexdigest()[:16],
        is_sound=swapped.isdisjoint(line.number for line in lines),
    )


def _usual_box(points: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x, y, width, height = _USUAL_BOX
    matrix = similarity(ARCFACE, points)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    # Box edges lie between pixels, whereas landmarks refer to pixel centers.
    middle = matrix @ [x - 0.5, y - 0.5, 1] + 0.5
    width, height = width * scale, height * scale
    return float(middle[0]) - width / 2, float(middle[1]) - height / 2, width, height


def _is_ordered(points: NDArray[np.float32]) -> bool:
    """Returns True if the eyes and the mouth corners are from left to right, and the nose is between them."""
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    length = float(down @ down)
    if length == 0:
        return False
    for across in (points[1] - points[0], points[4] - points[3]):
        if (across[0] * down[1] - across[1] * down[0]) / length < _SWAPPED:
            return False
    return _NOSE[0] < float((points[2] - eyes) @ down) / length < _NOSE[1]


def _relative_to(name: str, source: Path) -> str:
    """Returns the path of a photograph relative to the source, however the file spells it."""
    if source == STANDARD_INPUT or not source.is_dir():
        return name
    root = f"{os.path.abspath(source)}{os.sep}"
    if Path(name).is_absolute() or not os.path.lexists(source / name):
        whole = os.path.abspath(name)
        if whole.startswith(root):
            return whole.removeprefix(root).replace(os.sep, "/")
    return name


def _read_json(text: str, origin: str) -> Iterator[_Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{origin}:{number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error})") from None
        if not isinstance(content, dict) or not isinstance(content.get("path"), str):
            raise DataError(f"{where}: expected an object with 'path' and 'landmarks'")
        yield _line(number, where, content["path"], content.get("landmarks"), content.get("score"), content.get("box"))


def _read_csv(text: str, origin: str) -> Iterator[_Line]:
    lines = re.split(r"(?<=\n)", text)
    # IJB's lists of landmarks, such as ijbc_name_5pts_score.txt, are separated by spaces.
    is_spaced = "," not in next((line for line in lines if line.strip()), ",")
    rows = csv.reader(lines, strict=True, delimiter=" " if is_spaced else ",", skipinitialspace=is_spaced)
    columns: Callable[[list[str], str], dict[str, str]] = _by_position
    is_first = True
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{origin}:{rows.line_num}"
            if is_first and len(row) > 1 and not any(map(_is_number, row[1:])):
                columns = _by_header(row, where)
            else:
                cells = columns(row, where)
                points = [cells[name] for name in _COORDINATES]
                box = [cells[name] for name in _BOX] if "left" in cells else None
                yield _line(rows.line_num, where, cells["path"], points, cells.get("score"), box)
            is_first = False
    except csv.Error as error:
        raise DataError(f"{origin}:{rows.line_num}: not CSV ({error})") from None


def _by_position(row: list[str], where: str) -> dict[str, str]:
    extras = _EXTRAS.get(len(row) - 1 - len(_COORDINATES))
    if extras is None:
        raise DataError(f"{where}: {count(len(row), 'column')}; expected {_COLUMNS}")
    return dict(zip(("path", *_COORDINATES, *extras), row, strict=True))


def _by_header(header: list[str], where: str) -> Callable[[list[str], str], dict[str, str]]:
    places: dict[str, int] = {}
    for place, title in enumerate(header):
        name = re.sub("[^a-z]", "", title.lower()).replace("mouthleft", "leftmouth").replace("mouthright", "rightmouth")
        places.setdefault("path" if name in _NAMES else name, place)
    missing = [name for name in ("path", *_COORDINATES) if name not in places]
    if missing:
        raise DataError(f"{where}: the header lacks {', '.join(missing)}; expected {_COLUMNS}")
    optional = ("score", *(_BOX if all(name in places for name in _BOX) else ()))
    wanted = {name: places[name] for name in ("path", *_COORDINATES, *optional) if name in places}

    def cells(row: list[str], where: str) -> dict[str, str]:
        if len(row) != len(header):
            raise DataError(f"{where}: {count(len(row), 'column')}, but the header has {len(header)}")
        return {name: row[place] for name, place in wanted.items()}

    return cells


def _line(number: int, where: str, name: str, points: object, score: object, box: object) -> _Line:
    coordinates = _numbers(points, 10, where, "ten coordinates of five points")
    shaped = np.array(coordinates, np.float32).reshape(5, 2)
    if float(np.ptp(shaped, axis=0).max()) < 2:
        raise DataError(f"{where}: the points coincide; coordinates are pixels, not shares of the picture's size")
    if not plain_path(name).strip("."):
        raise DataError(f"{where}: the path is empty")
    has_score = score is not None and score != ""
    sides = None if box is None or box == [""] * 4 else _numbers(box, 4, where, "a box of left, top, width and height")
    if sides is not None and min(sides[2:]) <= 0:
        raise DataError(f"{where}: the box has no area; its numbers are left, top, width and height")
    return _Line(
        number=number,
        name=name.strip(),
        points=shaped,
        score=_numbers([score], 1, where, "a score")[0] if has_score else None,
        box=None if sides is None else (sides[0], sides[1], sides[2], sides[3]),
    )


def _numbers(values: object, wanted: int, where: str, what: str) -> list[float]:
    flat: list[object] = []
    for value in values if isinstance(values, list) else [values]:
        flat += value if isinstance(value, list) else [value]
    numbers = [_number(value) for value in flat]
    found = [number for number in numbers if number is not None]
    if len(found) != wanted or len(numbers) != wanted:
        raise DataError(f"{where}: expected {what}, not {json.dumps(values)[:80]}")
    return found


def _number(value: object) -> float | None:
    """Returns a finite number of a size that pictures have, or None."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e7 else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
