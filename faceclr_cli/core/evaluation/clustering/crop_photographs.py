"""The source photographs of prepared crops, as the ledger of `prepare` records them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.track_links import link_tracks
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.evaluation.clustering.group_memory import Box, RememberedFace
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger


def describe_faces(rows: Rows, folder: Path | None) -> tuple[RememberedFace, ...]:
    """Describes each face so that it can be recognized in a later run: by its photograph and its box.

    Args:
        rows: The faces.
        folder: The folder of prepared faces that the rows were embedded from, if any.

    Returns:
        The faces, without a group and a link. Same length as `rows`.

    Raises:
        DataError: The ledger is damaged.
    """
    photographs = {} if folder is None or not (folder / LEDGER).is_file() else dict(_photographs(folder / LEDGER))
    boxes = [None if np.isnan(box).any() else box for box in rows.boxes]
    faces = []
    for path, digest, box in zip(rows.paths, rows.content_hashes, boxes, strict=True):
        own = None if box is None else _box(box)
        photo, place = photographs.get(path, (path, own))
        faces.append(RememberedFace(path=path, photo=photo, sha256=digest, box=place, group=None, link=None))
    return tuple(faces)


def read_track_links(rows: Rows, folder: Path | None) -> Constraints:
    """Returns the constraints on faces that follow from the tracks of films; see `describe_faces` for the arguments."""
    if folder is None or not (folder / LEDGER).is_file():
        return Constraints.none(len(rows))
    with Ledger.open_to_read(folder / LEDGER) as opened:
        return link_tracks(rows.paths, opened.tracks())


def _photographs(ledger: Path) -> Iterator[tuple[str, tuple[str, Box | None]]]:
    """Yields each crop with the path of its photograph and the box of its face.

    The photograph of a crop from a film is the frame: `film.mp4#12.4`, with the time in seconds.
    """
    with Ledger.open_to_read(ledger) as opened:
        for row in opened.rows():
            if row.output is None:
                continue
            for track in row.tracks:
                for output, face in zip(track.outputs, track.faces, strict=True):
                    box = face.get("box")
                    yield output, (f"{row.path}#{face.get('seconds')}", None if box is None else _box(box))
            if row.tracks:
                continue
            others = json.loads(row.more or "[]")
            boxes = [None if row.box is None else json.loads(row.box), *(face.get("box") for face in others)]
            for output, box in zip(row.outputs, boxes, strict=True):
                yield output, (row.path, None if box is None else _box(box))


def _box(sides: Sequence[float] | NDArray[np.float32]) -> Box:
    left, top, width, height = map(float, sides)
    return left, top, width, height
