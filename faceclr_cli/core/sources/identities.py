"""The person and the data set part of a photo, derived from its path."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from faceclr_cli.core.sources.folder_levels import PARTS
from faceclr_cli.core.sources.lists import is_folder_name
from faceclr_cli.core.text import canonical

_NUMBERED = re.compile(r"(.+)_\d{4}", re.DOTALL)


def people_by_parent(names: Sequence[str]) -> list[str | None]:
    """Returns the name of each picture's parent folder as its person."""
    return [_parent(name) for name in names]


def people_by_file(names: Sequence[str]) -> list[str | None]:
    """Returns the part of each file name before `_0001`, as in LFW; None if there is no such number."""
    return [_numbered(name) for name in names]


def is_lfw(names: Sequence[str]) -> bool:
    """Returns True if every file is named after its folder and numbered, as in `Ann_Lee/Ann_Lee_0001.jpg`."""
    return all((person := _numbered(name)) is not None and person == _parent(name) for name in names)


def part_by_folder(name: str, identity: str | None) -> str | None:
    """Returns `train`, `val` or `test` if the first folder of a path is named so and is not a person's folder."""
    first, slash, _ = name.partition("/")
    return PARTS.get(first.lower()) if slash and canonical(first) != identity else None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _parent(name: str) -> str | None:
    return _person(_folder(name).rpartition("/")[2])


def _numbered(name: str) -> str | None:
    found = _NUMBERED.fullmatch(os.path.splitext(name.rpartition("/")[2])[0])
    return _person(found[1]) if found else None


def _person(folder: str) -> str | None:
    return canonical(folder) if is_folder_name(folder) else None
