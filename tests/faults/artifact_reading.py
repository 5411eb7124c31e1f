"""A process of its own that reads artifacts, so that one that hangs or crashes over a damaged one is noticed."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

_MIB = 1 << 20
_LONGEST = 400.0
"""Seconds after which reading hangs even if it computes nothing."""


class Outcome(NamedTuple):
    """The result of reading: the exit code that a command would have, its message, and its peak memory in MiB."""

    code: int
    said: str
    peak: int


def read_embeddings(path: Path) -> None:
    from faceclr_cli.core.embeddings.store import read_store

    read_store(path)


def read_encoder(path: Path) -> None:
    from faceclr_cli.core.encoders.loader import load_encoder

    encoder = load_encoder(str(path if path.suffix == ".onnx" else path.parent), "cpu")
    side = encoder.fingerprint.size
    encoder.embed(np.zeros((1, side, side, 3), np.uint8))


def read_ledger(path: Path) -> None:
    from faceclr_cli.core.configs.forget import ForgetConfig
    from faceclr_cli.core.events import Silent
    from faceclr_cli.core.upkeep.forget import forget as run

    run(ForgetConfig(paths=(path.parent,), identity="person-01", dry_run=True), Silent())


def read_packed(path: Path) -> None:
    from faceclr_cli.core.datasets.packed_faces import open_packed
    from faceclr_cli.core.events import Silent
    from faceclr_cli.core.faces.face_folder import open_faces

    open_packed(open_faces(path.parent.parent / "faces"), Silent(), path.parent).crops.sum()


class Reader:
    """Reads artifacts in a process that is started again when it dies."""

    def __init__(self, read: Callable[[Path], None]) -> None:
        self._read = read
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._read, theirs))
        self._process.start()
        theirs.close()

    def read(self, path: Path, seconds: float) -> Outcome | str:
        """Returns the outcome, or a text if reading hung or crashed.

        Args:
            path: The artifact.
            seconds: The most that reading may take. On a busy machine, the processor's time counts.
        """
        before, deadline = self._processor_seconds(), time.monotonic() + max(_LONGEST, seconds)
        self._pipe.send(path)
        try:
            while not self._pipe.poll(seconds):
                if self._processor_seconds() - before >= seconds or time.monotonic() > deadline:
                    break
            else:
                outcome: Outcome = self._pipe.recv()
                return outcome
            problem = f"hangs for {seconds:.0f} s"
        except EOFError:
            self._process.join()
            problem = f"ends the process with {self._process.exitcode}"
        self.close()
        self._start()
        return problem

    def _processor_seconds(self) -> float:
        """Returns the CPU time of the process and its children."""
        pid, children, ticks = self._process.pid, "", 0
        with suppress(OSError):  # It ended just now.
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        for each in (pid, *children.split()):
            with suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(read: Callable[[Path], None], pipe: Connection) -> None:
    from faceclr_cli.core.errors import FaceclrError

    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        code, said = 0, ""
        try:
            read(path)
        except FaceclrError as error:
            code, said = error.exit_code, str(error)
        except Exception as error:  # noqa: BLE001 - what a command calls a defect
            code, said = 70, f"{type(error).__name__}: {error}"
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        pipe.send(Outcome(code, said, peak * 1024 // _MIB))
