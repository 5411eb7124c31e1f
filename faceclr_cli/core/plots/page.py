"""A map of faces as one page for a browser, which needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.reasons import shown
from faceclr_cli.core.plots.marks import DISTINCT, NOBODY, mark_of

_HERE = Path(__file__)
_COLUMNS = 32
_QUALITY = 78


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

    Names and paths may hold anything: they are data of the page, never part of its markup, and what is no script
    of ours does not run in it. Nor may it ask for anything outside itself.

    Args:
        path: The file to write.
        points: Shape: (faces, 2).
        people: Name of each face's person, or None where nobody knows. Shape: (faces,).
        paths: What each face is called. Shape: (faces,).
        thumbnails: A small square picture of each, RGB, all of one side; None where there is none. Shape: (faces,).
        title: One line.
        subtitle: One line in smaller type.

    Raises:
        ValueError: The shapes differ, or there are no faces.
    """
    faces = len(people)
    if points.shape != (faces, 2) or not faces or len(paths) != faces or len(thumbnails) != faces:
        raise ValueError(f"points of {points.shape}, {faces} people, {len(paths)} paths make no page")
    names = sorted({name for name in people if name is not None})
    numbers = {name: number for number, name in enumerate(names)}
    pictured = [picture for picture in thumbnails if picture is not None]
    places = np.cumsum([picture is not None for picture in thumbnails]) - 1
    data = {
        "title": shown(title),
        "subtitle": shown(subtitle),
        "names": [shown(name) for name in names],
        "marks": [asdict(mark_of(number)) for number in range(DISTINCT)],
        "nobody": asdict(NOBODY),
        "x": [_short(x) for x in points[:, 0]],
        "y": [_short(y) for y in points[:, 1]],
        "who": [-1 if name is None else numbers[name] for name in people],
        "paths": [shown(name) for name in paths],
        "thumbnails": [-1 if picture is None else int(places[face]) for face, picture in enumerate(thumbnails)],
        "side": len(pictured[0]) if pictured else 0,
        "columns": _COLUMNS,
        "sheets": [base64.b64encode(sheet).decode() for sheet in _sheets(pictured)],
    }
    path.write_text(_filled(data), encoding="utf-8")


def _filled(data: dict[str, Any]) -> str:
    """The page's template with all that belongs in it."""
    style, script = (_HERE.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".css", ".js"))
    # Scripts and styles run by their digest, so that nothing which slipped in as markup could.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Of markup, only `<` could end the element that the data lies in.
    content = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = _HERE.with_suffix(".html").read_text(encoding="utf-8")
    # The data last: what looks like a place to fill in there is none.
    for name, text in (("policy", policy), ("style", style), ("script", script), ("data", content)):
        page = page.replace(f"{{{{{name}}}}}", text, 1)
    return page


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _short(number: np.floating[Any]) -> float:
    """Five digits, of which no screen shows more."""
    return float(f"{number:.5g}")


def _sheets(pictures: Sequence[NDArray[np.uint8]]) -> Iterator[bytes]:
    """The pictures as JPEGs of up to 32 rows and columns, since thousands of small files cost more than few large."""
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
