"""A mark for processes that belong to faceclr, whose global settings it may change."""

from __future__ import annotations

import threading

_CLAIMED = threading.Event()


def claim_process() -> None:
    """Marks this process as running a faceclr command or working for one.

    Only in such a process may faceclr configure the memory allocator and discard the output of decoders.
    """
    _CLAIMED.set()


def is_claimed() -> bool:
    """Returns True if `claim_process` was called in this process."""
    return _CLAIMED.is_set()
