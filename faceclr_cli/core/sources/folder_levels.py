"""Which folder on the way to a picture is its person's."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from faceclr_cli.core.sources.lists import is_folder_name
from faceclr_cli.core.text import canonical

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What folders of the parts of a data set are called, in lower case."""

_CONTAINERS = frozenset(
    {"data", "image", "images", "img", "imgs", "photos", "pictures", "faces", "raw", "aligned", "cropped", "original"}
    | {"originals", "frontal", "profile"}
)
"""Folders that hold pictures of everybody, or of one kind, in lower case."""

_DATE = re.compile(
    r"(?:19|20)\d\d(?:[-_. ]?(?:0[1-9]|1[0-2])(?:[-_. ]?(?:0[1-9]|[12]\d|3[01]))?)?(?:[ _-].*)?", re.DOTALL
)
_DAY = re.compile(r"\d\d?(?:[ _-].*)?|" + _DATE.pattern, re.DOTALL)
"""The month or day in a folder of a year or month."""

_STRAY = 0.1
"""Share of the pictures that may lie above the folders of people without making those folders doubtful."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """Who is in each picture, by its folders.

    Attributes:
        people: The person of each picture, or None.
        depth: Which folder on the way to a picture is its person's; 1 is the first.
        is_doubtful: Whether no folder is called like a person: they are called like parts of a data set, or like dates.
        above: The pictures that lie above these folders, so that it is not known who is in them.
        rivals: The other depths whose folders may as well be people.
        names: The names at each depth from 1, each once and sorted.
    """

    people: tuple[str | None, ...]
    depth: int
    is_doubtful: bool
    above: tuple[str, ...]
    rivals: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]


def by_folder(names: Sequence[str], depth: int | None = None) -> Division:
    """Finds the folders of people.

    A depth is that of people unless its folders are called like parts of a data set, like dates, or alike in most
    folders above (`frontal`, `profile`). Of several such depths it is the first that has more folders than each of
    them has inside. So CFP's `Images/001/frontal/01.jpg` shows 001, VGGFace2's
    `train/n000001/1.jpg` n000001, and `Ann/2019-05-01/1.jpg` Ann. A few pictures that lie further up do not count.

    Args:
        names: Paths relative to the source, with forward slashes.
        depth: Which folder is the person's, where that is known.
    """
    # Folders are far fewer than pictures.
    sizes = Counter(name.rpartition("/")[0] for name in names)
    ways = {folder: canonical(folder).split("/") for folder in sizes if folder}
    deepest = max(map(len, ways.values()), default=0)
    levels = [sorted({way[at] for way in ways.values() if len(way) > at}) for at in range(deepest)]
    candidates = _candidates(ways, sizes, levels)
    level = _choose(ways, candidates or range(_shared(ways, sizes, levels))) if depth is None else depth - 1
    people = {folder: _person(way[level]) if len(way) > level else None for folder, way in ways.items()}
    return Division(
        people=tuple(people.get(name.rpartition("/")[0]) for name in names),
        depth=level + 1,
        is_doubtful=not candidates,
        above=tuple(name for name in names if name.count("/") <= level),
        rivals=tuple(at + 1 for at in candidates if at != level and len(levels[at]) > 1),
        names=tuple(map(tuple, levels)),
    )


def _candidates(
    ways: Mapping[str, Sequence[str]], sizes: Mapping[str, int], levels: Sequence[Sequence[str]]
) -> list[int]:
    """The levels, counted from 0, that may be those of people."""
    found: list[int] = []
    is_below_dates = False
    for level in range(_shared(ways, sizes, levels)):
        is_below_dates = _are_dates(levels[level], is_below_dates) or (is_below_dates and _are_albums(ways, level))
        if not is_below_dates and not _are_containers(levels[level]):
            found.append(level)
    found = [level for level in found if not _are_letters(levels[level])] or found
    found = [level for level in found if level == found[0] or not _are_kinds(ways, levels, level)]
    return [level for level in found if len(levels[level]) > 1] or found[-1:]


def _choose(ways: Mapping[str, Sequence[str]], candidates: Sequence[int]) -> int:
    for level, inner in pairwise(candidates):
        inside: dict[str, set[str]] = defaultdict(set)
        for way in ways.values():
            if len(way) > level:
                inside[way[level]].update(way[inner : inner + 1])
        if len(inside) > sum(map(len, inside.values())) / len(inside):
            return level
    return candidates[-1]


def _shared(ways: Mapping[str, Sequence[str]], sizes: Mapping[str, int], levels: Sequence[Sequence[str]]) -> int:
    """How many folders there are on the way to all pictures but a few; at least 1."""
    total, passed = sum(sizes[folder] for folder in ways), 0
    for depth in range(1, len(levels)):
        passed += sum(sizes[folder] for folder, way in ways.items() if len(way) == depth)
        # Folders of parts of the data are not people, as soon as most of their pictures lie deeper.
        limit = 0.5 if _are_containers(levels[depth - 1]) else _STRAY
        if passed > limit * total:
            return depth
    return max(1, len(levels))


def _are_kinds(ways: Mapping[str, Sequence[str]], levels: Sequence[Sequence[str]], level: int) -> bool:
    """Whether most folders above have the same few inside, as `frontal` and `profile`, or numbers below 100."""
    pairs, names = _pairs(ways, level), levels[level]
    are_few = len(names) < len(levels[level - 1]) or all(name.isdecimal() and len(name) <= 2 for name in names)
    return are_few and 2 * len(names) <= len(pairs)


def _are_albums(ways: Mapping[str, Sequence[str]], level: int) -> bool:
    """Whether the folders of several dates have none in common: people are there more than once."""
    pairs = _pairs(ways, level)
    return len({above for above, _ in pairs}) > 1 and len({name for _, name in pairs}) == len(pairs)


def _pairs(ways: Mapping[str, Sequence[str]], level: int) -> set[tuple[str, str]]:
    """The names at a level, each with the one above it."""
    return {(way[level - 1], way[level]) for way in ways.values() if len(way) > level}


def _are_containers(names: Sequence[str]) -> bool:
    return all(name.lower() in PARTS or name.lower() in _CONTAINERS for name in names)


def _are_dates(names: Sequence[str], is_below_dates: bool) -> bool:
    pattern = _DAY if is_below_dates else _DATE
    return 2 * sum(pattern.fullmatch(name) is not None for name in names) > len(names)


def _are_letters(names: Sequence[str]) -> bool:
    return all(len(name) == 1 and name.isalpha() for name in names)


def _person(folder: str) -> str | None:
    return folder if is_folder_name(folder) else None
