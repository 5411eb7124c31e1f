"""Reader for lists of the pictures of templates.

A list is a table with a header, or one of those that are published with IJB-B and IJB-C: `ijbc_face_tid_mid.txt`
(picture, template, medium), and the galleries and probes of NIST's protocols (`TEMPLATE_ID,SUBJECT_ID,FILENAME,...`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from faceclr_cli.core.datasets.pairs.pair_files import pair_name, table_rows, text_lines
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.text import display_path

_PATHS = frozenset({"path", "file", "filename", "image", "img", "picture", "photo"})
_TEMPLATES = frozenset({"template", "template_id", "tid"})
_MEDIA = frozenset({"media", "medium", "media_id", "mid", "sighting_id"})
_PEOPLE = frozenset({"person", "identity", "subject", "subject_id", "person_id"})
_UNNAMED = ("path", "template", "media")


@dataclass(frozen=True, kw_only=True, eq=False)
class TemplateList:
    """The pictures of templates.

    Attributes:
        origin: Name of the files in messages.
        names: Names of the templates, in the order of the files.
        paths: The pictures. A picture may be in several templates.
        templates: Index of the template of each picture.
        media: The medium of each picture: the picture itself, if the file has no media.
        people: The person of each template for which the file has one.
    """

    origin: str
    names: Sequence[str]
    paths: Sequence[str]
    templates: Sequence[int]
    media: Sequence[str]
    people: Mapping[str, str]


@dataclass(kw_only=True)
class _Collector:
    numbers: dict[str, int] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    templates: list[int] = field(default_factory=list)
    media: list[str] = field(default_factory=list)
    people: dict[str, str] = field(default_factory=dict)

    def add(self, cells: Mapping[str, str], where: str) -> None:
        name, person = cells["template"], cells.get("person")
        if not name:
            raise DataError(f"{where}: the template is empty")
        number = self.numbers.setdefault(name, len(self.numbers))
        if person and self.people.setdefault(name, person) != person:
            raise DataError(
                f"{where}: template {display_path(name)} has two people, {display_path(self.people[name])} and "
                f"{display_path(person)}"
            )
        if path := cells.get("path"):
            self.paths.append(path)
            self.templates.append(number)
            self.media.append(cells.get("media") or path)


def read_template_lists(files: Sequence[Path], *, pictures: bool = True) -> TemplateList:
    """Reads lists of the pictures of templates; several lists are one.

    A header names the columns, in any order and among others: `path`, `template`, and optionally `media` and `person`.
    Without a header, they are `path template [media]`, separated by spaces, tabs, commas or semicolons.

    Args:
        files: The lists.
        pictures: Require at least one picture. Otherwise the lists may only choose templates.

    Raises:
        DataError: A file cannot be read, a line is malformed (the message gives its number), or a template has two
            people.
    """
    origin, collected = ", ".join(map(display_path, files)), _Collector()
    for file in files:
        for where, cells in _rows(file):
            collected.add(cells, where)
    if not collected.numbers or (pictures and not collected.paths):
        raise DataError(f"{origin}: contains no {'pictures of templates' if pictures else 'templates'}")
    return TemplateList(
        origin=origin,
        names=list(collected.numbers),
        paths=collected.paths,
        templates=collected.templates,
        media=collected.media,
        people=collected.people,
    )


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the cells of each line by the names of their columns."""
    origin = pair_name(file)
    rows = table_rows(text_lines(file), origin, _is_row)
    first = next(rows, None)
    if first is None:
        return
    columns = _columns(first[1])
    if columns is None:
        rows = chain([first], rows)
    width = len(first[1])
    for number, row in rows:
        where = f"{origin}:{number}"
        if len(row) != width or (columns is None and not _is_unnamed(row)):
            expected = "the columns of the first line" if columns else "'path template' or 'path template media'"
            raise DataError(f"{where}: expected {expected}")
        places = dict(enumerate(_UNNAMED)) if columns is None else columns
        yield where, {name: row[place] for place, name in places.items() if place < width}


def _columns(row: Sequence[str]) -> dict[int, str] | None:
    """Returns the names of the columns that matter by their place, or None if the row is not a header."""
    kinds = (("path", _PATHS), ("template", _TEMPLATES), ("media", _MEDIA), ("person", _PEOPLE))
    places: dict[str, int] = {}
    for place, title in enumerate(row):
        for kind, names in kinds:
            if title.lower().removeprefix("\ufeff") in names:
                places.setdefault(kind, place)
    if "template" not in places:
        return None
    return {place: kind for kind, place in places.items()}


def _is_unnamed(row: Sequence[str]) -> bool:
    return len(row) in (2, 3) and is_picture(row[0])


def _is_row(row: Sequence[str]) -> bool:
    return _columns(row) is not None or _is_unnamed(row)
