"""Command lines in this process, and everything that a separate process would have printed."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from typer.testing import CliRunner

from faceclr_cli.commands.app import app

_SILENT_BY_DEFAULT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@dataclass(frozen=True)
class Printed:
    """The result of a command line.

    Attributes:
        exit_code: Of the process that it would have been.
        stdout: Standard output.
        stderr: Standard error, with the warnings and the log that Python would have written there.
        stray: What libraries in C wrote directly to the descriptors of either stream.
    """

    exit_code: int
    stdout: str
    stderr: str
    stray: str


def typed(line: str) -> Printed:
    """Runs `faceclr LINE`."""
    with _as_without_pytest(), _descriptors() as file:
        done = CliRunner().invoke(app, shlex.split(line))
        file.seek(0)
        stray = file.read().decode(errors="replace")
    return Printed(done.exit_code, done.stdout, done.stderr, stray)


@contextmanager
def _as_without_pytest() -> Iterator[None]:
    """Sends warnings and log messages to standard error, because pytest would capture them."""

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))

    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        with warnings.catch_warnings():
            for category in _SILENT_BY_DEFAULT:
                warnings.simplefilter("ignore", category)
            warnings.showwarning = show
            yield
    finally:
        root.handlers = handlers


@contextmanager
def _descriptors() -> Iterator[IO[bytes]]:
    """Redirects the descriptors of both streams to a file."""
    with TemporaryFile() as file:
        saved = {number: os.dup(number) for number in (1, 2)}
        try:
            for number in saved:
                os.dup2(file.fileno(), number)
            yield file
        finally:
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)
