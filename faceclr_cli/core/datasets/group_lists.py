"""Reader for tables that list the groups of people or pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.pair_files import table_rows, text_lines
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.picture_names import PictureNames
from faceclr_cli.core.text import canonical, display_path

_MOST_GROUPS = 40
_KEYS = ("identity", "path")


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupColumn:
    """The groups of pictures by one attribute.

    Attributes:
        attribute: Name of the column.
        names: Names of the groups, sorted.
        numbers: Index of each picture's group; -1 for none. Shape: (pictures,).
    """

    attribute: str
    names: tuple[str, ...]
    numbers: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupList:
    """A table of groups.

    Attributes:
        origin: Name of the file in messages.
        key: The kind of names in the first column: people (`identity`) or pictures (`path`).
        attributes: Names of the other columns.
        groups_of: The groups of each person or picture, one for each attribute; empty for none.
    """

    origin: str
    key: Literal["identity", "path"]
    attributes: tuple[str, ...]
    groups_of: dict[str, tuple[str, ...]]

    def assign(self, paths: Sequence[str], identities: Sequence[str | None]) -> tuple[GroupColumn, ...]:
        """Looks up the groups of pictures, one column for each attribute.

        Paths may be spelled differently; see `PictureNames`. Names of people may differ in their Unicode form.

        Args:
            paths: Path of each picture.
            identities: The person of each picture, or None.

        Raises:
            DataError: The list contains none of the pictures or people.
        """
        rows = self._rows_by_identity(identities) if self.key == "identity" else self._rows_by_path(paths)
        if not any(rows):
            listed = display_path(next(iter(self.groups_of)))
            what, names = ("people", identities) if self.key == "identity" else ("pictures", paths)
            known = display_path(next((name for name in names if name is not None), "unnamed"))
            raise DataError(
                f"{self.origin}: lists none of the {what}; it begins with {listed}, the {what} with {known}"
            )
        return tuple(self._column(place, rows) for place in range(len(self.attributes)))

    def _rows_by_identity(self, identities: Sequence[str | None]) -> list[tuple[str, ...] | None]:
        return [None if name is None else self.groups_of.get(canonical(name)) for name in identities]

    def _rows_by_path(self, paths: Sequence[str]) -> list[tuple[str, ...] | None]:
        names, found = PictureNames(paths), dict[str, tuple[str, ...]]()
        for listed, groups in self.groups_of.items():
            path = names.find(listed)
            if path is not None:
                found[path] = groups
        return [found.get(path) for path in paths]

    def _column(self, place: int, rows: Sequence[tuple[str, ...] | None]) -> GroupColumn:
        texts = [row[place] if row else "" for row in rows]
        names = tuple(sorted(set(texts) - {""}))
        number_of = {name: number for number, name in enumerate(names)}
        numbers = np.array([number_of.get(text, -1) for text in texts], np.int64)
        return GroupColumn(attribute=self.attributes[place], names=names, numbers=numbers)


def read_groups(path: Path) -> GroupList:
    """Reads a table with the header `identity,GROUP[,GROUP2...]` or `path,GROUP[,GROUP2...]`.

    Each further column is an attribute, such as an age range, and its cells name groups. An empty cell means no group.
    For the format see `pair_files.table_rows`.

    Raises:
        DataError: The file cannot be read or lists nothing, the header is missing or has a name twice, a line has too
            few or too many cells, a person or picture is listed with different groups, or an attribute has more than 40
            groups.
    """
    origin = display_path(path)
    rows = table_rows(text_lines(path), origin, lambda cells: len(cells) > 1 and cells[0].lower() in _KEYS)
    number, header = next(rows, (1, [""]))
    key, *attributes = header
    is_identity = key.lower() == "identity"
    if key.lower() not in _KEYS or not attributes or not all(attributes):
        raise DataError(f"{origin}:{number}: expected a header such as 'identity,age' or 'path,age'")
    if len(set(attributes)) < len(attributes):
        raise DataError(f"{origin}:{number}: a column name is listed twice")
    groups_of = dict[str, tuple[str, ...]]()
    for number, row in rows:
        if len(row) != len(header) or not row[0]:
            raise DataError(f"{origin}:{number}: expected {len(header)} cells: '{','.join(header)}'")
        name, groups = canonical(row[0]) if is_identity else row[0], tuple(row[1:])
        if groups_of.setdefault(name, groups) != groups:
            raise DataError(f"{origin}:{number}: {display_path(name)} is listed above with other groups")
    if not groups_of:
        raise DataError(f"{origin}: lists no groups")
    for place, attribute in enumerate(attributes):
        count = len({groups[place] for groups in groups_of.values()} - {""})
        if count > _MOST_GROUPS:
            raise DataError(
                f"{origin}: the column {display_path(attribute)} has {count} groups, and at most {_MOST_GROUPS} can be "
                "compared; use ranges"
            )
    return GroupList(
        origin=origin, key="identity" if is_identity else "path", attributes=tuple(attributes), groups_of=groups_of
    )
