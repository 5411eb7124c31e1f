"""Detection of the folder level that names people."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from faceclr_cli.core.sources.lists import is_folder_name
from faceclr_cli.core.text import canonical

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Folder names of the parts of a data set, in lower case."""

_CONTAINERS = frozenset(
    {"data", "image", "images", "img", "imgs", "photos", "pictures", "faces", "raw", "aligned", "cropped", "original"}
    | {"originals", "frontal", "profile"}
)
"""Names of folders that contain pictures of all people, or one kind of picture, in lower case."""

_DATE = re.compile(
    r"(?:19|20)\d\d(?:[-_. ]?(?:0[1-9]|1[0-2])(?:[-_. ]?(?:0[1-9]|[12]\d|3[01]))?)?(?:[ _-].*)?", re.DOTALL
)
_DAY = re.compile(r"\d\d?(?:[ _-].*)?|" + _DATE.pattern, re.DOTALL)
"""Folder names for a month or a day below a folder for a year or a month."""

_STRAY = 0.1
"""Maximum share of pictures above a folder level for the level to still be common to all pictures."""


@dataclass(frozen=True, kw_only=True)
class PersonFolders:
    """The people that the folders of a source name.

    Attributes:
        people: The person of each picture, or None.
        depth: The depth of the folders that are people; 1 is the outermost.
        is_doubtful: True if no folder level looks like people, only like parts of a data set or dates.
        above: Pictures above the folders of people, which therefore have no identity.
        rivals: Other depths whose folders could be people.
        names: The sorted folder names at each depth, starting at depth 1.
    """

    people: tuple[str | None, ...]
    depth: int
    is_doubtful: bool
    above: tuple[str, ...]
    rivals: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]


def find_person_folders(names: Sequence[str], depth: int | None = None) -> PersonFolders:
    """Finds the folder level that names people.

    A level is excluded if its folders are named like parts of a data set or dates, or if most parent folders
    contain the same names (`frontal`, `profile`). Of several remaining levels, the first one with more folders than
    the average number of folders inside each of them is chosen. For example, the person in CFP's
    `Images/001/frontal/01.jpg` is 001, in VGGFace2's `train/n000001/1.jpg` n000001, and in `Ann/2019-05-01/1.jpg`
    Ann. A few pictures closer to the root are ignored.

    Args:
        names: Paths relative to the source, with forward slashes.
        depth: The depth of the folders that are people, if known.
    """
    # Work on folders, because there are far fewer folders than pictures.
    sizes = Counter(name.rpartition("/")[0] for name in names)
    folder_parts = {folder: canonical(folder).split("/") for folder in sizes if folder}
    deepest = max(map(len, folder_parts.values()), default=0)
    levels = [sorted({parts[at] for parts in folder_parts.values() if len(parts) > at}) for at in range(deepest)]
    candidates = _candidates(folder_parts, sizes, levels)
    level = (
        _choose(folder_parts, candidates or range(_shared_levels(folder_parts, sizes, levels)))
        if depth is None
        else depth - 1
    )
    people = {folder: _person(parts[level]) if len(parts) > level else None for folder, parts in folder_parts.items()}
    return PersonFolders(
        people=tuple(people.get(name.rpartition("/")[0]) for name in names),
        depth=level + 1,
        is_doubtful=not candidates,
        above=tuple(name for name in names if name.count("/") <= level),
        rivals=tuple(at + 1 for at in candidates if at != level and len(levels[at]) > 1),
        names=tuple(map(tuple, levels)),
    )


def _candidates(
    folder_parts: Mapping[str, Sequence[str]], sizes: Mapping[str, int], levels: Sequence[Sequence[str]]
) -> list[int]:
    """Returns the levels, counted from 0, that could be people."""
    found: list[int] = []
    is_below_dates = False
    for level in range(min(len(levels), _shared_levels(folder_parts, sizes, levels))):
        is_below_dates = _are_dates(levels[level], is_below_dates) or (
            is_below_dates and _are_albums(folder_parts, level)
        )
        if not is_below_dates and not _are_containers(levels[level]):
            found.append(level)
    found = [level for level in found if not _are_letters(levels[level])] or found
    found = [level for level in found if level == found[0] or not _are_kinds(folder_parts, levels, level)]
    return [level for level in found if len(levels[level]) > 1] or found[-1:]


def _choose(folder_parts: Mapping[str, Sequence[str]], candidates: Sequence[int]) -> int:
    for level, inner in pairwise(candidates):
        inside: dict[str, set[str]] = defaultdict(set)
        for parts in folder_parts.values():
            if len(parts) > level:
                inside[parts[level]].update(parts[inner : inner + 1])
        if len(inside) > sum(map(len, inside.values())) / len(inside):
            return level
    return candidates[-1]


def _shared_levels(
    folder_parts: Mapping[str, Sequence[str]], sizes: Mapping[str, int], levels: Sequence[Sequence[str]]
) -> int:
    """Returns the number of folder levels that all but a few pictures share; at least 1."""
    total, passed = sum(sizes[folder] for folder in folder_parts), 0
    for depth in range(1, len(levels)):
        passed += sum(sizes[folder] for folder, parts in folder_parts.items() if len(parts) == depth)
        # A level of data set parts is passed as soon as most of its pictures are deeper.
        limit = 0.5 if _are_containers(levels[depth - 1]) else _STRAY
        if passed > limit * total:
            return depth
    return max(1, len(levels))


def _are_kinds(folder_parts: Mapping[str, Sequence[str]], levels: Sequence[Sequence[str]], level: int) -> bool:
    """Returns True if most parent folders contain the same few names, such as `frontal`, or numbers below 100."""
    pairs, names = _pairs(folder_parts, level), levels[level]
    are_few = len(names) < len(levels[level - 1]) or all(name.isdecimal() and len(name) <= 2 for name in names)
    return are_few and 2 * len(names) <= len(pairs)


def _are_albums(folder_parts: Mapping[str, Sequence[str]], level: int) -> bool:
    """Returns True if the folders of different dates have no names in common; names of people would recur."""
    pairs = _pairs(folder_parts, level)
    return len({above for above, _ in pairs}) > 1 and len({name for _, name in pairs}) == len(pairs)


def _pairs(folder_parts: Mapping[str, Sequence[str]], level: int) -> set[tuple[str, str]]:
    """Returns the names at a level, each with the name of its parent folder."""
    return {(parts[level - 1], parts[level]) for parts in folder_parts.values() if len(parts) > level}


def _are_containers(names: Sequence[str]) -> bool:
    return all(name.lower() in PARTS or name.lower() in _CONTAINERS for name in names)


def _are_dates(names: Sequence[str], is_below_dates: bool) -> bool:
    pattern = _DAY if is_below_dates else _DATE
    return 2 * sum(pattern.fullmatch(name) is not None for name in names) > len(names)


def _are_letters(names: Sequence[str]) -> bool:
    return all(len(name) == 1 and name.isalpha() for name in names)


def _person(folder: str) -> str | None:
    return folder if is_folder_name(folder) else None
