"""Suppression of the messages that OpenCV and its decoders print about pictures; they do not name the file."""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType

from faceclr_cli.core.workers.opencv_log import SILENT, set_log_level
from faceclr_cli.core.workers.process import is_claimed

_STANDARD_ERROR = 2


class DecoderNoise:
    """A context in which decoders print nothing. It may be entered by several threads at once.

    OpenCV's log level and the file descriptor of standard error belong to the whole process. Therefore the first
    thread to enter changes them, and the last one to leave restores them. libpng and libjpeg have no log level and
    write to the descriptor. It is redirected only in a process that belongs to faceclr and writes its own messages to
    another descriptor (see `streams.set_up`), so that no message is lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._level = 0
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._level = set_log_level(SILENT)
                self._descriptor = _redirect_stderr() if is_claimed() else None
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                set_log_level(self._level)
                if self._descriptor is not None:
                    os.dup2(self._descriptor, _STANDARD_ERROR)
                    os.close(self._descriptor)


NOISE = DecoderNoise()


def _redirect_stderr() -> int | None:
    """Redirects standard error to the null device and returns a copy of the descriptor; None if it must not change."""
    try:
        if sys.stderr.fileno() == _STANDARD_ERROR:
            return None
        null_device = os.open(os.devnull, os.O_WRONLY)
    except (AttributeError, OSError, ValueError):  # no stream, a stream without a descriptor, or too many open files
        return None
    try:
        kept = os.dup(_STANDARD_ERROR)
        os.dup2(null_device, _STANDARD_ERROR)
    except OSError:
        return None
    finally:
        os.close(null_device)
    return kept
