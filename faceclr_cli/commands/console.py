"""The console: results on standard output; progress, notices and errors on standard error."""

from __future__ import annotations

import csv
import json as json_module
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import NoReturn, TextIO

import typer

from faceclr_cli.commands.progress import JsonLines, PlainLines, RichProgress, wrap_text
from faceclr_cli.commands.streams import abandon_output, printable
from faceclr_cli.core.errors import FaceclrError, InterruptedRunError, Result, TerminatedRunError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter, Silent
from faceclr_cli.core.workers.torchrun import is_silent

_DEFECT = 70  # EX_SOFTWARE
_DATA = 3
_MIN_TEXT_WIDTH = 12
_DEFAULT_COLUMNS = 80


class Console:
    """Standard output for data, standard error for everything else.

    If torchrun started several processes, only the first one prints results and progress; the others print errors only.

    Args:
        json: Print a JSON document instead of tables.
        quiet: Print errors only, and with `json` also results.
        debug: Print the traceback of an error.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.json = json and not is_silent()
        self.quiet = quiet or is_silent()
        self.debug = debug

    @cached_property
    def reporter(self) -> Reporter:
        """The reporter for core code: progress bars on a terminal, otherwise plain or JSON lines."""
        if self.quiet:
            return Silent()
        if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
            return RichProgress()
        return JsonLines(sys.stderr) if self.json else PlainLines(sys.stderr)

    def show(self, result: Result, *parts: str) -> None:
        """Prints a result as JSON, or otherwise as the given tables and lines."""
        self.close()
        if self.json:
            _write(sys.stdout, json_module.dumps(result.to_json(), allow_nan=False))
        elif parts and not self.quiet:
            _write(sys.stdout, re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip("\n"))

    @contextmanager
    def rows(
        self, columns: Sequence[str], *, on_terminal: Sequence[str] | None = None
    ) -> Iterator[tuple[Callable[[Result], None], Reporter]]:
        """Prints results one by one, as JSON lines or as CSV.

        Args:
            columns: The fields to print as CSV. A field that a result does not have is an empty cell.
            on_terminal: The fields to print on a terminal instead.

        Yields:
            A function that prints one result, and the reporter to use meanwhile. If the rows are printed on a terminal,
            the reporter draws no progress bar among them.
        """
        if on_terminal is not None and sys.stdout.isatty():
            columns = on_terminal
        table, heading = csv.writer(sys.stdout, lineterminator="\n"), [list(columns)]

        def write(result: Result) -> None:
            content = result.to_json()
            if self.json:
                _write(sys.stdout, json_module.dumps(content, allow_nan=False))
            elif not self.quiet:
                cells = [content.get(name) for name in columns]
                table.writerows([*heading, [_cell(value) for value in cells]])
                heading.clear()
                sys.stdout.flush()  # A reader of the pipe may be waiting for the row.

        if sys.stdout.isatty() and not self.quiet:
            self.reporter = PlainLines(sys.stderr)
        yield write, self.reporter

    def note(self, text: str) -> None:
        """Prints a notice to standard error."""
        self.reporter.report(Notice(text=text))

    def command(self, line: str) -> None:
        """Prints a command line as a user would type it."""
        if not self.quiet and not self.json:
            self.close()
            _write(sys.stdout, _styled(f"\n$ {line}", sys.stdout, bold=True))

    def error(self, message: str) -> None:
        """Prints an error to standard error."""
        self.close()
        text = "\n".join(_wrapped(line, 0, sys.stderr) for line in f"error: {message}".splitlines())
        _write(sys.stderr, text.replace("error:", _styled("error:", sys.stderr, bold=True, fg="red"), 1))

    def close(self) -> None:
        """Removes a progress bar from the terminal."""
        if "reporter" in self.__dict__ and isinstance(self.reporter, RichProgress):
            self.reporter.close()


def _cell(value: object) -> object:
    """Formats a value for CSV: None as an empty cell, and bools as 0 or 1, as in lists of pairs."""
    return "" if value is None else int(value) if isinstance(value, bool) else value


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def _styled(text: str, stream: TextIO, *, bold: bool, fg: str | None = None) -> str:
    plain = not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else typer.style(text, bold=bold, fg=fg)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, bold: Collection[tuple[int, int]] = frozenset()
) -> str:
    """Formats a table with text in the first column and right-aligned numbers in the others.

    If the terminal is too narrow, texts are shortened in the middle, and columns that do not fit follow in a second
    table below.

    Args:
        columns: The header.
        rows: The cells.
        bold: Row and column of the cells to print in bold on a terminal.
    """
    rows = [list(map(printable, cells)) for cells in rows]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    numbers = [list(range(1, len(widths)))]
    if sys.stdout.isatty():
        width = _columns(sys.stdout)
        room = width - sum(each + 2 for each in widths[1:])
        widths[0] = min(widths[0], max(room, _MIN_TEXT_WIDTH, len(columns[0])))
        numbers = list(_side_by_side(widths, width))

    def part(places: Sequence[int]) -> str:
        def line(cells: Sequence[str], row: int | None = None) -> str:
            shown = [_shortened(cells[0], widths[0]).ljust(widths[0])]
            for place in places:
                text = cells[place].rjust(widths[place])
                shown.append(_styled(text, sys.stdout, bold=True) if (row, place) in bold else text)
            return "  ".join(shown).rstrip()

        rule = "─" * (widths[0] + sum(widths[place] + 2 for place in places))
        lines = [line(cells, row) for row, cells in enumerate(rows)]
        return "\n".join(["", line(columns), rule, *lines, ""])

    return "\n".join(map(part, numbers))


def _side_by_side(widths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Yields the columns of numbers that fit beside the first column, for each table."""
    places, used = list[int](), widths[0]
    for place in range(1, len(widths)):
        if places and used + 2 + widths[place] > width:
            yield places
            places, used = [], widths[0]
        places.append(place)
        used += 2 + widths[place]
    yield places


def _shortened(text: str, width: int) -> str:
    """Shortens a path in the middle, and keeps more of its end: `runs/…/test.h5`. An indented text loses its indent."""
    if text.startswith(" "):
        return _shortened(text.lstrip(), width).rjust(width)
    kept = width - 1
    return text if len(text) <= width else f"{text[: kept // 3]}…{text[len(text) - (kept - kept // 3) :]}"


def format_facts(rows: Mapping[str, str], *, wrapped: Container[str] = ()) -> str:
    """Formats names and values as aligned lines; long values are wrapped at the width of the terminal.

    Args:
        rows: The values by name.
        wrapped: Names of the values that are also wrapped if the output is not a terminal.
    """
    margin = max(map(len, rows)) + 2

    def wrap(name: str, value: str) -> str:
        return (
            wrap_text(value, _columns(sys.stdout), margin) if name in wrapped else _wrapped(value, margin, sys.stdout)
        )

    return "\n".join(f"{name.ljust(margin)}{wrap(name, value)}" for name, value in rows.items())


def measure_room(margin: int) -> int:
    """Returns the columns available beside a margin, at most 80."""
    return min(80, _columns(sys.stdout)) - margin


def wrap_sentence(text: str) -> str:
    """Wraps a text at the width of the terminal."""
    return _wrapped(text, 0, sys.stdout)


def wrap_paragraph(text: str) -> str:
    """Wraps a text at 80 columns or less, also if the output is not a terminal."""
    return wrap_text(text, measure_room(0))


def _wrapped(text: str, margin: int, stream: TextIO) -> str:
    """Wraps a text on a terminal. Never breaks a word, so that paths can be copied."""
    return wrap_text(text, _columns(stream), margin) if stream.isatty() else text


def _columns(stream: TextIO) -> int:
    """Returns the width of the terminal, or 80 if the stream is not a terminal."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(stream.fileno()).columns) or _DEFAULT_COLUMNS
    except (OSError, ValueError):  # Not a terminal, closed, or COLUMNS is not a number.
        return _DEFAULT_COLUMNS


def format_probability(chance: float) -> str:
    """Formats a probability like `format_percent`, but never as 0% or 100%."""
    return ">99.9%" if chance > 0.999 else "<0.1%" if chance < 0.001 else format_percent(chance)


def format_percent(share: float | None) -> str:
    """Formats a share as a percentage: `0.9137` -> `91.4%`; None as a dash."""
    return "-" if share is None else f"{100 * share:.1f}%"


@contextmanager
def report_errors(console: Console) -> Iterator[None]:
    """Turns exceptions into error messages and exit codes."""
    with _terminated_by_sigterm():
        try:
            yield
        except FaceclrError as error:
            if isinstance(error, TooManyBadFilesError):
                # The work is complete and its result is valid; only the exit code reports the bad files.
                console.show(error.result)
            _fail(console, str(error), error.exit_code)
        except _Terminated:
            _fail(console, "terminated", TerminatedRunError.exit_code)
        except KeyboardInterrupt:
            _fail(console, "interrupted", InterruptedRunError.exit_code)
        except BrokenPipeError as error:
            raise typer.Exit(abandon_output(error)) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(console, f"{where}{error.strerror or error}", _DATA)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - the outermost handler
            hint = "" if console.debug else "; add --debug for a traceback"
            _fail(console, f"internal error: {type(error).__name__}: {error}{hint}", _DEFECT)
        finally:
            console.close()


def _fail(console: Console, message: str, exit_code: int) -> NoReturn:
    if console.debug:
        console.close()
        traceback.print_exc()
    console.error(message)
    raise typer.Exit(exit_code) from None


class _Terminated(KeyboardInterrupt):
    """SIGTERM was received. Libraries that catch errors and try something else do not catch it, as Ctrl-C."""


@contextmanager
def _terminated_by_sigterm() -> Iterator[None]:
    """Turns SIGTERM into an exception, so that unfinished work is cleaned up."""

    def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
