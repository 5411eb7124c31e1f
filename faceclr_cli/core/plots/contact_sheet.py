"""Contact sheet of prepared faces: random crops, and rejected photographs with their reasons."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from heapq import nsmallest
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.align import template
from faceclr_cli.core.faces.decode import Picture, read_bytes
from faceclr_cli.core.faces.face_folder import UNNAMED, FaceFolder, open_faces
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.plots.figure_style import format_count, plain_style, require_drawable, save_whole
from faceclr_cli.core.plots.tiles import FINEST, Section, Tile, compose_tiles, shrink
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger, Row, RowState
from faceclr_cli.core.sources.layouts import photo_reader

_CROPS, _REFUSED = 48, 16

_SOUND = frozenset({Reason.NO_FACE, Reason.SMALL, Reason.BLURRED, Reason.SEVERAL, Reason.FEW, Reason.SURPLUS})
"""Reasons for which a photograph can be decoded. Photographs with other reasons are not opened."""


def draw_sheet(faces: Path, source: Path, target: Path, *, seed: int = 0) -> None:
    """Draws random crops of a folder of faces with the template landmarks, and rejected photographs.

    The same folder and seed give the same bytes.

    Args:
        faces: A folder that `prepare` wrote.
        source: The source photographs of `faces`.
        target: Output file: .jpg, .png, .webp, .pdf or .svg.
        seed: Seed for the selection of pictures.

    Raises:
        ConfigError: The suffix of `target` is not a supported picture format.
        DataError: The folder or its ledger cannot be read, or the picture cannot be written.
    """
    require_drawable(target)
    folder = open_faces(faces)
    with Ledger.open_to_read(faces / LEDGER) as ledger:
        photos, reasons, refused = _left_out(ledger.rows(), seed)
    crops = sorted(nsmallest(_CROPS, folder.paths, key=lambda path: _chance(path, seed)))
    some = f"random sample of {len(crops)}; " if len(crops) < len(folder) else ""
    sections = [
        Section(
            tiles=[_crop_tile(faces, path) for path in crops],
            points=_landmarks(folder.fingerprint),
            has_axis=folder.fingerprint.template.startswith("eyes"),
        )
    ]
    if refused:
        why = ", ".join(f"{reason} ({number:,})" for reason, number in reasons.most_common())
        with photo_reader(source) as read:
            tiles = [_refused_tile(read, row) for row in refused]
        sections.append(Section(tiles=tiles, heading=f"Rejected: {why}"))
    with plain_style():
        figure = compose_tiles(
            _title(folder),
            f"{some}{reasons.total():,} of {format_count(photos, 'photograph', 'photographs')} rejected",
            sections,
        )
        save_whole(figure, target)


def _title(folder: FaceFolder) -> str:
    faces, people = format_count(len(folder), "face", "faces"), format_count(len(folder.people), "person", "people")
    known = len(folder) - folder.identities.count(None)
    if known in (0, len(folder)):
        return f"{faces} of {people}" if known else faces
    return f"{faces}, {known:,} of {people}"


def _left_out(rows: Iterable[Row], seed: int) -> tuple[int, Counter[Reason], list[Row]]:
    """Counts the photographs and selects some rejected ones, taking each reason in turn so that rare ones appear.

    Returns:
        The number of photographs, the number rejected for each reason, and the selected rows, ordered by reason (most
        frequent first) and name.
    """
    photos = 0
    groups: dict[Reason, list[Row]] = defaultdict(list)
    for row in rows:
        photos += 1
        if row.state is not RowState.DONE and row.reason is not None:
            groups[row.reason].append(row)
    reasons = Counter({reason: len(groups[reason]) for reason in sorted(groups)})
    order = [reason for reason, _ in reasons.most_common()]
    heads = (nsmallest(_REFUSED, groups[reason], key=lambda row: _chance(row.path, seed)) for reason in order)
    in_turn = (row for turn in zip_longest(*heads) for row in turn if row is not None)
    chosen = list(islice(in_turn, _REFUSED))
    return photos, reasons, [row for reason in order for row in sorted(chosen, key=_path) if row.reason is reason]


def _path(row: Row) -> str:
    return row.path


def _chance(name: str, seed: int) -> bytes:
    return hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(name))).digest()


def _crop_tile(faces: Path, path: str) -> Tile:
    person, file = path.split("/", 1)
    stem = os.path.splitext(file)[0]
    try:
        image = _decoded(read_bytes(faces / path))
    except DataError:
        image = None  # the sheet shows an empty frame for a damaged crop
    return Tile(image=image, name=stem if person == UNNAMED else f"{person}/{stem}")


def _refused_tile(read: Callable[[str], bytes], row: Row) -> Tile:
    image = None
    if row.reason in _SOUND:
        try:
            image = _decoded(read(row.path))
        except DataError:
            image = None  # the file was changed or deleted after `prepare`
    return Tile(image=image, name=row.path, text=str(row.reason))


def _decoded(data: bytes) -> NDArray[np.uint8]:
    picture = Picture(data, "picture")
    return shrink(picture.pixels(picture.shrink_to(FINEST)))


def _landmarks(fingerprint: Fingerprint) -> NDArray[np.float64] | None:
    """Returns the template landmarks as shares of the crop's side. Shape: (5, 2)."""
    if fingerprint.template != "arcface":
        return None
    # The origin of the template is the center of the first pixel, that of a share its edge.
    return (template(fingerprint.size) + 0.5) / fingerprint.size
