"""Reasons why a photo yields no face, shared by the ledger and error messages."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The reason why a photo has no crop."""

    NO_FACE = "no face found"
    NO_LANDMARKS = "no landmarks given"
    BAD_LANDMARKS = "unusable landmarks"
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
    NOT_A_FILM = "not a film"
    UNSUPPORTED = "format not supported"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_LARGE = "too large"
    CRASHED = "crashed the decoder"


TRANSIENT_REASONS = frozenset({Reason.MISSING, Reason.UNREADABLE, Reason.NOT_A_FILE, Reason.CRASHED})
"""Reasons that may not apply at the next attempt, even if size and modification time of the file are unchanged."""

FILTER_REASONS = frozenset({Reason.SMALL, Reason.BLURRED, Reason.FEW, Reason.SURPLUS})
"""Reasons that result from the user's own filters. Such a photo is left out, but does not count as bad."""
