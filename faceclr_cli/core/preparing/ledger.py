"""The ledger `manifest.sqlite`: the result for every source file. It makes `prepare` resumable."""

from __future__ import annotations

import json
import os
import sqlite3
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import Any, Self
from urllib.parse import quote

from faceclr_cli.core.configs.prepare import DEFAULT_FPS, DEFAULT_PER_TRACK
from faceclr_cli.core.errors import ConfigError, DataError, FaceclrError, LockedError
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.preparing.track_table import (
    TrackRow,
    create_track_table,
    has_tracks,
    read_tracks,
    replace_tracks,
)
from faceclr_cli.core.text import canonical, display_path

LEDGER = "manifest.sqlite"
"""File name in a folder of faces."""

_SCHEMA = 2
_COMMIT_SECONDS = 1.0

_TABLES = """
CREATE TABLE terms (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
    path PRIMARY KEY NOT NULL,  -- relative to the source; a BLOB where the name is not UTF-8
    state TEXT NOT NULL,        -- done, skipped, failed
    reason TEXT,                -- why it is not done
    identity,
    part TEXT,                  -- train, val or test, where the source divides its photographs itself
    output,                     -- the crop, relative to this folder
    size INTEGER,               -- of the source file, in bytes
    mtime_ns INTEGER,
    sha256 TEXT,                -- of the source file
    faces INTEGER,              -- how many were found
    box TEXT,                   -- [left, top, width, height] of the one taken, in pixels of the upright photograph
    landmarks TEXT,             -- [[x, y], ...]: eyes, nose, mouth corners, from left to right as seen
    score REAL,
    sharpness REAL,             -- variance of the Laplacian of the crop's gray values
    turn INTEGER,               -- counterclockwise rotation of the photograph, in degrees, in which the face was found
    bordered INTEGER,           -- 1 if the face was found only with a border around the photograph, otherwise 0
    more TEXT                   -- with --face all the other faces, as a list of objects with the columns that differ
) WITHOUT ROWID;
"""

_GIVEN_TABLE = """
CREATE TABLE IF NOT EXISTS given_faces (
    path PRIMARY KEY NOT NULL,  -- as in `photos`
    digest TEXT NOT NULL        -- of the landmarks that a file gave for this photograph
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS remove_given_faces AFTER DELETE ON photos
BEGIN DELETE FROM given_faces WHERE path = OLD.path; END;
"""
"""The table for digests of landmarks; only in ledgers of crops that were aligned by landmarks from a file."""


class RowState(StrEnum):
    """The result for a source file."""

    DONE = "done"
    SKIPPED = "skipped"  # a valid picture without a face that passes the filters
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One source file. The fields are the columns of the table `photos`, described in its definition.

    Attributes:
        tracks: The rows of the table `tracks`, for a film.
    """

    path: str
    state: RowState
    reason: Reason | None = None
    identity: str | None = None
    part: str | None = None
    output: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    faces: int | None = None
    box: str | None = None
    landmarks: str | None = None
    score: float | None = None
    sharpness: float | None = None
    turn: int | None = None
    bordered: int | None = None
    more: str | None = None
    tracks: tuple[TrackRow, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The crops of a photo, which show different people; for a film, the first crop. Empty unless it is `done`."""
        others = (str(face["output"]) for face in json.loads(self.more or "[]"))
        return () if self.output is None else (self.output, *others)

    @property
    def crops(self) -> tuple[str, ...]:
        """All crops of a photo or a film, relative to the folder; empty unless it is `done`."""
        return tuple(crop for track in self.tracks for crop in track.outputs) or self.outputs


_LONGEST_REASON = 200
_ADDED = ("turn", "bordered")
"""Columns that ledgers of release 0.1.0 lack. They are added when such a ledger is written."""

_DEFAULTS: dict[str, Any] = {"fps": DEFAULT_FPS, "per_track": DEFAULT_PER_TRACK}
"""Settings that ledgers of release 0.2.0 and before lack, with their values there."""

_COLUMNS = tuple(field.name for field in fields(Row) if field.name != "tracks")
_values = attrgetter(*_COLUMNS)
_INSERT = f"INSERT OR REPLACE INTO photos ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


class Ledger:
    """The open ledger of one output folder. Use `Ledger.open` or `Ledger.open_to_read`."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._pending: list[Row] = []
        self._pending_digests: dict[str, str] = {}
        self._committed = monotonic()

    @classmethod
    @contextmanager
    def open(cls, path: Path, terms: Mapping[str, Any]) -> Iterator[Self]:
        """Opens or creates a ledger. Pending rows are written when the block ends, even after an exception.

        Args:
            path: The SQLite file.
            terms: The settings that all faces of the folder have in common. JSON values.

        Raises:
            ConfigError: The folder contains faces made with other settings.
            DataError: The file is not a ledger, has another version, or cannot be written.
            LockedError: Another program is writing to the file.
        """
        try:
            database = sqlite3.connect(path)
        except sqlite3.Error as error:
            raise _ledger_error(path, error) from error
        try:
            ledger = cls(path, database)
            ledger._apply_terms(terms)
            try:
                yield ledger
            finally:
                ledger.commit()
        except sqlite3.Error as error:
            raise _ledger_error(path, error) from error
        finally:
            database.close()

    @classmethod
    @contextmanager
    def open_to_read(cls, path: Path, terms: Mapping[str, Any] | None = None) -> Iterator[Self]:
        """Opens a ledger read-only, also while another run is writing to it.

        Args:
            path: The SQLite file.
            terms: The settings of the faces that are to be added, if any.

        Raises:
            ConfigError: The folder contains faces made with other settings.
            DataError: The file is missing, is not a ledger, or has another version.
        """
        if not path.is_file():
            raise DataError(f"{display_path(path)}: no such ledger")
        # Quote the bytes, because a name may not be valid UTF-8.
        address = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as database:
                ledger = cls(path, database)
                ledger._require({"schema": _SCHEMA, **(terms or {})})
                yield ledger
        except sqlite3.Error as error:
            raise _ledger_error(path, error) from error

    def _apply_terms(self, terms: Mapping[str, Any]) -> None:
        with self._database as database:
            with _damaged_values():  # SQLite quotes a damaged schema in its message, which may not be UTF-8.
                tables = database.execute("SELECT name FROM sqlite_master").fetchone()
            if not tables:
                database.executescript(f"BEGIN; {_TABLES} COMMIT;")
            if self._require({"schema": _SCHEMA, **terms}):
                # The folder has no faces yet that the new settings could contradict.
                database.executescript(f"BEGIN; DROP TABLE terms; DROP TABLE photos; {_TABLES} COMMIT;")
                asked = {"schema": _SCHEMA, **terms}
                database.executemany(
                    "INSERT INTO terms VALUES (?, ?)", ((name, json.dumps(value)) for name, value in asked.items())
                )
            for name in self._missing():
                database.execute(f"ALTER TABLE photos ADD COLUMN {name} INTEGER")

    def _missing(self) -> set[str]:
        """Returns the columns that this ledger lacks because an earlier release wrote it."""
        return set(_ADDED) - {about[1] for about in self._database.execute("PRAGMA table_info(photos)")}

    def _require(self, asked: Mapping[str, Any]) -> bool:
        """Returns True if any setting differs, which is an error as soon as the folder contains faces."""
        found = self.terms()
        different = [name for name in asked if asked[name] != found.get(name, _DEFAULTS.get(name))]
        if found and different and self.counts().get(RowState.DONE):
            name = different[0]
            raise ConfigError(
                f"{display_path(self.path.parent)}: contains faces made with {name.replace('_', ' ')} "
                f"{found.get(name)}, not {asked[name]}; choose another -o, or remove the folder"
            )
        return bool(different)

    def terms(self) -> dict[str, Any]:
        """Returns the settings that all faces of the folder have in common, by name."""
        with _damaged_values():
            found = self._database.execute("SELECT name, value FROM terms").fetchall()
            return {name: json.loads(value) for name, value in found}

    def prepare_for_given_faces(self) -> None:
        """Makes the ledger able to record digests of landmarks."""
        self._database.executescript(f"BEGIN; {_GIVEN_TABLE} COMMIT;")

    def change_term(self, name: str, value: object) -> None:
        """Changes one of the common settings and commits."""
        with self._database as database:
            database.execute("UPDATE terms SET value = ? WHERE name = ?", (json.dumps(value), name))

    def rows(self) -> Iterator[Row]:
        """Yields all rows, ordered by path."""
        missing, tracks = self._missing(), defaultdict[str, list[TrackRow]](list)
        for track in self.tracks():
            tracks[track.path].append(track)
        wanted = ", ".join("NULL" if name in missing else name for name in _COLUMNS)
        for values in self._database.execute(f"SELECT {wanted} FROM photos"):
            named = dict(zip(_COLUMNS, values, strict=True))
            for name in ("path", "identity", "output"):
                if isinstance(named[name], bytes):
                    named[name] = os.fsdecode(named[name])
            with _damaged_values():
                reason = Reason(named.pop("reason")) if named["reason"] else named.pop("reason")
                row = Row(
                    state=RowState(named.pop("state")), reason=reason, tracks=(*tracks.get(named["path"], ()),), **named
                )
            yield row

    def given_digests(self) -> dict[str, str]:
        """Returns the digests of the landmarks that a file gave for the photos, by path."""
        if not self._database.execute("SELECT name FROM sqlite_master WHERE name = 'given_faces'").fetchone():
            return {}
        found = self._database.execute("SELECT path, digest FROM given_faces").fetchall()
        return {os.fsdecode(path): digest for path, digest in found}

    def tracks(self) -> Iterator[TrackRow]:
        """Yields the tracks of all films, ordered by path and number."""
        with _damaged_values():
            yield from read_tracks(self._database)

    def add(self, row: Row, given_digest: str | None = None) -> None:
        """Records the result for a file and replaces an earlier row. Commits about once per second.

        Args:
            row: The result.
            given_digest: Digest of the landmarks that a file gave for it, if any.
        """
        self._pending.append(row)
        if given_digest is not None:
            self._pending_digests[row.path] = given_digest
        if monotonic() - self._committed > _COMMIT_SECONDS:
            self.commit()

    def remove(self, paths: Iterable[str]) -> None:
        """Removes the rows of files and commits."""
        with self._database as database:
            database.executemany("DELETE FROM photos WHERE path = ?", ((_storable(path),) for path in paths))

    def forget(self, identity: str) -> set[str]:
        """Removes all rows of a person and erases their bytes from the file.

        Args:
            identity: The name, as spelled by `text.canonical`.

        Returns:
            SHA-256 of the source files that only this person had. No trace of these files may remain elsewhere.
        """
        theirs, others = set[str](), set[str]()
        for row in self.rows():
            digests = theirs if row.identity is not None and canonical(row.identity) == identity else others
            digests.update({row.sha256} - {None})  # type: ignore[arg-type]
        spellings = [name for name in self.spellings() if canonical(name) == identity]
        with self._database as database:
            database.execute("PRAGMA secure_delete = ON")
            database.executemany("DELETE FROM photos WHERE identity = ?", ((_storable(name),) for name in spellings))
        self._database.execute("VACUUM")
        return theirs - others

    def spellings(self) -> set[str]:
        """Returns all identities as spelled in this ledger."""
        found = self._database.execute("SELECT DISTINCT identity FROM photos WHERE identity IS NOT NULL")
        return {os.fsdecode(name) for (name,) in found}

    def commit(self) -> None:
        """Writes pending rows. If a signal interrupts it, nothing is lost, and it can be called again."""
        if any(row.tracks for row in self._pending) and not has_tracks(self._database):
            create_track_table(self._database)
        with self._database as database:
            database.executemany(_INSERT, (tuple(map(_storable, _values(row))) for row in self._pending))
            if self._pending_digests:
                database.executemany(
                    "INSERT OR REPLACE INTO given_faces VALUES (?, ?)",
                    ((_storable(path), digest) for path, digest in self._pending_digests.items()),
                )
            if has_tracks(database):
                for row in self._pending:
                    replace_tracks(database, _storable(row.path), row.tracks)
        self._pending.clear()
        self._pending_digests.clear()
        self._committed = monotonic()

    def counts(self) -> dict[RowState, int]:
        """Returns the number of files in each state that occurs."""
        found = self._database.execute("SELECT state, COUNT(*) FROM photos GROUP BY state ORDER BY state")
        with _damaged_values():
            return {RowState(state): count for state, count in found}

    def reasons(self) -> dict[Reason, int]:
        """Returns the number of files for each reason that occurs, most frequent first."""
        found = self._database.execute(
            "SELECT reason, COUNT(*) FROM photos WHERE reason IS NOT NULL GROUP BY reason ORDER BY 2 DESC, 1"
        )
        with _damaged_values():
            return {Reason(reason): count for reason, count in found}

    def faces(self) -> int:
        """Returns the number of crops."""
        return sum(len(row.crops) for row in self.rows())

    def people(self) -> int:
        """Returns the number of people with at least one face."""
        found = self._database.execute("SELECT COUNT(DISTINCT identity) FROM photos WHERE state = 'done'").fetchone()
        return int(found[0])


def _storable(value: Any) -> Any:
    """Converts strings with lone surrogates (bytes that are not UTF-8) to bytes, because SQLite's TEXT rejects them."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return os.fsencode(value)
    return value


@contextmanager
def _damaged_values() -> Iterator[None]:
    """Reports values that faceclr does not write in the same way as a file that SQLite cannot read."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"damaged: {error}") from error


def _ledger_error(path: Path, error: sqlite3.Error) -> FaceclrError:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LockedError(f"{display_path(path)}: another program is writing to this ledger; try again later")
    # SQLite quotes a damaged schema in its message, which has many lines.
    reason = display_path(textwrap.shorten(str(error), _LONGEST_REASON, placeholder="..."))
    return DataError(
        f"{display_path(path)}: cannot be used as a ledger ({reason}); free some disk space, or remove the folder"
    )
