"""Thumbnails of the faces of a store, made from the embedded files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.decode import Picture
from faceclr_cli.core.plots.face_square import face_square
from faceclr_cli.core.sources.file_trees import leads_out, read_file
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import cores

_LARGE, _SMALL = 64, 48
_MANY = 5000
"""Number of faces above which thumbnails are smaller, to limit the size of the page."""

Thumbnail = NDArray[np.uint8] | None


def make_thumbnails(
    rows: Rows, config: Mapping[str, Any], given: Path | None, reporter: Reporter
) -> Sequence[Thumbnail]:
    """Makes a thumbnail of each face from the files in a folder.

    A file is used only if its content has not changed since it was embedded, and is never read from outside the folder.

    Args:
        rows: The faces.
        config: The config of the store; its `faces` is the default folder.
        given: The folder given by the user, or None.
        reporter: Receives the progress and a notice about missing thumbnails.

    Returns:
        Square RGB pictures of equal size; None for faces without one. Shape: (faces,).

    Raises:
        DataError: The folder given by the user does not exist.
    """
    if given is not None and not given.is_dir():
        raise DataError(f"{display_path(given)}: {'not a folder' if given.exists() else 'no such folder'}")
    named = config.get("faces")
    root = given or (Path(named) if isinstance(named, str) and "\0" not in named else None)
    if root is None or not root.is_dir():
        why = "the store does not name its folder" if root is None else f"{display_path(root)} is not a folder"
        reporter.report(Notice(text=f"the map has no thumbnails: {why}; pass the folder of faces with --faces"))
        return [None] * len(rows)
    side = _LARGE if len(rows) <= _MANY else _SMALL
    with ThreadPoolExecutor(min(8, cores())) as pool:
        coming = pool.map(partial(_thumbnail, rows, root, side), range(len(rows)))
        made = list(track(coming, reporter, "reading thumbnails", total=len(rows), unit="faces"))
    if missing := sum(picture is None for picture in made):
        text = (
            f"{missing:,} of {len(made):,} faces have no thumbnail: the file is not in {display_path(root)}, or has "
            "changed since it was embedded"
        )
        reporter.report(Notice(text=text))
    return made


def _thumbnail(rows: Rows, root: Path, side: int, number: int) -> Thumbnail:
    name = rows.paths[number]
    if leads_out(name):
        return None
    try:
        data = read_file(root / name)
        if hashlib.sha256(data).hexdigest() != rows.content_hashes[number]:
            return None
        return face_square(Picture(data, root / name), rows.boxes[number], side)
    except (DataError, OSError):
        return None
