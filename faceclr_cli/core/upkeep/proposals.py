"""Proposals of `faceclr clean`, and the CSV file that holds them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.face_folder import UNNAMED
from faceclr_cli.core.text import canonical, decode, display_path, is_file_name

Finding = Literal[
    "same-person", "two-people", "intruder", "test-set", "duplicate", "near-duplicate", "no-face", "two-faces",
    "blurred", "unreadable",
]  # fmt: skip
Action = Literal["move", "remove", "keep"]

COLUMNS = ("face", "what", "odds", "other", "action")
_MOST_ODDS = 1e9
_LONGEST = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposed change.

    Attributes:
        face: Path of a face in its folder, or the name of a person: all their faces.
        what: What was found.
        odds: Odds that this is so, to 1; None if they are not estimated.
        other: The other side: the person that an intruder shows, the other name of a person, the picture that a
            duplicate repeats, the picture of a test set; empty if there is none.
        action: `move` moves the face or the person to the person `other`, `remove` leaves it out, `keep` does nothing.
    """

    face: str
    what: Finding
    odds: float | None
    other: str
    action: Action

    @property
    def is_person(self) -> bool:
        """True if the proposal is about all faces of a person."""
        return "/" not in self.face

    @property
    def cells(self) -> tuple[str, ...]:
        """The proposal as a row of the CSV file."""
        return (self.face, self.what, "" if self.odds is None else f"{self.odds:g}", self.other, self.action)


def odds_of(log_odds: float) -> float:
    """Converts log odds to odds with three significant digits, at most 1e9."""
    return float(f"{min(math.exp(min(log_odds, 50.0)), _MOST_ODDS):.3g}")


def write_proposals(path: Path, proposals: Sequence[Proposal]) -> None:
    """Writes proposals as a CSV file.

    Raises:
        DataError: The file cannot be written.
    """
    try:
        write_csv_rows(path, COLUMNS, (each.cells for each in proposals))
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be written ({error.strerror or error})") from error


def write_csv_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a CSV file atomically. Bytes of names that are not UTF-8 are kept.

    Raises:
        OSError: The file cannot be written.
    """
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_proposals(path: Path) -> list[tuple[int, Proposal]]:
    """Reads proposals, which may have been edited, with their line numbers.

    Raises:
        DataError: The file cannot be read, has no such columns, or a line is malformed; the message gives its number.
    """
    origin = display_path(path)
    try:
        if path.stat().st_size > _LONGEST:
            raise DataError(f"{origin}: too large for a file of proposals")
        rows = csv.DictReader(io.StringIO(decode(path.read_bytes()), newline=""))
        if rows.fieldnames is None or not {*COLUMNS}.issubset(rows.fieldnames):
            raise DataError(f"{origin}: not a file of proposals; its first line must be {','.join(COLUMNS)}")
        return [(rows.line_num, _proposal(row, f"{origin}:{rows.line_num}")) for row in rows]
    except OSError as error:
        raise DataError(f"{origin}: cannot be read ({error.strerror or error})") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{origin}: {error}") from error


def _proposal(row: dict[str, str | None], where: str) -> Proposal:
    face, what, odds, other, action = ((row[name] or "").strip() for name in COLUMNS)
    if not face:
        raise DataError(f"{where}: names no face")
    if action not in get_args(Action):
        raise DataError(
            f"{where}: the action must be {', '.join(get_args(Action))}, not {display_path(action) or 'empty'}"
        )
    if what not in get_args(Finding):
        raise DataError(f"{where}: unknown finding {display_path(what)}; see faceclr clean --help")
    try:
        number = float(odds) if odds else None
    except ValueError:
        raise DataError(f"{where}: the odds must be a number, not {display_path(odds)}") from None
    if action == "move" and not is_person_name(other):
        raise DataError(
            f"{where}: a face cannot be moved to {display_path(other) or 'an empty name'}; name a person in 'other'"
        )
    return Proposal(face=face, what=cast(Finding, what), odds=number, other=other, action=cast(Action, action))


def is_person_name(name: str) -> bool:
    """Returns True if a person may have this name, which is that of a folder."""
    return bool(name) and is_file_name(name) and not name.startswith(".") and canonical(name) != UNNAMED
