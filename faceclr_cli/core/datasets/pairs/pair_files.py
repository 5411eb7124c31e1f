"""Readers for files with pairs of pictures, one line at a time."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.sources.picture_names import FolderPictures, PictureNames
from faceclr_cli.core.text import decode, display_path, encoding_of

LABELS = {
    "1": True,
    "true": True,
    "yes": True,
    "same": True,
    "0": False,
    "false": False,
    "no": False,
    "different": False,
}
"""Labels of a pair in files, in lower case, and whether they mean the same person."""

_HEADINGS = ({"a", "b"}, {"path1", "path2"}, {"image1", "image2"}, {"img1", "img2"}, {"file1", "file2"})
_SEPARATORS = "\t,; "


@dataclass(frozen=True)
class Pair:
    """Two pictures, by their paths relative to the folder of faces, with forward slashes.

    Attributes:
        a: First picture.
        b: Second picture.
        same: True for the same person, False for different people, None if the file has no label.
    """

    a: str
    b: str
    same: bool | None


def read_pairs(path: Path) -> list[Pair]:
    """Reads all pairs of a file; see `iter_pairs`.

    Raises:
        DataError: As for `iter_pairs`, or the file contains no pairs.
    """
    pairs = list(iter_pairs(path))
    if not pairs:
        raise DataError(f"{pair_name(path)}: contains no pairs")
    return pairs


def read_labeled_pairs(path: Path) -> list[Pair]:
    """Reads pairs and checks that every pair has a label.

    Raises:
        DataError: A pair has no label, or the file cannot be read.
    """
    pairs = read_pairs(path)
    if any(pair.same is None for pair in pairs):
        raise DataError(f"{pair_name(path)}: a pair has no label; every pair needs 'same' as 1 or 0")
    return pairs


def locate_pairs(pairs: Sequence[Pair], names: PictureNames | FolderPictures) -> tuple[list[Pair], list[str | None]]:
    """Matches the pictures of pairs with the existing pictures.

    Returns:
        The pairs with the actual names of the pictures, and for each pair its first name that was not found, or None.
    """
    located, absent = [], list[str | None]()
    for pair in pairs:
        a, b = names.find(pair.a), names.find(pair.b)
        located.append(Pair(a or pair.a, b or pair.b, pair.same))
        absent.append(pair.a if a is None else pair.b if b is None else None)
    return located, absent


def iter_pairs(path: Path) -> Iterator[Pair]:
    """Yields pairs as soon as their line is available, so that the file may be a pipe that is still being written.

    Reads tables `a,b[,same]` with or without a header (see `table_rows`), and LFW's `pairs.txt` and `pairsDev*.txt`.
    The first non-empty line determines the format.

    Args:
        path: The file, or `-` for standard input.

    Raises:
        DataError: The file is missing, a line is malformed (the message gives its number), or the number of pairs
            differs from that in LFW's first line. A file without pairs is not an error.
    """
    first, lines = _peek(text_lines(path))
    yield from _read_lfw(lines, pair_name(path)) if _is_lfw(first) else _read_table(lines, pair_name(path))


def pair_name(path: Path) -> str:
    """Returns the name of a pair file for messages; `-` is standard input."""
    return "standard input" if str(path) == "-" else display_path(path)


def text_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a text file, or of standard input for `-`, with line ends and as soon as they are available.

    The encoding is UTF-8 or that of the byte order mark; see `text.decode`. UTF-16 is read to its end first.

    Raises:
        DataError: The file cannot be read.
    """
    if str(path) == "-" and sys.stdin is None:
        raise DataError("standard input: is closed")
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else open(path, "rb") as file:
            beginning = file.readline()
            if encoding_of(beginning)[0] != "utf-8":
                # The bytes of a line end may be part of other characters, so decode the file as a whole.
                yield from io.StringIO(decode(beginning + file.read()), newline="")
                return
            # A line may also end with a carriage return alone.
            yield from io.StringIO(decode(beginning), newline="")
            for line in file:
                yield from io.StringIO(line.decode("utf-8", "surrogateescape"), newline="")
    except OSError as error:
        raise DataError(f"{pair_name(path)}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{pair_name(path)}: {error}") from error


def table_rows(
    lines: Iterable[str], origin: str, fits: Callable[[Sequence[str]], bool]
) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a table with their line numbers.

    Cells are separated by tabs, commas, semicolons or spaces: the first of these that makes the first line a valid row.
    Spaces around cells are stripped, and empty rows are skipped.

    Args:
        lines: The lines with their ends; a quoted cell may contain line ends.
        origin: Name of the file in errors.
        fits: Returns True if cells are a valid row or header.

    Raises:
        DataError: The quoting is malformed.
    """
    first, lines = _peek(lines)
    rows = csv.reader(lines, delimiter=_separator(first, fits), strict=True, skipinitialspace=True)
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield rows.line_num, cells
    except csv.Error as error:
        raise DataError(f"{origin}:{rows.line_num}: malformed ({error})") from error


def _separator(line: str, fits: Callable[[Sequence[str]], bool]) -> str:
    for separator in _SEPARATORS:
        (row,) = csv.reader([line.strip()], delimiter=separator, skipinitialspace=True) if line.strip() else ([],)
        if fits([cell.strip() for cell in row]):
            return separator
    return next((separator for separator in _SEPARATORS[:-1] if separator in line), ",")


def _peek(lines: Iterable[str]) -> tuple[str, Iterator[str]]:
    """Returns the first non-empty line, and an iterator over all lines."""
    coming, seen = iter(lines), []
    for line in coming:
        seen.append(line)
        if line.strip():
            return line, chain(seen, coming)
    return "", iter(seen)


def _is_lfw(line: str) -> bool:
    first = line.split()
    if len(first) <= 2 and all(word.isdecimal() for word in first):
        return bool(first)
    numbers = {3: (1, 2), 4: (1, 3)}.get(len(first), ())
    return bool(numbers) and all(first[position].isdecimal() for position in numbers)


def _read_lfw(lines: Iterable[str], origin: str) -> Iterator[Pair]:
    announced, found = None, 0
    for number, line in enumerate(lines, start=1):
        match line.split():
            case []:
                continue
            case [*counts] if announced is None and found == 0 and len(counts) <= 2:
                # '1100', or '10 300' for ten folds: the number of genuine pairs, and of as many impostor pairs.
                announced = 2 * int(counts[0]) * int(counts[-1] if len(counts) == 2 else 1)
                continue
            case [name, one, other] if one.isdecimal() and other.isdecimal():
                yield Pair(_lfw_path(name, one), _lfw_path(name, other), True)
            case [name, one, stranger, other] if one.isdecimal() and other.isdecimal():
                yield Pair(_lfw_path(name, one), _lfw_path(stranger, other), False)
            case _:
                raise DataError(f"{origin}:{number}: expected 'name n1 n2' or 'name1 n1 name2 n2'")
        found += 1
    if announced is not None and found != announced:
        raise DataError(f"{origin}: the first line announces {announced} pairs, but the file contains {found}")


def _lfw_path(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def _read_table(lines: Iterable[str], origin: str) -> Iterator[Pair]:
    is_first = True
    for number, row in table_rows(lines, origin, _is_row):
        is_heading = is_first and _is_heading(row)
        is_first = False
        if is_heading:
            continue
        label = row[2].lower() if len(row) > 2 else ""
        if len(row) not in (2, 3) or not row[0] or not row[1] or not (label == "" or label in LABELS):
            raise DataError(
                f"{origin}:{number}: expected 'a,b' or 'a,b,same' with same 1 or 0, and the separator of the first line"
            )
        yield Pair(row[0], row[1], LABELS[label] if label else None)


def _is_heading(row: Sequence[str]) -> bool:
    return {cell.lower() for cell in row[:2]} in _HEADINGS


def _is_row(row: Sequence[str]) -> bool:
    return len(row) in (2, 3) and (_is_heading(row) or all(map(is_picture, row[:2])))
