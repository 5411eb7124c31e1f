"""What the terminal, the pipe and the log see: results, progress, errors. Nowhere else is anything printed."""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from faceclr_cli.commands.progress import JsonLines, PlainLines, RichProgress
from faceclr_cli.core.errors import FaceclrError, Result, TerminatedRunError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter, Silent

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

_DEFECT = 70  # EX_SOFTWARE
_DATA = 3
_CLOSED_PIPE = 128 + signal.SIGPIPE


class Console:
    """Standard output for data, standard error for everything else.

    Args:
        json: Data is one JSON document instead of tables.
        quiet: Neither progress nor tables nor notices; errors, and what --json asks for, remain.
        debug: An error is followed by its traceback.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.debug = debug

    @cached_property
    def out(self) -> RichConsole:
        """Standard output."""
        from rich.console import Console as RichConsole

        # In a pipe nothing must be cut to an imagined width of 80 columns.
        return RichConsole(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 200)

    @cached_property
    def err(self) -> RichConsole:
        """Standard error."""
        from rich.console import Console as RichConsole

        return RichConsole(stderr=True, highlight=False, emoji=False)

    @cached_property
    def reporter(self) -> Reporter:
        """The listener for core code that suits where standard error goes."""
        if self.quiet:
            return Silent()
        if self.err.is_terminal and not self.err.is_dumb_terminal:
            return RichProgress(self.err)
        return JsonLines(sys.stderr) if self.json else PlainLines(sys.stderr)

    def show(self, result: Result, *parts: Any) -> None:
        """Prints a result: as JSON, or else as the given tables and lines."""
        self.close()
        if self.json:
            sys.stdout.write(json_module.dumps(result.to_json(), allow_nan=False) + "\n")
        elif not self.quiet:
            for part in parts:
                self.out.print(part, soft_wrap=isinstance(part, str), markup=False)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Says one sentence beside the data."""
        self.reporter.report(Notice(text=text))

    def command(self, line: str) -> None:
        """Shows a command line as one that could be typed."""
        if not self.quiet and not self.json:
            self.close()
            self.out.print(f"\n$ {line}", style="bold", markup=False, soft_wrap=True)

    def error(self, message: str) -> None:
        """Says what went wrong."""
        self.close()
        from rich.text import Text

        self.err.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)

    def close(self) -> None:
        """Takes a progress bar off the terminal."""
        if "reporter" in self.__dict__ and isinstance(self.reporter, RichProgress):
            self.reporter.close()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> Any:
    """A table whose first column is text and whose others are numbers, aligned right."""
    from rich import box
    from rich.table import Table

    built = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        built.add_column(column, justify="left" if index == 0 else "right", no_wrap=index > 0, overflow="fold")
    for row in rows:
        built.add_row(*row)
    return built


def facts(rows: Mapping[str, str]) -> Any:
    """A list of names and values."""
    from rich.table import Table
    from rich.text import Text

    built = Table.grid(padding=(0, 2))
    built.add_column(style="dim", no_wrap=True)
    built.add_column(overflow="fold")
    for name, value in rows.items():
        # Text, so that a file called [red] is no markup.
        built.add_row(name, Text(value))
    return built


def percent(share: float | None) -> str:
    """`0.9137` -> `91.4%`; a dash for what could not be measured."""
    return "-" if share is None else f"{100 * share:.1f}%"


@contextmanager
def guarded(console: Console) -> Iterator[None]:
    """Turns what goes wrong inside into a message and an exit code."""
    with _terminated_by_sigterm():
        try:
            yield
        except FaceclrError as error:
            if isinstance(error, TooManyBadFilesError):
                # The work is done and its numbers stand; only the verdict on them is an error.
                console.show(error.result)
            _fail(console, str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail(console, "interrupted", 130)
        except BrokenPipeError:
            # The reader of our output has seen enough. What is still buffered has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_CLOSED_PIPE) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(console, f"{where}{error.strerror or error}", _DATA)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence
            hint = "" if console.debug else "; --debug shows where"
            _fail(console, f"a defect in faceclr: {type(error).__name__}: {error}{hint}", _DEFECT)
        finally:
            console.close()


def _fail(console: Console, message: str, exit_code: int) -> NoReturn:
    if console.debug:
        console.close()
        traceback.print_exc()
    console.error(message)
    raise typer.Exit(exit_code) from None


@contextmanager
def _terminated_by_sigterm() -> Iterator[None]:
    """SIGTERM becomes an exception, so that what is half done is put away on the way out."""

    def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise TerminatedRunError("terminated")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
