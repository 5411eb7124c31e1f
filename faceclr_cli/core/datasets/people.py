"""Who is in a photograph, and which part of the data it belongs to, as far as its path tells."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from faceclr_cli.core.datasets.lists import is_folder_name
from faceclr_cli.core.text import canonical

_NUMBERED = re.compile(r"(.+)_\d{4}", re.DOTALL)
_PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def by_folder(names: Sequence[str]) -> list[str | None]:
    """The first folder on the way to each picture, where some picture lies in such a folder itself.

    Otherwise the folder of the level that has the most different ones, of equal levels the deepest. So CFP's
    `Images/001/frontal/01.jpg` shows 001, and VGGFace2's `train/n000001/1.jpg` n000001.

    Args:
        names: Paths relative to the source, with forward slashes.
    """
    # Folders are far fewer than pictures.
    ways = {folder: canonical(folder).split("/") for folder in map(_folder, names) if folder}
    shared = min(map(len, ways.values()), default=0)
    # Parts of the data are not people, however few people there are in them.
    first = 1 if shared > 1 and all(way[0].lower() in _PARTS for way in ways.values()) else 0
    level = max(range(first, shared), key=lambda level: (len({way[level] for way in ways.values()}), level), default=0)
    people = {folder: _person(way[level]) for folder, way in ways.items()}
    return [people.get(_folder(name)) for name in names]


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
    return _PARTS.get(first.lower()) if slash and canonical(first) != identity else None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _parent(name: str) -> str | None:
    return _person(_folder(name).rpartition("/")[2])


def _numbered(name: str) -> str | None:
    found = _NUMBERED.fullmatch(os.path.splitext(name.rpartition("/")[2])[0])
    return _person(found[1]) if found else None


def _person(folder: str) -> str | None:
    return canonical(folder) if is_folder_name(folder) else None
