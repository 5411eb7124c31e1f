"""Reads at a position of a file that several threads share."""

from __future__ import annotations

import os
import threading
from typing import BinaryIO

_LOCK = threading.Lock()


def read_at(file: BinaryIO, start: int, length: int) -> bytes:
    """Returns up to `length` bytes from `start`. Thread-safe, also on Windows, which lacks `os.pread`.

    Raises:
        OSError: The file cannot be read.
    """
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), length, start)
    with _LOCK:
        file.seek(start)
        return file.read(length)
