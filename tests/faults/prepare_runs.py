"""`faceclr prepare` as a user runs it: a process with its own streams, exit code and memory."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faceclr_cli
from faceclr_cli.core.preparing.ledger import LEDGER

_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("FACECLR_")},
    "PYTHONPATH": str(Path(faceclr_cli.__file__).parents[1]),
    "OMP_NUM_THREADS": "1",
}


# A process counts the memory of the one that started it as its own, and pytest may be large by now.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The outcome of a command.

    Attributes:
        code: Its exit code; above 128 for a signal that was not caught.
        said: Standard output.
        complained: Standard error.
        peak: Most memory that it or one of its workers held, in bytes.
    """

    code: int
    said: str
    complained: str
    peak: int

    @property
    def notices(self) -> list[str]:
        """The notices on standard error, without the progress lines of slow machines."""
        return notices_in(self.complained)

    @property
    def complaints(self) -> list[str]:
        """The lines on standard error that are not events: an error, a warning of a library, a traceback."""
        return [line for line in self.complained.splitlines() if not line.startswith('{"event": ')]


def notices_in(lines: str) -> list[str]:
    """The texts of the notices among what a run with `--json` says."""
    events = [json.loads(line) for line in lines.splitlines() if line.startswith('{"event": ')]
    return [event["text"] for event in events if event["event"] == "notice"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The content of a folder of faces, apart from the pages of the database.

    Attributes:
        files: Content by name, without the ledger.
        rows: Of the ledger, both tables.
    """

    files: dict[str, bytes]
    rows: list[tuple[Any, ...]]


def start(
    place: Path,
    photos: str,
    *options: str,
    out: int = subprocess.DEVNULL,
    complaints: int = subprocess.PIPE,
    before: Callable[[], None] | None = None,
    within: tuple[str, ...] = (),
) -> subprocess.Popen[bytes]:
    """Starts `faceclr prepare PHOTOS -o faces` in a folder, as the leader of a process group as a shell would.

    Names are relative and the same in every place, since what is written says where it came from.
    """

    def as_from_a_shell() -> None:
        # Background jobs inherit a SIGINT that is ignored; without this, Ctrl-C would have no effect on them.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if before is not None:
            before()

    place.mkdir(exist_ok=True)
    command = [*within, sys.executable, "-m", "faceclr_cli", "prepare", photos, "-o", "faces", "--json", *options]
    return subprocess.Popen(
        command,
        cwd=place,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=complaints,
        start_new_session=True,
        preexec_fn=as_from_a_shell,
    )


def prepare(
    place: Path, photos: str, *options: str, seconds: float = 800, before: Callable[[], None] | None = None
) -> Ended:
    """Runs it to its end, or kills it if it hangs, before pytest ends the test."""
    with (
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as complained,
        tempfile.NamedTemporaryFile() as peak,
    ):
        streams = {"out": said.fileno(), "complaints": complained.fileno()}
        within = (sys.executable, "-c", _MEASURE, peak.name)
        process = start(place, photos, *options, **streams, before=before, within=within)
        alarm = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        process.wait()
        alarm.cancel()
        said.seek(0)
        complained.seek(0)
        return Ended(
            code=process.returncode,
            said=said.read().decode(),
            complained=complained.read().decode(),
            peak=int(peak.read() or 0) * (1 if sys.platform == "darwin" else 1024),
        )


def outcome(place: Path) -> Outcome:
    """Returns the content of the folder of faces of a place."""
    root = place / "faces"
    files = {os.fspath(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    del files[LEDGER]
    return Outcome(files=files, rows=rows_of(place, "SELECT * FROM terms") + rows_of(place, "SELECT * FROM photos"))


def rows_of(place: Path, query: str) -> list[tuple[Any, ...]]:
    """Returns the results of a query of the ledger of a place."""
    database = sqlite3.connect(place / "faces" / LEDGER)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()
