"""What OpenCV and the libraries under it print about pictures, which is discarded: it names no file."""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType

import cv2

from faceclr_cli.core.workers.process import is_claimed

_STANDARD_ERROR = 2


class DecoderNoise:
    """A context in which decoders print nothing, for any number of threads at once.

    OpenCV's log level and the descriptor of standard error belong to the whole process. So the first thread to enter
    sets them, and the last one to leave restores what the first one found. libpng and libjpeg know no log level and
    write to the descriptor; it is redirected only in a process of faceclr's own whose messages take another one, as
    `streams.set_up` arranges, so that no message is lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._level = 0
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
                self._descriptor = _redirected() if is_claimed() else None
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                cv2.utils.logging.setLogLevel(self._level)
                if self._descriptor is not None:
                    os.dup2(self._descriptor, _STANDARD_ERROR)
                    os.close(self._descriptor)


NOISE = DecoderNoise()


def _redirected() -> int | None:
    """Sends the descriptor to nowhere and gives a copy of what it was; None where it must be left alone."""
    try:
        if sys.stderr.fileno() == _STANDARD_ERROR:
            return None
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except (AttributeError, OSError, ValueError):  # no such stream, one without a descriptor, or too many open files
        return None
    try:
        kept = os.dup(_STANDARD_ERROR)
        os.dup2(nowhere, _STANDARD_ERROR)
    except OSError:
        return None
    finally:
        os.close(nowhere)
    return kept
