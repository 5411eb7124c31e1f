from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from faceclr_cli import __version__
from faceclr_cli.core.artifacts import (
    atomic_path,
    digest_file,
    exclusive,
    read_json,
    remove_temporaries,
    shared,
    stamp,
    write_json,
)
from faceclr_cli.core.errors import DataError, LockedError


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.suffix == ".txt"
    assert target.read_text() == "new"
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["report.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    for name, fails in (("good", False), ("bad", True)):
        try:
            with atomic_path(tmp_path / name) as temporary:
                temporary.mkdir()
                (temporary / "a").touch()
                if fails:
                    raise RuntimeError
        except RuntimeError:
            pass
    assert os.listdir(tmp_path) == ["good"]


def test_json_keeps_names_of_any_kind(tmp_path: Path) -> None:
    content = {"name": os.fsdecode(b"caf\xe9"), "other": "笑\n"}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_damaged_json_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.json"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_the_lock_keeps_others_out_and_leaves_no_trace(tmp_path: Path) -> None:
    with exclusive(tmp_path / "out"):
        with pytest.raises(LockedError, match="another run"), exclusive(tmp_path / "out"):
            pass
        assert os.listdir(tmp_path / "out") == []
    with exclusive(tmp_path / "out"):
        pass


def test_two_writers_never_share_a_temporary_name(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 240 + ".json")
    with atomic_path(target) as one, atomic_path(target) as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
        assert one.suffix == other.suffix == ".json"
    assert target.read_text() == "one"
    assert os.listdir(tmp_path) == [target.name]


def test_what_a_killed_process_left_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "encoder.json") as mine:
        mine.write_text("being written")
        _, space, token = mine.name.split(".")[1].split("-")
        ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        pid = int(ended.stdout)
        stale, elsewhere = tmp_path / f".{pid}-{space}-{token}.encoder.json", tmp_path / f".{pid}-{'0' * 8}-{token}.a"
        folder, theirs = tmp_path / f".{pid}-{space}-{token}.encoder", tmp_path / f".{pid}.notes"
        folder.mkdir()
        for path in (stale, elsewhere, theirs, folder / "weights"):
            path.write_text("half")
        write_json(tmp_path / "other.json", {})
        assert not stale.exists()
        assert not folder.exists()
        assert elsewhere.exists()
        assert theirs.exists()
        assert mine.exists()
        with exclusive(tmp_path):
            remove_temporaries(tmp_path, "a")
        assert not elsewhere.exists()


def test_a_rename_is_flushed_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = list[int]()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    write_json(tmp_path / "a.json", {})
    assert flushed == [(tmp_path / "a.json").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    out, lock = tmp_path / "out", fcntl.flock

    def flock(descriptor: int, kind: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_relative_to(out):
            raise OSError(reason, os.strerror(reason))
        lock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with exclusive(out):
        write_json(out / "a.json", {})
        with pytest.raises(LockedError, match="another run"), exclusive(out):
            pass
        with shared(out / "a.json") as descriptor:
            assert os.read(descriptor, 2) == b"{}"
    with exclusive(out):
        pass


def test_a_file_that_is_open_to_be_changed_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "faces.h5"
    path.touch()
    with shared(path), shared(path):  # Any number may read.
        pass
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="has opened it for writing") as caught, shared(path):
            pass
    assert caught.value.exit_code == 75


def test_origin_and_digest(tmp_path: Path) -> None:
    assert stamp("faces", {"size": 1}) == {"kind": "faces", "faceclr": __version__, "config": {"size": 1}}
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def error_of(target: Path, write: Callable[[Path], object]) -> OSError:
    with pytest.raises(OSError) as caught, atomic_path(target) as temporary:
        write(temporary)
    return caught.value


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Whether its folder is a file, its place is taken, or writing fails below it or with the path in a text."""
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    target = tmp_path / "a.txt"

    def write(temporary: Path) -> None:
        temporary.write_text("new")

    def write_below(temporary: Path) -> None:
        temporary.mkdir()
        (temporary / "sub" / "file").write_text("new")

    def refuse(code: int, text: str) -> Callable[[Path], None]:
        def fail(temporary: Path) -> None:
            raise OSError(code, text.format(temporary))

        return fail

    def ask_for(error: OSError) -> tuple[int | None, str, str]:
        return error.errno, str(error.filename), str(error.strerror)

    for name in ("file/a.txt", "file/sub/a.txt"):
        found = ask_for(error_of(tmp_path / name, write))
        assert found == (errno.ENOTDIR, str(tmp_path / name), os.strerror(errno.ENOTDIR))
    taken = error_of(tmp_path / "taken", write)
    assert str(taken) == f"[Errno {errno.EISDIR}] {os.strerror(errno.EISDIR)}: '{tmp_path / 'taken'}'"
    assert ask_for(error_of(target, write_below))[:2] == (errno.ENOENT, str(target / "sub" / "file"))
    for code, text in ((errno.ENOSPC, "No space"), (errno.EACCES, "Failed to open local file '{}'. Detail: denied")):
        assert ask_for(error_of(target, refuse(code, text))) == (code, str(target), os.strerror(code))
    # A file that was read meanwhile keeps its name, and what has none gets none.
    assert ask_for(error_of(target, lambda _: (tmp_path / "missing").read_bytes()))[1] == str(tmp_path / "missing")
    assert error_of(target, refuse(errno.EIO, "Input/output error")).filename is None
    assert sorted(os.listdir(tmp_path)) == ["file", "taken"]


def test_an_output_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "sub" / "out"):
        with pytest.raises(NotADirectoryError) as caught, exclusive(folder):
            pass
        assert caught.value.filename == str(folder)
