"""Why a photograph gave no face: the fixed list that the ledger and the messages share."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path


class Reason(StrEnum):
    """Why there is no crop of a photograph."""

    NO_FACE = "no face found"
    MISSING = "file is missing"
    UNREADABLE = "file cannot be read"
    EMPTY = "empty file"
    NOT_A_PICTURE = "not a picture"
    UNSUPPORTED = "format not supported"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_LARGE = "too large"
    CRASHED = "crashed the decoder"


PASSING = frozenset({Reason.MISSING, Reason.UNREADABLE, Reason.CRASHED})
"""Reasons that may be gone at the next attempt, although the file's size and date are the same."""


def shown(path: Path | str) -> str:
    """A path for a message of one line: control characters and bytes that are not UTF-8 as escapes."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)[1:-1]
