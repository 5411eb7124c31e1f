"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import sys

from faceclr_cli.core.workers.process import is_claimed

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
_TOP_PAD = 16 << 20

PICTURE = (32 << 20, 64 << 20)
"""Settings for a process that works on one photo after another."""

NETWORK = (256 << 20, 1 << 30)
"""Settings for a process in which a network works on one batch after another, with large feature maps."""


def keep_memory(piece: int, kept: int) -> None:
    """Makes the C library keep freed memory, because the next picture or batch needs the same amount again.

    By default, glibc returns large blocks to the system as soon as they are freed, and every new allocation maps them
    again page by page. This took a quarter of a network's time on the CPU in measurements. Other C libraries have no
    such setting. Nothing is changed in the process of a program that only imports faceclr.

    Args:
        piece: Size of the largest block that is kept, in bytes.
        kept: Maximum amount of free memory that is kept, in bytes.
    """
    if not is_claimed() or sys.platform == "win32":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((_M_MMAP_THRESHOLD, piece), (_M_TRIM_THRESHOLD, kept), (_M_TOP_PAD, _TOP_PAD)):
            mallopt(option, value)
