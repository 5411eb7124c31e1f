"""Pairs of pictures: the same person or not. Read from the usual files, sampled, written."""

from __future__ import annotations

import csv
import io
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import TypeVar

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.reasons import shown

T = TypeVar("T")

_SAME = {
    "1": True,
    "true": True,
    "yes": True,
    "same": True,
    "0": False,
    "false": False,
    "no": False,
    "different": False,
}
_HEADINGS = ({"a", "b"}, {"path1", "path2"}, {"image1", "image2"}, {"img1", "img2"}, {"file1", "file2"})


@dataclass(frozen=True)
class Pair:
    """Two pictures, by their paths relative to the folder of faces, with forward slashes.

    Attributes:
        a: One.
        b: The other.
        same: Whether they show one person, or None where the file does not say.
    """

    a: str
    b: str
    same: bool | None


def read_pairs(path: Path) -> list[Pair]:
    """Reads pairs: CSV or TSV `a,b[,same]` with or without a heading, or LFW's `pairs.txt` and `pairsDev*.txt`.

    Args:
        path: The file, or `-` for standard input.

    Raises:
        DataError: The file is missing, holds no pairs, or a line is malformed (the message has its number).
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror})") from error
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    origin = "standard input" if str(path) == "-" else shown(path)
    pairs = list(_read_lfw(text, origin) if _is_lfw(text) else _read_table(text, origin))
    if not pairs:
        raise DataError(f"{origin}: holds no pairs")
    return pairs


def _is_lfw(text: str) -> bool:
    lines = (line.split() for line in text.splitlines() if line.strip())
    first = next(lines, [])
    if len(first) <= 2 and all(word.isdecimal() for word in first):
        return bool(first)
    numbers = {3: (1, 2), 4: (1, 3)}.get(len(first), ())
    return bool(numbers) and all(first[position].isdecimal() for position in numbers)


def _read_lfw(text: str, origin: str) -> Iterator[Pair]:
    announced, found = None, 0
    for number, line in enumerate(text.splitlines(), start=1):
        match line.split():
            case []:
                continue
            case [*counts] if announced is None and found == 0 and len(counts) <= 2:
                # '1100', or '10 300' for ten folds: so many genuine pairs, and as many impostors.
                announced = 2 * int(counts[0]) * int(counts[-1] if len(counts) == 2 else 1)
                continue
            case [name, one, other] if one.isdecimal() and other.isdecimal():
                yield Pair(_lfw_path(name, one), _lfw_path(name, other), True)
            case [name, one, stranger, other] if one.isdecimal() and other.isdecimal():
                yield Pair(_lfw_path(name, one), _lfw_path(stranger, other), False)
            case _:
                raise DataError(f"{origin}:{number}: neither 'name n1 n2' nor 'name1 n1 name2 n2'")
        found += 1
    if announced is not None and found != announced:
        raise DataError(f"{origin}: its first line announces {announced} pairs, but it holds {found}")


def _lfw_path(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def _read_table(text: str, origin: str) -> Iterator[Pair]:
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    is_first = True
    try:
        for row in rows:
            if not row:
                continue
            cells = [cell.strip() for cell in row[2:]]
            is_heading = is_first and {cell.strip().lower() for cell in row[:2]} in _HEADINGS
            is_first = False
            if is_heading:
                continue
            known = not cells or cells[0] == "" or cells[0].lower() in _SAME
            if len(row) not in (2, 3) or not row[0] or not row[1] or not known:
                raise DataError(f"{origin}:{rows.line_num}: not of the form 'a,b' or 'a,b,same' with same 1 or 0")
            yield Pair(row[0], row[1], _SAME[cells[0].lower()] if cells and cells[0] else None)
    except csv.Error as error:
        raise DataError(f"{origin}:{rows.line_num}: malformed ({error})") from error


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
