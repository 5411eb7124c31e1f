"""Photographs that lie under another path than when their faces were made: the same content, so the same faces."""

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
"""The term of a ledger that names its photographs' place."""


@dataclass(frozen=True, kw_only=True)
class Relocation:
    """Where the photographs of a ledger were, and what of it must be noted anew.

    Attributes:
        former: The place that the ledger names.
        touched: Rows of photographs that have another date of change and the same content.
    """

    former: str
    touched: tuple[Row, ...]


def find_relocation(ledger: Path, source: Path, place: str, work: Iterable[CropJob]) -> Relocation | None:
    """Compares photographs with those that a ledger knows from another place.

    Args:
        ledger: The file.
        source: The photographs, as for `find_photos`.
        place: What the ledger would call them.
        work: All of them.

    Returns:
        None if the ledger names this place, or if most of its photographs are not among these.
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
        return None  # it was never begun, or is damaged, which shows when it is opened to be written
    asked = {item.path: item for item in work}
    here = [(row, asked[row.path]) for row in rows if row.path in asked]
    alike = [row for row, item in here if (row.size, row.mtime_ns) == stamp_of(item)]
    if 2 * len(here) <= len(rows):
        return None
    touched = tuple(_touched(source, here))
    if 2 * (len(alike) + len(touched)) <= len(rows):
        return None
    return Relocation(former=former, touched=touched)


def agree(terms: Mapping[str, object], relocation: Relocation | None) -> dict[str, object]:
    """The terms as a ledger of photographs that were moved has them."""
    return {**terms, **({} if relocation is None else {SOURCE: relocation.former})}


def _touched(source: Path, here: Iterable[tuple[Row, CropJob]]) -> Iterator[Row]:
    with photo_reader(source) as read:
        for row, item in sorted(here, key=lambda pair: (pair[1].position, pair[1].path)):
            stamp = stamp_of(item)
            if stamp is None or stamp[0] != row.size or stamp[1] == row.mtime_ns or item.refused is not None:
                continue
            try:
                digest = hashlib.sha256(read(item.path)).hexdigest()
            except DataError:
                continue
            if digest == row.sha256:
                yield replace(row, mtime_ns=stamp[1])
