"""Settings of processes: a mark for those that belong to faceclr, and blocked signals."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_CLAIMED = threading.Event()


def claim_process() -> None:
    """Marks this process as running a faceclr command or working for one.

    Only in such a process may faceclr configure the memory allocator and discard the output of decoders.
    """
    _CLAIMED.set()


def is_claimed() -> bool:
    """Returns True if `claim_process` was called in this process."""
    return _CLAIMED.is_set()


@contextmanager
def block_signals(signals: Collection[signal.Signals]) -> Iterator[None]:
    """Blocks signals within the `with` block, also in the processes that it starts. They arrive afterward.

    Windows cannot block signals.
    """
    if sys.platform == "win32" or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def unblock_signals(signals: Collection[signal.Signals]) -> None:
    """Unblocks signals that the parent blocked while it started this process."""
    if sys.platform != "win32" and hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
