"""Whatever ends `prepare` in the middle, the same command ends with what an undisturbed run gives."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import faceclr_cli
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.drawn import write_people

_PROGRAM = """
import signal, sys
from pathlib import Path
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.datasets.prepare import run
from faceclr_cli.core.errors import StoppedError, TerminatedRunError
from faceclr_cli.core.events import Silent

def stop(*_):
    raise TerminatedRunError("stopped")

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        run(PrepareConfig(source=Path("../photos"), out=Path("faces"), workers=2), Silent())
    except StoppedError as error:
        sys.exit(error.exit_code)
"""

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(faceclr_cli.__file__).parents[1])}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed")
    (root / "program.py").write_text(_PROGRAM)
    write_people(root / "photos", people=4, photos=15, seed=0, reporter=Silent())
    for number in range(6):  # broken ones have their rows too
        (root / "photos" / "person-02" / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(number))
    return root


def start(place: Path, folder: str) -> subprocess.Popen[bytes]:
    (place / folder).mkdir(exist_ok=True)
    command = [sys.executable, place / "program.py"]
    return subprocess.Popen(command, cwd=place / folder, env=_ENVIRONMENT, stderr=subprocess.PIPE)


def finish(place: Path, folder: str) -> None:
    process = start(place, folder)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (0, b"")


def outcome(place: Path, folder: str) -> tuple[dict[str, bytes], list[tuple[object, ...]]]:
    root = place / folder / "faces"
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    del files["manifest.sqlite"]
    rows = sqlite3.connect(root / "manifest.sqlite").execute("SELECT * FROM photos").fetchall()
    return files, rows


def faces_so_far(place: Path, folder: str) -> int:
    return len(list((place / folder).glob("faces/*/*.jpg")))


def wait_for_faces(process: subprocess.Popen[bytes], place: Path, folder: str, count: int) -> None:
    limit = time.monotonic() + 60
    while faces_so_far(place, folder) < count and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def wait_for_end(pids: list[int]) -> None:
    limit = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):
        assert time.monotonic() < limit, "workers outlive their parent"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> tuple[dict[str, bytes], list[tuple[object, ...]]]:
    finish(place, "undisturbed")
    files, rows = outcome(place, "undisturbed")
    assert len(files) == 60 + 1
    assert len(rows) == 66
    return files, rows


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for left-over processes in /proc")
def test_killed_runs_are_continued(place: Path, undisturbed: object) -> None:
    for count in (1, 20, 45):
        process = start(place, "killed")
        wait_for_faces(process, place, "killed", count)
        workers = children_of(process)
        process.kill()
        process.communicate()
        wait_for_end(workers)
        assert not (place / "killed" / "faces" / "faceclr.json").exists()
    assert faces_so_far(place, "killed") < 60
    finish(place, "killed")
    assert outcome(place, "killed") == undisturbed


def test_a_terminated_run_ends_soon_and_is_continued(place: Path, undisturbed: object) -> None:
    process = start(place, "terminated")
    wait_for_faces(process, place, "terminated", 35)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == 143
    done = sqlite3.connect(place / "terminated" / "faces" / "manifest.sqlite").execute("SELECT COUNT(*) FROM photos")
    assert 0 < done.fetchone()[0] < 66
    finish(place, "terminated")
    assert outcome(place, "terminated") == undisturbed


def test_a_full_disk_is_one_error_and_no_loss(place: Path, undisturbed: object) -> None:
    """Stood for by a limit on the size of files: crops are small enough, the ledger is not."""
    program = (
        (place / "program.py")
        .read_text()
        .replace(
            "signal.signal(signal.SIGTERM, stop)",
            "import resource; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))",
        )
    )
    (place / "limited.py").write_text(program)
    (place / "full").mkdir()
    command = [sys.executable, place / "limited.py"]
    done = subprocess.run(command, cwd=place / "full", env=_ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "faceclr_cli.core.errors.DataError" in done.stderr.splitlines()[-1]
    finish(place, "full")
    assert outcome(place, "full") == undisturbed
