"""Whether this process is one of faceclr's own, whose settings may be changed, or that of a program that imports it."""

from __future__ import annotations

import threading

_CLAIMED = threading.Event()


def claim_process() -> None:
    """Says that this process runs a command of faceclr, or works for one.

    In such a process, and in no other, the C library is told how to keep memory, and what decoders print is discarded.
    """
    _CLAIMED.set()


def is_claimed() -> bool:
    """Whether `claim_process` was called in this process."""
    return _CLAIMED.is_set()
