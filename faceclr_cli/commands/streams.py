"""Setup of the standard streams, which may be missing, closed, or limited to ASCII."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from typing import TextIO, cast

CLOSED_PIPE = 141
"""Exit code: 128 and the number of SIGPIPE, a signal that Windows lacks."""
_CLOSED_PIPE_ERRORS = (errno.EPIPE, errno.EINVAL) if sys.platform == "win32" else (errno.EPIPE,)
_DATA = 3
_STANDARD_ERROR = 2
_ERROR_HANDLER = "faceclr-ascii"
_ASCII_FALLBACKS = {"─": "-", "…": "~", "±": "+-"}
"""Replacements for symbols that the encoding of a stream lacks."""


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Error handler of codecs: replaces our symbols by ASCII, and other characters by backslash escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    if any(character not in _ASCII_FALLBACKS for character in characters):
        return cast(tuple[str, int], codecs.backslashreplace_errors(error))
    return "".join(_ASCII_FALLBACKS[character] for character in characters), error.end


codecs.register_error(_ERROR_HANDLER, _replace_unencodable)


def printable(text: str) -> str:
    """Returns the text as standard output will show it, to measure its width."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, _ERROR_HANDLER).decode(encoding)


def set_up() -> None:
    """Opens missing standard streams (as in a child of a daemon), and makes them able to print any file name."""
    for name, mode, flags in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_WRONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            # Opened in this order, each gets its own descriptor. It stays open if the stream is replaced, as below: a
            # file that is opened later could take it otherwise, and discarding the output of decoders would replace it.
            descriptor = os.open(os.devnull, flags)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    if _descriptor_of(sys.stderr) == _STANDARD_ERROR:
        # Messages use a separate descriptor, so that the output of image decoders to descriptor 2 can be discarded.
        encoding = sys.stderr.encoding
        sys.stderr = open(os.dup(_STANDARD_ERROR), "w", buffering=1, encoding=encoding)  # noqa: SIM115 - as above
    for stream in (sys.stdout, sys.stderr):
        # A locale or a file name that is not UTF-8 must not crash a job.
        cast(TextIO, stream).reconfigure(errors=_ERROR_HANDLER)  # type: ignore[attr-defined]


def _descriptor_of(stream: TextIO) -> int | None:
    """Returns the descriptor of a stream, or None if it is not a file, as in a notebook."""
    try:
        return stream.fileno()
    except OSError:
        return None


def abandon_output(error: OSError) -> int:
    """Redirects standard output, which failed, to the null device. Reports the error unless the pipe was closed.

    Returns:
        The exit code of the process.
    """
    # Otherwise, the interpreter would fail to flush the buffer at exit, and print another error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno in _CLOSED_PIPE_ERRORS:
        return CLOSED_PIPE
    sys.stderr.write(f"error: standard output: {error.strerror or error}\n")
    return _DATA
