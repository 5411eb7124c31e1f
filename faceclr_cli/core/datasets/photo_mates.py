"""Faces of one photograph or film: facts about them that are certain without names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, folder_prefixes
from faceclr_cli.core.datasets.track_links import link_tracks
from faceclr_cli.core.faces.face_folder import SPLIT
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger
from faceclr_cli.core.preparing.track_table import TrackRow


def find_photographs(faces: JoinedFaces, folders: Sequence[Path]) -> NDArray[np.int64]:
    """Returns the photograph of each face, as the ledgers of `prepare --face all` record it.

    A part of a split has the ledger of the faces that were split. Faces without a ledger count as faces of different
    photographs.

    Args:
        faces: Faces of the folders.
        folders: The folders, in the order in which they were joined.

    Returns:
        Indices of photographs. Shape: (faces,).

    Raises:
        DataError: A ledger is damaged.
    """
    numbers: dict[str, int] = {}
    count = 0
    for prefix, ledger in _ledgers(folders):
        for row in ledger.rows():
            if len(row.outputs) > 1:
                numbers |= {prefix + output: count for output in row.outputs}
                count += 1
    found = np.array([numbers.get(path, -1) for path in faces.paths], np.int64)
    return np.where(found < 0, count + np.arange(len(faces)), found)


def find_track_links(faces: JoinedFaces, folders: Sequence[Path]) -> Constraints:
    """Returns the constraints on faces that follow from the tracks of films.

    The arguments and errors are those of `find_photographs`.
    """
    return link_tracks(faces.paths, _tracks(folders))


def _tracks(folders: Sequence[Path]) -> Iterator[TrackRow]:
    for prefix, ledger in _ledgers(folders):
        for track in ledger.tracks():
            outputs = tuple(prefix + output for output in track.outputs)
            yield replace(track, path=prefix + track.path, outputs=outputs)


def _ledgers(folders: Sequence[Path]) -> Iterator[tuple[str, Ledger]]:
    """Yields each ledger with the prefix of the paths of its faces."""
    for prefix, folder in zip(folder_prefixes(folders), folders, strict=True):
        path = _ledger_of(folder)
        if path is not None:
            with Ledger.open_to_read(path) as ledger:
                yield prefix, ledger


def _ledger_of(folder: Path) -> Path | None:
    """Returns the ledger of a folder, or of the faces that it is a part of."""
    candidates, split = [folder / LEDGER], folder.resolve().parent / SPLIT
    if split.is_file():
        # The path of the faces is as it was typed, so it may be relative to another folder.
        source = read_json(split).get("config", {}).get("faces")
        candidates += [place / str(source) / LEDGER for place in (Path(), split.parent.parent)]
    return next((path for path in candidates if path.is_file()), None)
