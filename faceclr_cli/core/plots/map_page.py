"""Map of faces as a self-contained HTML page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.plots.map_marks import DISTINCT, UNKNOWN_MARK, mark_of
from faceclr_cli.core.plots.page_document import embed_json, fill_page
from faceclr_cli.core.text import display_path

_COLUMNS = 32
_QUALITY = 78
_BEGIN, _END = '<script id="data" type="application/json">', "</script>"
_COUNTED = re.compile(r"[\d,]+ faces of [\d,]+ people")


def write_page(
    path: Path,
    points: NDArray[np.floating[Any]],
    people: Sequence[str | None],
    paths: Sequence[str],
    thumbnails: Sequence[NDArray[np.uint8] | None],
    *,
    title: str,
    subtitle: str,
) -> None:
    """Writes the page; the same arguments give the same bytes.

    Names and paths may contain anything: they are stored as data, not as markup. A content security policy blocks
    other scripts and all network requests.

    Args:
        path: Output file.
        points: Position of each face. Shape: (faces, 2).
        people: Name of each face's person, or None if unknown. Shape: (faces,).
        paths: Path of each face. Shape: (faces,).
        thumbnails: Square RGB picture of each face, all of the same size, or None. Shape: (faces,).
        title: One line.
        subtitle: One line in a smaller font.

    Raises:
        ValueError: The shapes differ, or there are no faces.
    """
    faces = len(people)
    if points.shape != (faces, 2) or not faces or len(paths) != faces or len(thumbnails) != faces:
        raise ValueError(f"points of {points.shape}, {faces} people, {len(paths)} paths do not match")
    names = sorted({name for name in people if name is not None})
    numbers = {name: number for number, name in enumerate(names)}
    pictured = [picture for picture in thumbnails if picture is not None]
    places = np.cumsum([picture is not None for picture in thumbnails]) - 1
    data = {
        "title": display_path(title),
        "subtitle": display_path(subtitle),
        "names": [display_path(name) for name in names],
        "marks": [asdict(mark_of(number)) for number in range(DISTINCT)],
        "unknownMark": asdict(UNKNOWN_MARK),
        "x": [_short(x) for x in points[:, 0]],
        "y": [_short(y) for y in points[:, 1]],
        "who": [-1 if name is None else numbers[name] for name in people],
        "paths": [display_path(name) for name in paths],
        "thumbnails": [-1 if picture is None else int(places[face]) for face, picture in enumerate(thumbnails)],
        "side": len(pictured[0]) if pictured else 0,
        "columns": _COLUMNS,
        "sheets": [base64.b64encode(sheet).decode() for sheet in _sheets(pictured)],
    }
    path.write_text(fill_page(Path(__file__), "Map of faces", data), encoding="utf-8")


def read_page(path: Path) -> dict[str, Any]:
    """Returns the data of a page that `write_page` wrote.

    Raises:
        DataError: The file cannot be read or is not such a page.
    """
    return _found(path)[1]


def remove_from_page(path: Path, is_theirs: Callable[[str], bool]) -> None:
    """Removes people from a page: their names, points, paths and thumbnails. The other points do not move.

    Args:
        path: A page that `write_page` wrote.
        is_theirs: Returns True for the names to remove.

    Raises:
        DataError: The file cannot be read or is not such a page.
    """
    (before, after), data = _found(path)
    gone = {number for number, name in enumerate(data["names"]) if is_theirs(name)}
    faces = [face for face, who in enumerate(data["who"]) if who not in gone]
    places = {data["thumbnails"][face] for face, who in enumerate(data["who"]) if who in gone} - {-1}
    numbers = {old: new for new, old in enumerate(sorted(set(range(len(data["names"]))) - gone))}
    data |= {name: [data[name][face] for face in faces] for name in ("x", "y", "who", "paths", "thumbnails")}
    data["who"] = [numbers.get(who, -1) for who in data["who"]]
    data["names"] = [name for number, name in enumerate(data["names"]) if number not in gone]
    data["sheets"] = [_without(sheet, number, places, data) for number, sheet in enumerate(data["sheets"])]
    if _COUNTED.fullmatch(data["subtitle"]):
        data["subtitle"] = f"{len(faces):,} faces of {len(data['names']):,} people"
    with atomic_path(path) as temporary:
        temporary.write_text(before + embed_json(data) + after, encoding="utf-8")


def _found(path: Path) -> tuple[tuple[str, str], dict[str, Any]]:
    """Returns the text before and after the data of a page, and the data."""
    try:
        text = path.read_text(encoding="utf-8")
        before, begin, rest = text.partition(_BEGIN)
        content, end, after = rest.partition(_END)
        data = json.loads(content)
        if not isinstance(data, dict) or not data.keys() >= {"names", "who", "x", "y", "paths", "thumbnails", "sheets"}:
            raise ValueError("unexpected data")
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{display_path(path)}: not a map that faceclr tsne wrote") from error
    return (before + begin, end + after), data


def _without(sheet: str, number: int, places: Set[int], data: dict[str, Any]) -> str:
    """Blacks out thumbnails on a sheet; returns the sheet unchanged if none of them is on it."""
    side, columns = data["side"], data["columns"]
    inside = [place - number * columns**2 for place in places if place // columns**2 == number]
    if not inside:
        return sheet
    picture = np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(sheet), np.uint8), cv2.IMREAD_COLOR))
    for place in inside:
        top, left = place // columns * side, place % columns * side
        picture[top : top + side, left : left + side] = 0
    return base64.b64encode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()).decode()


def _short(number: np.floating[Any]) -> float:
    """Rounds to five significant digits, more than a screen can show."""
    return float(f"{number:.5g}")


def _sheets(pictures: Sequence[NDArray[np.uint8]]) -> Iterator[bytes]:
    """Packs the pictures into JPEG sheets of up to 32 rows and columns, smaller than thousands of single files."""
    for start in range(0, len(pictures), _COLUMNS**2):
        some = pictures[start : start + _COLUMNS**2]
        side, rows = len(some[0]), -(-len(some) // _COLUMNS)
        sheet = np.zeros((rows * side, _COLUMNS * side, 3), np.uint8)
        for number, picture in enumerate(some):
            top, left = number // _COLUMNS * side, number % _COLUMNS * side
            sheet[top : top + side, left : left + side] = picture
        done, data = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise ValueError(f"pictures of {sheet.shape} cannot be written as JPEG")
        yield data.tobytes()
