"""The table of tracks in the ledger of prepared films."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_TABLE = """
CREATE TABLE IF NOT EXISTS tracks (
    path NOT NULL,            -- as in `photos`
    track INTEGER NOT NULL,   -- 1, 2, ... within this path
    start TEXT NOT NULL,      -- time code of the first sighting, HH:MM:SS.mmm from the beginning of the film
    end TEXT NOT NULL,        -- time code of the last sighting
    frames INTEGER NOT NULL,  -- number of examined frames in which the face was found
    outputs TEXT NOT NULL,    -- list of its crops, relative to the folder, best first
    faces TEXT NOT NULL,      -- list of an object for each crop: its time in seconds, and the face as in `photos`
    together TEXT NOT NULL,   -- list of the numbers of the tracks of this path that were seen in one frame with it
    PRIMARY KEY (path, track)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS remove_tracks AFTER DELETE ON photos
BEGIN DELETE FROM tracks WHERE path = OLD.path; END;
"""
"""The table of tracks; only in ledgers with films."""


_LISTS = ("outputs", "faces", "together")


@dataclass(frozen=True, kw_only=True)
class TrackRow:
    """One track: a person in a film from one sighting to the last. The fields are the columns of the table `tracks`.

    The crops of a track show one person. A track and those in `together` are different people. Other tracks of a film
    may show the same person, for example after a cut.
    """

    path: str
    track: int
    start: str
    end: str
    frames: int
    outputs: tuple[str, ...]
    faces: tuple[dict[str, Any], ...] = ()
    together: tuple[int, ...] = ()


def has_tracks(database: sqlite3.Connection) -> bool:
    """Returns True if a ledger has the table."""
    return database.execute("SELECT name FROM sqlite_master WHERE name = 'tracks'").fetchone() is not None


def create_track_table(database: sqlite3.Connection) -> None:
    """Adds the table to a ledger that does not have it."""
    database.executescript(f"BEGIN; {_TABLE} COMMIT;")


def replace_tracks(database: sqlite3.Connection, path: str | bytes, tracks: Iterable[TrackRow]) -> None:
    """Replaces the tracks of a film. Does not commit."""
    database.execute("DELETE FROM tracks WHERE path = ?", (path,))
    database.executemany(
        "INSERT INTO tracks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (path, row.track, row.start, row.end, row.frames, *map(json.dumps, (row.outputs, row.faces, row.together)))
            for row in tracks
        ),
    )


def read_tracks(database: sqlite3.Connection) -> Iterator[TrackRow]:
    """Yields all tracks by path and number."""
    if not has_tracks(database):
        return
    for path, track, start, end, frames, *lists in database.execute("SELECT * FROM tracks"):
        yield TrackRow(
            path=os.fsdecode(path),
            track=track,
            start=start,
            end=end,
            frames=frames,
            **{name: tuple(json.loads(text)) for name, text in zip(_LISTS, lists, strict=True)},
        )
