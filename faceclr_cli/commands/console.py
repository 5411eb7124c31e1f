"""What the terminal, the pipe and the log see: results, progress, errors. Nowhere else is anything printed."""

from __future__ import annotations

import csv
import json as json_module
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import NoReturn, TextIO

import typer

from faceclr_cli.commands.progress import JsonLines, PlainLines, RichProgress, wrapped
from faceclr_cli.commands.streams import forsake, printable
from faceclr_cli.core.errors import FaceclrError, Result, TerminatedRunError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter, Silent
from faceclr_cli.core.workers.torchrun import is_silent

_DEFECT = 70  # EX_SOFTWARE
_DATA = 3
_LEAST_TEXT = 12
_USUAL_COLUMNS = 80


class Console:
    """Standard output for data, standard error for everything else.

    Where torchrun runs a command in several processes, the first of them speaks for all: the others show errors alone.

    Args:
        json: Data is one JSON document instead of tables.
        quiet: Neither progress nor tables nor notices; errors, and what --json asks for, remain.
        debug: An error is followed by its traceback.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.json = json and not is_silent()
        self.quiet = quiet or is_silent()
        self.debug = debug

    @cached_property
    def reporter(self) -> Reporter:
        """The listener for core code that suits where standard error goes."""
        if self.quiet:
            return Silent()
        if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
            return RichProgress()
        return JsonLines(sys.stderr) if self.json else PlainLines(sys.stderr)

    def show(self, result: Result, *parts: str) -> None:
        """Prints a result: as JSON, or else as the given tables and lines."""
        self.close()
        if self.json:
            _write(sys.stdout, json_module.dumps(result.to_json(), allow_nan=False))
        elif parts and not self.quiet:
            _write(sys.stdout, re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip("\n"))

    @contextmanager
    def rows(
        self, columns: Sequence[str], *, on_terminal: Sequence[str] | None = None
    ) -> Iterator[tuple[Callable[[Result], None], Reporter]]:
        """Gives a function that prints one result of many at once, as a JSON line or a line of CSV.

        It comes with the reporter to use meanwhile: where the rows go to the terminal, no bar is drawn among them.

        Args:
            columns: The fields that CSV shows.
            on_terminal: Those shown on a terminal instead, where people read them.
        """
        if on_terminal is not None and sys.stdout.isatty():
            columns = on_terminal
        table, heading = csv.writer(sys.stdout, lineterminator="\n"), [list(columns)]

        def write(result: Result) -> None:
            content = result.to_json()
            if self.json:
                _write(sys.stdout, json_module.dumps(content, allow_nan=False))
            elif not self.quiet:
                cells = [content[name] for name in columns]
                table.writerows([*heading, [_cell(value) for value in cells]])
                heading.clear()
                sys.stdout.flush()  # Whoever reads along may wait for it.

        if sys.stdout.isatty() and not self.quiet:
            self.reporter = PlainLines(sys.stderr)
        yield write, self.reporter

    def note(self, text: str) -> None:
        """Says one sentence beside the data."""
        self.reporter.report(Notice(text=text))

    def command(self, line: str) -> None:
        """Shows a command line as one that could be typed."""
        if not self.quiet and not self.json:
            self.close()
            _write(sys.stdout, _styled(f"\n$ {line}", sys.stdout, bold=True))

    def error(self, message: str) -> None:
        """Says what went wrong."""
        self.close()
        text = "\n".join(_wrapped(line, 0, sys.stderr) for line in f"error: {message}".splitlines())
        _write(sys.stderr, text.replace("error:", _styled("error:", sys.stderr, bold=True, fg="red"), 1))

    def close(self) -> None:
        """Takes a progress bar off the terminal."""
        if "reporter" in self.__dict__ and isinstance(self.reporter, RichProgress):
            self.reporter.close()


def _cell(value: object) -> object:
    """Flags as the pairs that faceclr reads have them."""
    return "" if value is None else int(value) if isinstance(value, bool) else value


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def _styled(text: str, stream: TextIO, *, bold: bool, fg: str | None = None) -> str:
    plain = not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else typer.style(text, bold=bold, fg=fg)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers, aligned right.

    Where a terminal is too narrow for it, texts lose their middle, and numbers nothing: columns without room follow
    in a table below.
    """
    rows = [list(map(printable, cells)) for cells in rows]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    numbers = [list(range(1, len(widths)))]
    if sys.stdout.isatty():
        width = _columns(sys.stdout)
        room = width - sum(each + 2 for each in widths[1:])
        widths[0] = min(widths[0], max(room, _LEAST_TEXT, len(columns[0])))
        numbers = list(_side_by_side(widths, width))

    def part(places: Sequence[int]) -> str:
        def line(cells: Sequence[str]) -> str:
            shown = [_shortened(cells[0], widths[0]).ljust(widths[0])]
            return "  ".join(shown + [cells[place].rjust(widths[place]) for place in places]).rstrip()

        rule = "─" * (widths[0] + sum(widths[place] + 2 for place in places))
        return "\n".join(["", line(columns), rule, *map(line, rows), ""])

    return "\n".join(map(part, numbers))


def _side_by_side(widths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Which columns of numbers find room beside the first, a table after the other."""
    places, used = list[int](), widths[0]
    for place in range(1, len(widths)):
        if places and used + 2 + widths[place] > width:
            yield places
            places, used = [], widths[0]
        places.append(place)
        used += 2 + widths[place]
    yield places


def _shortened(text: str, width: int) -> str:
    """`runs/…/test.h5`: the end of a path tells most."""
    kept = width - 1
    return text if len(text) <= width else f"{text[: kept // 3]}…{text[len(text) - (kept - kept // 3) :]}"


def facts(rows: Mapping[str, str]) -> str:
    """A list of names and values; long values go on below themselves, at the width of the terminal."""
    margin = max(map(len, rows)) + 2
    return "\n".join(f"{name.ljust(margin)}{_wrapped(value, margin, sys.stdout)}" for name, value in rows.items())


def room(margin: int) -> int:
    """Columns beside a margin, of a terminal or else of eighty."""
    return min(80, _columns(sys.stdout)) - margin


def sentence(text: str) -> str:
    """A line of words between tables and facts, at the width of the terminal."""
    return _wrapped(text, 0, sys.stdout)


def paragraph(text: str) -> str:
    """Several lines of words, in a log as on a terminal."""
    return wrapped(text, room(0))


def _wrapped(text: str, margin: int, stream: TextIO) -> str:
    """On a terminal, breaks lines between words; never inside one, since a path must stay one to be copied."""
    return wrapped(text, _columns(stream), margin) if stream.isatty() else text


def _columns(stream: TextIO) -> int:
    """The width of the terminal that a stream leads to, or of one as there used to be."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(stream.fileno()).columns) or _USUAL_COLUMNS
    except (OSError, ValueError):  # It leads to none, is closed, or the variable holds no number.
        return _USUAL_COLUMNS


def likely(chance: float) -> str:
    """As `percent`, but never the certainty that nobody has."""
    return ">99.9%" if chance > 0.999 else "<0.1%" if chance < 0.001 else percent(chance)


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
        except BrokenPipeError as error:
            raise typer.Exit(forsake(error)) from None
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
