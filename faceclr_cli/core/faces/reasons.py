"""Why a photograph gave no face: the fixed list that the ledger and the messages share."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why there is no crop of a photograph."""

    NO_FACE = "no face found"
    SMALL = "face too small"
    BLURRED = "not sharp enough"
    SEVERAL = "more than one face"
    FEW = "too few pictures of this person"
    SURPLUS = "enough pictures of this person"
    MISSING = "file is missing"
    UNREADABLE = "file cannot be read"
    NOT_A_FILE = "not a regular file"
    UNSAFE = "unsafe archive member"
    EMPTY = "empty file"
    NOT_A_PICTURE = "not a picture"
    UNSUPPORTED = "format not supported"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_LARGE = "too large"
    CRASHED = "crashed the decoder"


PASSING = frozenset({Reason.MISSING, Reason.UNREADABLE, Reason.NOT_A_FILE, Reason.CRASHED})
"""Reasons that may be gone at the next attempt, although the file's size and date are the same."""

WANTED = frozenset({Reason.SMALL, Reason.BLURRED, Reason.FEW, Reason.SURPLUS})
"""Reasons that the user's own filters give: such a photograph is left out, but it is not bad."""
