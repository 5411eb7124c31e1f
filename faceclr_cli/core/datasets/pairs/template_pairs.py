"""Reader for pairs of templates. Published lists have many millions of pairs.

A line has two templates and a label, as in `ijbc_template_pair_label.txt`, or only two templates, as in the matches of
NIST's protocols for IJB-B and IJB-C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.pair_files import LABELS, pair_name, table_rows, text_lines
from faceclr_cli.core.errors import DataError

_HEADINGS = frozenset({"template", "tid", "enroll", "verif", "reference", "probe", "a", "b"})
_BYTES_AT_ONCE = 1 << 22
_LINES_AT_ONCE = 1 << 16
_LONGEST_NUMBERS = 1 << 12
"""Maximum number of bytes of the first line, if it consists of numbers."""
_SEPARATORS = bytes.maketrans(b",;\t\r\n", b"     ")

Block = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


class TemplatePairs:
    """Pairs of templates in a file, which is read in blocks, as often as needed, and never held in memory.

    Each line has the names of two templates and a label; see `pair_files.LABELS`. Without labels, a pair is genuine if
    both templates show the same person.

    Args:
        file: The file. It is read several times, so it cannot be standard input.
        names: The known templates.
        people: The person of each template, if known.

    Raises:
        DataError: The file is standard input.
    """

    def __init__(self, file: Path, names: Sequence[str], people: Sequence[str | None]) -> None:
        if str(file) == "-" or not file.is_file():
            exists = str(file) == "-" or file.exists()
            text = "pairs of templates are read twice; give a file" if exists else "no such file"
            raise DataError(f"{pair_name(file)}: {text}")
        self.origin = pair_name(file)
        self._file, self._number_of = file, {name: number for number, name in enumerate(names)}
        self._people = people
        # Numbers are looked up in bulk: a published list has 15 million pairs.
        self._ids = None if not all(map(_is_id, names)) else np.array([int(name) for name in names], np.int64)

    def blocks(self) -> Iterator[Block]:
        """Yields the indices of the two templates of pairs, -1 for an unknown template, and whether they are genuine.

        Raises:
            DataError: The file cannot be read, a line is malformed, or a pair has neither a label nor two people.
        """
        width = self._width()
        if self._ids is not None and width is not None:
            yield from self._number_blocks(self._ids, width)
        else:
            yield from self._text_blocks()

    def _width(self) -> int | None:
        """Returns the number of columns if the first line consists of numbers, otherwise None.

        Lines that begin with a byte order mark, or end with a carriage return alone, are not such lines.
        """
        try:
            with open(self._file, "rb") as file:
                while line := file.readline(_LONGEST_NUMBERS):
                    if cells := line.translate(_SEPARATORS).split():
                        return len(cells) if len(cells) in (2, 3) and all(map(bytes.isdigit, cells)) else None
        except OSError as error:
            raise DataError(f"{self.origin}: cannot be read ({error.strerror})") from error
        return None

    def _number_blocks(self, ids: NDArray[np.int64], width: int) -> Iterator[Block]:
        order = np.argsort(ids)
        ordered, line = ids[order], 0

        def find(wanted: NDArray[np.int64]) -> NDArray[np.int64]:
            place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
            return np.where(ordered[place] == wanted, order[place], -1)

        for lines in self._byte_blocks():
            table = _parse_numbers(lines, width)
            if table is None:
                table = np.array([self._parse_line(text, line + at, width) for at, text in _content(lines)], np.int64)
            line += lines.count(b"\n")
            if len(table):
                left, right = find(table[:, 0]), find(table[:, 1])
                yield left, right, table[:, 2] == 1 if width == 3 else self._is_same(left, right, line)

    def _byte_blocks(self) -> Iterator[bytes]:
        """Yields whole lines."""
        try:
            with open(self._file, "rb") as file:
                while block := file.read(_BYTES_AT_ONCE):
                    yield block + file.readline()
        except OSError as error:
            raise DataError(f"{self.origin}: cannot be read ({error.strerror})") from error

    def _parse_line(self, text: bytes, number: int, width: int) -> list[int]:
        cells = text.translate(_SEPARATORS).split()
        is_right = len(cells) == width and all(cell.isdigit() and len(cell) < 19 for cell in cells)
        if not is_right or (width == 3 and cells[2] not in (b"0", b"1")):
            expected = "two templates and a label, 1 or 0" if width == 3 else "two templates, as in the first line"
            raise DataError(f"{self.origin}:{number}: expected {expected}")
        return [int(cell) for cell in cells]

    def _text_blocks(self) -> Iterator[Block]:
        rows = table_rows(text_lines(self._file), self.origin, lambda row: len(row) in (2, 3) and all(row))
        first = next(rows, None)
        if first is None:
            raise DataError(f"{self.origin}: contains no pairs")
        width = len(first[1])
        rows = rows if _is_pair_heading(first[1]) else chain([first], rows)
        while block := list(islice(rows, _LINES_AT_ONCE)):
            labels = list[bool]()
            for number, row in block:
                label = LABELS.get(row[2].lower()) if len(row) == 3 else False
                if len(row) != width or width not in (2, 3) or label is None:
                    raise DataError(f"{self.origin}:{number}: expected two templates and a label, 1 or 0")
                labels.append(label)
            left, right = (
                np.array([self._number_of.get(row[side], -1) for _, row in block], np.int64) for side in (0, 1)
            )
            yield left, right, np.array(labels) if width == 3 else self._is_same(left, right, block[-1][0])

    def _is_same(self, left: NDArray[np.int64], right: NDArray[np.int64], line: int) -> NDArray[np.bool_]:
        # The last value is that of unknown templates.
        codes = {person: code for code, person in enumerate(dict.fromkeys(self._people))}
        known = np.array([-1 if who is None else codes[who] for who in self._people] + [-1])
        if (known[left] < 0).any() or (known[right] < 0).any():
            raise DataError(
                f"{self.origin}: a pair up to line {line} has no label, and the person of one of its templates is "
                "unknown; add labels, or lists with a column 'person' as --template-list"
            )
        same: NDArray[np.bool_] = known[left] == known[right]
        return same


def _is_id(name: str) -> bool:
    """Returns True if a name is a number as computers write it, so that it can be compared as a number."""
    return name.isascii() and name.isdecimal() and len(name) < 19 and (name == "0" or name[0] != "0")


def _is_pair_heading(row: Sequence[str]) -> bool:
    titles = [cell.lower() for cell in row]
    has_label = len(row) == 3 and titles[2] in ("same", "label")
    return has_label or all(not _HEADINGS.isdisjoint(title.split("_")) for title in titles[:2])


def _parse_numbers(lines: bytes, width: int) -> NDArray[np.int64] | None:
    """Parses a table of numbers at once, or returns None if any line is not regular."""
    if lines.translate(None, b"0123456789 ,;\t\r\n"):
        return None
    text = np.frombuffer(lines, np.uint8)
    is_digit = (text >= ord("0")) & (text <= ord("9"))
    ends = np.flatnonzero(is_digit & ~np.append(is_digit[1:], False))
    starts = np.flatnonzero(is_digit & ~np.append(False, is_digit[:-1]))
    if len(ends) % width or (ends - starts).max(initial=0) >= 18:
        return None
    if not len(starts):
        return np.empty((0, width), np.int64)
    # Each line must have its own cells, so that a missing cell does not shift those of the following lines.
    line_of = np.searchsorted(np.flatnonzero(text == ord("\n")), starts).reshape(-1, width)
    if (line_of != line_of[:, :1]).any() or (np.diff(line_of[:, 0]) < 1).any():
        return None
    table = np.fromstring(lines.translate(_SEPARATORS).decode("ascii"), np.int64, sep=" ").reshape(-1, width)
    if width == 3 and ((table[:, 2] < 0) | (table[:, 2] > 1)).any():
        return None
    return table


def _content(lines: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that are not empty, numbered from 1."""
    for number, line in enumerate(lines.split(b"\n"), start=1):
        if line.strip():
            yield number, line
