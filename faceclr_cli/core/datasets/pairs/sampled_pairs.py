"""Pairs of pictures: drawn from albums, and written."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import TypeVar

from faceclr_cli.core.datasets.pairs.pair_files import Pair

T = TypeVar("T")


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Writes `a,b,same` with a heading. Names that are not UTF-8 keep their bytes."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("a", "b", "same"))
        table.writerows((pair.a, pair.b, {True: "1", False: "0", None: ""}[pair.same]) for pair in pairs)


def sample_pairs(
    paths: Sequence[str], identities: Sequence[str | None], *, count: int = 3000, seed: int = 0
) -> list[Pair]:
    """Draws as many genuine as impostor pairs, alternating, none twice.

    Genuine pairs come as evenly as possible from all people with two pictures or more, so that those
    with hundreds do not decide alone. Depends on the names and the seed, not on order or machine.

    Args:
        paths: The pictures.
        identities: The person of each, or None, which takes it out. Same length as `paths`.
        count: Most pairs of each kind; fewer where there are not so many.
        seed: Draws others.
    """
    albums: dict[str, list[str]] = defaultdict(list)
    for path, identity in sorted(zip(paths, identities, strict=True), key=lambda row: row[0]):
        if identity is not None:
            albums[identity].append(path)
    dice = random.Random(f"faceclr pairs {seed}")
    people = [albums[name] for name in sorted(albums)]
    pictures = sum(map(len, people))
    impostors = (pictures**2 - sum(len(album) ** 2 for album in people)) // 2
    count = min(count, impostors, sum(_pairs_in(album) for album in people))
    genuine = _shuffled(dice, list(_draw_genuine(dice, people, count)))
    return list(chain.from_iterable(zip(genuine, _draw_impostors(dice, people, count, impostors), strict=True)))


def _pairs_in(album: Sequence[str]) -> int:
    return len(album) * (len(album) - 1) // 2


def _draw_genuine(dice: random.Random, people: Sequence[Sequence[str]], count: int) -> Iterator[Pair]:
    # Whoever has the fewest pairs goes first, and what they cannot give falls to the others.
    albums = sorted((album for album in people if len(album) > 1), key=len)
    for rank, album in enumerate(albums):
        share = min(_pairs_in(album), -(-count // (len(albums) - rank)))
        count -= share
        if 2 * share > _pairs_in(album):
            drawn = _shuffled(dice, list(combinations(album, 2)))[:share]
        else:
            drawn = _distinct(dice, album, share)
        yield from (Pair(a, b, True) for a, b in drawn)


def _draw_impostors(dice: random.Random, people: Sequence[Sequence[str]], count: int, available: int) -> Iterator[Pair]:
    owners = [(picture, who) for who, album in enumerate(people) for picture in album]
    if 2 * count > available:
        every = [(a, b) for (a, one), (b, other) in combinations(owners, 2) if one != other]
        drawn = _shuffled(dice, every)[:count]
    else:
        chosen: dict[tuple[str, str], None] = {}
        while len(chosen) < count:
            # People first, pictures second, for the same reason as with genuine pairs.
            one, other = sorted((_below(dice, len(people)), _below(dice, len(people))))
            if one != other:
                a, b = (people[who][_below(dice, len(people[who]))] for who in (one, other))
                chosen[a, b] = None
        drawn = list(chosen)
    yield from (Pair(a, b, False) for a, b in drawn)


def _distinct(dice: random.Random, album: Sequence[str], count: int) -> list[tuple[str, str]]:
    chosen: dict[tuple[int, int], None] = {}
    while len(chosen) < count:
        one, other = sorted((_below(dice, len(album)), _below(dice, len(album))))
        if one != other:
            chosen[one, other] = None
    return [(album[one], album[other]) for one, other in chosen]


def _below(dice: random.Random, limit: int) -> int:
    # Of the module's generators only `random()` is promised to stay the same in later versions of Python.
    return int(dice.random() * limit)


def _shuffled(dice: random.Random, items: list[T]) -> list[T]:
    return [item for _, item in sorted(((dice.random(), item) for item in items), key=lambda keyed: keyed[0])]
