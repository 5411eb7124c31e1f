"""Sampling and writing of verification pairs."""

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
    """Writes a table `a,b,same` with a header. Names that are not UTF-8 keep their bytes."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("a", "b", "same"))
        table.writerows((pair.a, pair.b, {True: "1", False: "0", None: ""}[pair.same]) for pair in pairs)


def sample_pairs(
    paths: Sequence[str], identities: Sequence[str | None], *, count: int = 3000, seed: int = 0
) -> list[Pair]:
    """Samples equally many genuine and impostor pairs, alternating, without repetition.

    Genuine pairs are distributed as evenly as possible over all people with two or more pictures, so that people with
    hundreds of pictures do not dominate. The result depends only on the names and the seed.

    Args:
        paths: The pictures.
        identities: The person of each picture, or None to exclude it. Same length as `paths`.
        count: Maximum number of pairs of each kind.
        seed: Random seed.
    """
    albums: dict[str, list[str]] = defaultdict(list)
    for path, identity in sorted(zip(paths, identities, strict=True), key=lambda row: row[0]):
        if identity is not None:
            albums[identity].append(path)
    generator = random.Random(f"faceclr pairs {seed}")
    people = [albums[name] for name in sorted(albums)]
    pictures = sum(map(len, people))
    impostors = (pictures**2 - sum(len(album) ** 2 for album in people)) // 2
    count = min(count, impostors, sum(_pairs_in(album) for album in people))
    genuine = _shuffle(generator, list(_draw_genuine(generator, people, count)))
    return list(chain.from_iterable(zip(genuine, _draw_impostors(generator, people, count, impostors), strict=True)))


def _pairs_in(album: Sequence[str]) -> int:
    return len(album) * (len(album) - 1) // 2


def _draw_genuine(generator: random.Random, people: Sequence[Sequence[str]], count: int) -> Iterator[Pair]:
    # Start with the people who have the fewest pairs, so that the others can make up for the difference.
    albums = sorted((album for album in people if len(album) > 1), key=len)
    for rank, album in enumerate(albums):
        share = min(_pairs_in(album), -(-count // (len(albums) - rank)))
        count -= share
        if 2 * share > _pairs_in(album):
            drawn = _shuffle(generator, list(combinations(album, 2)))[:share]
        else:
            drawn = _sample_distinct(generator, album, share)
        yield from (Pair(a, b, True) for a, b in drawn)


def _draw_impostors(
    generator: random.Random, people: Sequence[Sequence[str]], count: int, available: int
) -> Iterator[Pair]:
    owners = [(picture, person) for person, album in enumerate(people) for picture in album]
    if 2 * count > available:
        every = [(a, b) for (a, one), (b, other) in combinations(owners, 2) if one != other]
        drawn = _shuffle(generator, every)[:count]
    else:
        chosen: dict[tuple[str, str], None] = {}
        while len(chosen) < count:
            # Sample people first, then pictures, so that people with many pictures do not dominate.
            one, other = sorted((_below(generator, len(people)), _below(generator, len(people))))
            if one != other:
                a, b = (people[person][_below(generator, len(people[person]))] for person in (one, other))
                chosen[a, b] = None
        drawn = list(chosen)
    yield from (Pair(a, b, False) for a, b in drawn)


def _sample_distinct(generator: random.Random, album: Sequence[str], count: int) -> list[tuple[str, str]]:
    chosen: dict[tuple[int, int], None] = {}
    while len(chosen) < count:
        one, other = sorted((_below(generator, len(album)), _below(generator, len(album))))
        if one != other:
            chosen[one, other] = None
    return [(album[one], album[other]) for one, other in chosen]


def _below(generator: random.Random, limit: int) -> int:
    # Of the generator's methods, only `random()` is guaranteed to be stable across Python versions.
    return int(generator.random() * limit)


def _shuffle(generator: random.Random, items: list[T]) -> list[T]:
    return [item for _, item in sorted(((generator.random(), item) for item in items), key=lambda keyed: keyed[0])]
