"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes

from faceclr_cli.core.workers.process import is_claimed

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
_TOP_PAD = 16 << 20

PICTURE = (32 << 20, 64 << 20)
"""For a process that works on one photograph after the other."""

NETWORK = (256 << 20, 1 << 30)
"""For a process in which a network works on one batch after the other: as large are the maps of features."""


def keep_memory(piece: int, kept: int) -> None:
    """Has a process of faceclr's own keep what it frees for the next picture or batch, which asks for the same again.

    glibc gives large pieces back to the system as soon as they are free, so that they are mapped anew each time, page
    by page: that was measured to take a quarter of a network's time on the CPU. Other C libraries have no such setting.
    In the process of a program that merely imports faceclr, nothing is set.

    Args:
        piece: Bytes of the largest piece that is kept.
        kept: Bytes that are kept in all, of what was in use before.
    """
    if not is_claimed():
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((_M_MMAP_THRESHOLD, piece), (_M_TRIM_THRESHOLD, kept), (_M_TOP_PAD, _TOP_PAD)):
            mallopt(option, value)
