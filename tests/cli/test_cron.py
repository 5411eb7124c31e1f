"""Jobs of a crontab: no environment, no home, no terminal, a folder that cannot be written, and kills at night."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.events import Silent

pytestmark = pytest.mark.slow

PROGRAMS = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
EPOCHS = 4
TINY = (
    f"--backbone test_resnet --image-size 32 --embedding-dim 16 --batch-size 16 --epochs {EPOCHS} --hold-out 0 "
    "--precision 32"
)

_STOP = """
import fnmatch, os, signal

_replace, _left = os.replace, [{number}]

def replace(source, target, **options):
    _replace(source, target, **options)
    if fnmatch.fnmatch(os.fspath(target), {pattern!r}):
        _left[0] -= 1
        if not _left[0]:
            os.killpg(0, signal.SIGSTOP)

os.replace = replace
"""
"""Stops the job, with all its processes, as soon as one of them has given a number of files their names."""


@dataclass(frozen=True)
class Moment:
    """The moment to stop a job: after a number of files or folders whose path matches a pattern."""

    pattern: str
    number: int = 1


class Job:
    """A running job of a crontab.

    Args:
        line: The command to run.
        desk: The folder of its cache and its log; its working directory is not writable.
        stop: The moment at which it stops itself; None for never.
    """

    def __init__(self, line: str, desk: Path, stop: Moment | None = None) -> None:
        self._place = Path(tempfile.mkdtemp(dir=desk))
        self.log = self._place / "log"
        self._began = time.monotonic()
        # One thread, because several busy processes with spinning threads slow each other down many times.
        variables = [f"PATH={PROGRAMS}", f"FACECLR_CACHE={desk / 'cache'}", "OMP_NUM_THREADS=1"]
        if stop is not None:
            (self._place / "sitecustomize.py").write_text(_STOP.format(pattern=stop.pattern, number=stop.number))
            variables.append(f"PYTHONPATH={self._place}")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["env", "-i", *variables, "sh", "-c", f"exec faceclr {line}"],
                cwd="/proc",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self) -> tuple[int, str]:
        """Waits for its end and returns the exit code and the log, which contains nothing meant for terminals."""
        code = self.process.wait()
        seconds, log = time.monotonic() - self._began, self.log.read_text()
        assert "\r" not in log and "\x1b" not in log
        # Progress is reported at most every 30 seconds, however long the job takes.
        assert len(re.findall(r"^[\w ]+: [\d/]+ \w+,", log, re.MULTILINE)) <= 1 + seconds / 30
        return code, log

    def await_stop(self) -> None:
        """Returns when it has stopped in the middle, while it still holds its locks and files."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self.log.read_text()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = tmp_path_factory.mktemp("desk")
    write_people(desk / "photos", people=6, photos=12, seed=11, reporter=Silent(), workers=2)
    assert run(f"prepare {desk}/photos -o {desk}/faces", desk)[0] == 0
    return desk


def run(line: str, desk: Path) -> tuple[int, str]:
    return Job(line, desk).end()


def uninterrupted(line: str) -> None:
    """Runs it in this process, which has imported everything already."""
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output


def killed_and_finished(line: str, desk: Path, stop: Moment) -> None:
    """Kills a job in the middle, while another copy finds it locked, and starts it again."""
    first = Job(line, desk, stop)
    first.await_stop()
    code, log = run(line, desk)
    *before, error = [
        line for line in log.splitlines() if not line.endswith("decoded faces are cached (by an earlier run)")
    ]
    assert code == 75 and before in ([], ["loading PyTorch"]), log
    assert "another run is writing to this folder" in error
    first.kill()
    code, log = run(line, desk)
    assert code == 0, log


def tree(folder: Path) -> dict[str, str]:
    """Returns every file of a folder of faces, except its ledger, which records modification times."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite"]
    return {str(path.relative_to(folder)): digest_file(path) for path in files if path.name != "faceclr.json"}


def test_prepare_is_killed_and_finished_once(desk: Path) -> None:
    out, line = desk / "again", f"prepare {desk}/photos -o {desk}/again"
    killed_and_finished(line, desk, Moment(f"{out}/*.jpg", 4))
    assert tree(out) == tree(desk / "faces")
    code, log = run(line, desk)
    assert code == 0 and re.search(r"this run +0 photographs", log), log


def test_embed_is_killed_and_finished_once(desk: Path) -> None:
    store, whole = desk / "killed.h5", desk / "whole.h5"
    uninterrupted(f"embed {desk}/photos -o {whole}")
    parts = Path(f"{store}.parts")
    killed_and_finished(f"embed {desk}/photos -o {store}", desk, Moment(f"{parts}/*.h5"))
    assert not parts.exists()
    found, expected = read_store(store), read_store(whole)
    assert found.paths == expected.paths
    assert (found.embeddings == expected.embeddings).all()


def test_pretrain_is_killed_and_finished_once(desk: Path) -> None:
    def line(name: str) -> str:
        return f"pretrain {desk}/faces -o {desk}/{name} --resume auto {TINY}"

    def weights(name: str) -> tuple[str, int]:
        path = desk / name / "encoder" / "weights.safetensors"
        return digest_file(path), path.stat().st_mtime_ns

    uninterrupted(line("whole"))
    killed_and_finished(line("killed"), desk, Moment(f"{desk}/killed/checkpoints/step-*"))
    finished = weights("killed")
    assert finished[0] == weights("whole")[0]
    # Another start finds the run finished.
    assert run(line("killed"), desk)[0] == 0
    assert weights("killed") == finished
    assert len((desk / "killed" / "history.csv").read_text().splitlines()) == 1 + EPOCHS
