"""Reader for scores of pairs that other tools computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.pair_files import LABELS, pair_name, table_rows, text_lines
from faceclr_cli.core.errors import DataError

_SCORE = frozenset({"score", "similarity"})
_SAME = frozenset({"same", "label"})
_UNNAMED = ("score", "same")


def read_scores(path: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Reads a table `score,same`, or one with a header that names these two columns, in any order and among others.

    The header names are `score` or `similarity`, and `same` or `label`. For the format see `pair_files.table_rows`.

    Args:
        path: The file, or `-` for standard input.

    Returns:
        The score of each pair (higher is more similar), and whether the pair is genuine. Shape of both: (pairs,).

    Raises:
        DataError: The file is missing or contains no scores, the header is ambiguous, or a line has no finite score or
            no label (the message gives its number).
    """
    origin = pair_name(path)
    rows = table_rows(text_lines(path), origin, _is_row)
    first = next(rows, (0, list(_UNNAMED)))
    has_heading = any(name in _SCORE for name in _names(first[1]))
    heading = _names(first[1]) if has_heading else _UNNAMED
    score_at, same_at = (_column(heading, names, f"{origin}:{first[0]}") for names in (_SCORE, _SAME))
    scores: list[float] = []
    same: list[bool] = []
    for number, row in rows if has_heading else chain([first], rows):
        where = f"{origin}:{number}"
        if len(row) != len(heading):
            raise DataError(f"{where}: expected '{','.join(heading)}' with {heading[same_at]} 1 or 0")
        scores.append(_score(row[score_at], where))
        same.append(_label(row[same_at], where))
    if not scores:
        raise DataError(f"{origin}: contains no scores")
    return np.array(scores, np.float64), np.array(same, np.bool_)


def _names(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell.strip().lower() for cell in row)


def _column(heading: Sequence[str], names: frozenset[str], where: str) -> int:
    found = [position for position, name in enumerate(heading) if name in names]
    if len(found) != 1:
        raise DataError(f"{where}: the header needs one column named {' or '.join(sorted(names))}, has {len(found)}")
    return found[0]


def _is_row(row: Sequence[str]) -> bool:
    names = _names(row)
    is_heading = not _SCORE.isdisjoint(names) and not _SAME.isdisjoint(names)
    return is_heading or (len(row) == 2 and row[1].lower() in LABELS)


def _score(cell: str, where: str) -> float:
    try:
        score = float(cell.replace(",", "."))  # Tables with semicolons use decimal commas.
    except ValueError:
        raise DataError(f"{where}: the score {cell.strip()!r} is not a number") from None
    if not math.isfinite(score):
        raise DataError(f"{where}: the score {cell.strip()!r} is not a finite number")
    return score


def _label(cell: str, where: str) -> bool:
    label = LABELS.get(cell.strip().lower())
    if label is None:
        raise DataError(f"{where}: invalid label {cell.strip()!r}; expected 1 for the same person or 0")
    return label
