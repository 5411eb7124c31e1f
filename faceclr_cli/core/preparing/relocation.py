"""Detection of photos that were moved: the same content under another path keeps its faces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.preparing.ledger import Ledger, Row
from faceclr_cli.core.preparing.photo_worker import CropJob, stamp_of
from faceclr_cli.core.sources.layouts import photo_reader

SOURCE = "source"
"""Name of the ledger's setting that contains the path of the source."""


@dataclass(frozen=True, kw_only=True)
class Relocation:
    """The former location of a ledger's photos, and the rows to update.

    Attributes:
        former: The location in the ledger.
        updated: Updated rows of photos with another modification time but the same content.
    """

    former: str
    updated: tuple[Row, ...]


def find_relocation(ledger: Path, source: Path, place: str, work: Iterable[CropJob]) -> Relocation | None:
    """Checks if the photos are those that a ledger knows from another location.

    Args:
        ledger: The SQLite file.
        source: The photos, as for `find_photos`.
        place: The location of the photos as the ledger would record it.
        work: All photos.

    Returns:
        None if the ledger records this location, or if most of its photos are not among these.
    """
    if not ledger.is_file():
        return None
    try:
        with Ledger.open_to_read(ledger) as known:
            former = known.terms().get(SOURCE)
            if not isinstance(former, str) or former == place:
                return None
            rows = [row for row in known.rows() if row.sha256 is not None]
    except DataError:
        return None  # a missing or damaged ledger is reported when it is opened for writing
    asked = {item.path: item for item in work}
    here = [(row, asked[row.path]) for row in rows if row.path in asked]
    unchanged = [row for row, item in here if (row.size, row.mtime_ns) == stamp_of(item)]
    if 2 * len(here) <= len(rows):
        return None
    updated = tuple(_updated_rows(source, here))
    if 2 * (len(unchanged) + len(updated)) <= len(rows):
        return None
    return Relocation(former=former, updated=updated)


def with_former_source(terms: Mapping[str, object], relocation: Relocation | None) -> dict[str, object]:
    """Returns the settings with the location that the ledger of moved photos records."""
    return {**terms, **({} if relocation is None else {SOURCE: relocation.former})}


def _updated_rows(source: Path, here: Iterable[tuple[Row, CropJob]]) -> Iterator[Row]:
    with photo_reader(source) as read:
        for row, item in sorted(here, key=lambda pair: (pair[1].position, pair[1].path)):
            stamp = stamp_of(item)
            if (
                stamp is None
                or stamp[0] != row.size
                or stamp[1] == row.mtime_ns
                or item.refused is not None
                or item.piece is not None
            ):
                continue
            try:
                digest = hashlib.sha256(read(item.path)).hexdigest()
            except DataError:
                continue
            if digest == row.sha256:
                yield replace(row, mtime_ns=stamp[1])
