"""The behavior of faceclr where Windows and macOS differ from Linux.

Tests run on Linux. A process in which the functions, modules and signals that Windows lacks are hidden is the nearest
thing to Windows here: it shows that nothing depends on them, but not that the alternatives work on Windows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import pytest

import faceclr_cli
from faceclr_cli.core import text
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.sources.file_trees import leads_out
from faceclr_cli.core.sources.layouts import find_photos
from faceclr_cli.core.sources.lists import is_folder_name
from faceclr_cli.core.text import is_file_name

_HIDDEN = """
import os, signal, sys
import platformdirs, psutil  # On Linux, they need what is hidden below.

for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"):
    sys.modules[name] = None
for name in (
    "SIGKILL SIGSTOP SIGCONT SIGHUP SIGALRM SIGXCPU SIGPIPE SIGUSR1 SIGUSR2 SIGCHLD SIGQUIT SIG_BLOCK SIG_UNBLOCK "
    "SIG_SETMASK pthread_sigmask pthread_kill sigwait alarm setitimer"
).split():
    delattr(signal, name)
for name in (
    "sched_getaffinity getuid geteuid getgid getegid sysconf pread preadv pwrite pwritev O_NONBLOCK O_CLOEXEC "
    "O_NOFOLLOW O_DIRECTORY fork forkpty killpg getpgid setsid getloadavg mkfifo mknod statvfs nice chown lchown "
    "fchown posix_fadvise sendfile"
).split():
    delattr(os, name)
"""

_IMPORTS = """
import importlib, pkgutil
import faceclr_cli
names = [module.name for module in pkgutil.walk_packages(faceclr_cli.__path__, "faceclr_cli.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


class Elsewhere:
    """Runs Python with everything hidden that Windows lacks, also in its child processes."""

    def __init__(self, place: Path) -> None:
        (place / "hidden").mkdir()
        (place / "hidden" / "sitecustomize.py").write_text(_HIDDEN)
        self.place = place
        tree = Path(faceclr_cli.__file__).parents[1]
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(place / "hidden"), str(tree)])}

    def python(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.place,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,  # limits processes that hang
        )

    def faceclr(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "faceclr_cli", *words)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    place = tmp_path_factory.mktemp("elsewhere")
    write_people(place / "photos", 2, 2, 0, Silent())
    return Elsewhere(place)


def test_every_module_can_be_imported(elsewhere: Elsewhere) -> None:
    done = elsewhere.python("-c", _IMPORTS)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


def test_the_main_commands_run(elsewhere: Elsewhere) -> None:
    photos = sorted((elsewhere.place / "photos").rglob("*.jpg"))
    assert "prepare" in elsewhere.faceclr("--help").stdout
    for workers in ("1", "2"):
        done = elsewhere.faceclr("prepare", "photos", "-o", f"faces-{workers}", "--workers", workers, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["faces"] == 4
    assert os.listdir(elsewhere.place / "faces-1") == os.listdir(elsewhere.place / "faces-2")
    done = elsewhere.faceclr("embed", "faces-1", "-o", "faces.h5", "--json")
    assert done.returncode == 0, done.stderr
    done = elsewhere.faceclr("verify", photos[0], photos[1], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["same"]
    done = elsewhere.faceclr("info", "faces.h5", "--json")
    assert done.returncode == 0, done.stderr


_LOCKED_TWICE = """
import subprocess, sys
from pathlib import Path
from faceclr_cli.core.artifacts import exclusive
with exclusive(Path("out")):
    print(subprocess.run([sys.executable, "-m", "faceclr_cli", *sys.argv[1:]]).returncode)
    try:
        with exclusive(Path("out")):
            print("twice")
    except Exception as error:
        print(type(error).__name__)
with exclusive(Path("out")):
    print("free")
"""


def test_a_folder_is_locked(elsewhere: Elsewhere) -> None:
    done = elsewhere.python("-c", _LOCKED_TWICE, "prepare", "photos", "-o", "out")
    assert done.stdout.split() == ["75", "LockedError", "free"], done.stderr
    assert "another run is writing to this folder" in done.stderr
    assert os.listdir(elsewhere.place / "out") == []


_HARMS = {
    "hangs": ("while True: pass", "did not finish reading it within 1 s"),
    "fills the memory": ("hold = bytearray(1 << 31)\n    while True: pass", "needs too much memory"),
}

_PROBE = """
import sys
from pathlib import Path
from faceclr_cli.core.embeddings import store_probe
from faceclr_cli.core.errors import DataError
store_probe._CHILD = sys.argv[2]
store_probe._SECONDS = 1
try:
    store_probe.require_harmless(Path(sys.argv[1]))
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("harm", list(_HARMS))
def test_a_harmful_store_is_ended_without_limits_of_the_system(elsewhere: Elsewhere, harm: str) -> None:
    code, reason = _HARMS[harm]
    with h5py.File(elsewhere.place / "foreign.h5", "w") as file:
        file.attrs["note"] = harm
    child = f"""
from faceclr_cli.core.embeddings import probe_process
def read_whole_store(path):
    {code}
probe_process.read_whole_store = read_whole_store
probe_process.main()
"""
    done = elsewhere.python("-c", _PROBE, elsewhere.place / "foreign.h5", child)
    assert reason in done.stdout, done.stderr


def test_a_file_without_locks_is_read(elsewhere: Elsewhere) -> None:
    code = "import os; from faceclr_cli.core.artifacts import shared\nwith shared('a') as file: print(os.read(file, 9))"
    (elsewhere.place / "a").write_bytes(b"1\r\n2")
    assert elsewhere.python("-c", code).stdout.strip() == r"b'1\r\n2'"


@pytest.mark.parametrize(
    "name", ["a:b.jpg", "x\\..\\a.jpg", "C:\\a.jpg", "a?.jpg", "aux", "NUL.jpg", "a.", "b ", "a\x07"]
)
def test_names_that_windows_cannot_store_are_refused_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_people(tmp_path / "photos", 1, 1, 0, Silent())
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        photo = next((tmp_path / "photos").rglob("*.jpg"))
        archive.add(photo, f"anna/{photo.name}")
        archive.add(photo, f"{name}/1.jpg")
    assert is_file_name(name)
    assert [photo.refused for photo in find_photos(tmp_path / "photos.tar").photos] == [None, None]
    monkeypatch.setattr(text, "ON_WINDOWS", True)
    assert not is_file_name(name)
    assert not is_folder_name(name)
    assert leads_out(f"anna/{name}")
    refused = {photo.name.split("/")[0]: photo.refused for photo in find_photos(tmp_path / "photos.tar").photos}
    assert refused == {"anna": None, name: Reason.UNSAFE}
    for fine in ("anna", "José", "a.jpg", "con-1", "笑.png"):
        assert is_file_name(fine)
