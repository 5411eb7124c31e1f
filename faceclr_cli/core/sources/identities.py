"""Who is in a photograph, and which part of the data it belongs to, as far as its path tells."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from faceclr_cli.core.sources.folder_levels import PARTS
from faceclr_cli.core.sources.lists import is_folder_name
from faceclr_cli.core.text import canonical

_NUMBERED = re.compile(r"(.+)_\d{4}", re.DOTALL)


def by_parent(names: Sequence[str]) -> list[str | None]:
    """The folder that each picture lies in."""
    return [_parent(name) for name in names]


def by_file(names: Sequence[str]) -> list[str | None]:
    """What comes before `_0001` in each picture's own name, as in LFW; None where there is no such number."""
    return [_numbered(name) for name in names]


def is_lfw(names: Sequence[str]) -> bool:
    """Whether every picture is called like its folder and numbered: `Ann_Lee/Ann_Lee_0001.jpg`."""
    return all((person := _numbered(name)) is not None and person == _parent(name) for name in names)


def part_by_folder(name: str, identity: str | None) -> str | None:
    """`train`, `val` or `test` where the first folder on the way to a picture is called so, and is not a person's."""
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
