"""The three standard streams, whatever state a process gets them in."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import signal
import sys
from typing import TextIO, cast

CLOSED_PIPE = 128 + signal.SIGPIPE
_DATA = 3
_STANDARD_ERROR = 2
_SIMPLER = {"─": "-", "…": "~", "±": "+-"}
"""What stands for the signs that we print."""


def _simpler(error: UnicodeError) -> tuple[str, int]:
    """What is printed for characters that a stream cannot have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    if any(sign not in _SIMPLER for sign in signs):
        return cast(tuple[str, int], codecs.backslashreplace_errors(error))
    return "".join(_SIMPLER[sign] for sign in signs), error.end


codecs.register_error("simpler", _simpler)


def printable(text: str) -> str:
    """As it will stand on standard output, for whoever must know how wide that is."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "simpler").decode(encoding)


def ready() -> None:
    """Has all three there, which the child of a daemon may lack, and able to print the name of any file."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # In this order each takes its own descriptor, so that no file that is opened later gets it.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open as long as the process
    with contextlib.suppress(io.UnsupportedOperation):  # a stream in memory has no descriptor
        if sys.stderr.fileno() == _STANDARD_ERROR:
            # Messages take a descriptor of their own, so that what decoders write to the usual one can be discarded.
            encoding = sys.stderr.encoding
            sys.stderr = open(os.dup(_STANDARD_ERROR), "w", buffering=1, encoding=encoding)  # noqa: SIM115 - as above
    for stream in (sys.stdout, sys.stderr):
        # A locale without UTF-8 or a name that is not UTF-8 must not end a job.
        cast(TextIO, stream).reconfigure(errors="simpler")  # type: ignore[attr-defined]


def forsake(error: OSError) -> int:
    """Gives up standard output, to which nothing can be written, and says so unless its reader has just seen enough.

    Returns:
        The exit code of the process.
    """
    # What is still buffered has nowhere to go, and the interpreter would complain about it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return CLOSED_PIPE
    sys.stderr.write(f"error: standard output: {error.strerror or error}\n")
    return _DATA
