"""Damaged stores are refused before HDF5 reads them, and stores of other programs are first read in a child process."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from faceclr_cli.core.embeddings import checksums, store_probe
from faceclr_cli.core.embeddings.checksums import BLOCK_BYTES, append_checksums, read_checksums
from faceclr_cli.core.embeddings.hdf5_columns import read_texts
from faceclr_cli.core.embeddings.store import open_store, read_store, write_store
from faceclr_cli.core.errors import DataError, LockedError
from tests.core.embeddings.test_store import make_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of several blocks, whose embeddings alone fill most of them."""
    path = tmp_path / "faces.h5"
    write_store(path, make_store(["ann", "bob"] * 500, dim=512))
    return path


def _has_checksums(path: Path) -> bool:
    with open(path, "rb") as file:
        return read_checksums(file.fileno()) is not None


def _flip(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def test_any_flipped_bit_is_noticed(path: Path) -> None:
    sound, size = path.read_bytes(), path.stat().st_size
    with open(path, "rb") as file:
        found = read_checksums(file.fileno())
    assert found is not None
    assert len(found.blocks) == -(-found.length // BLOCK_BYTES) > 4
    for offset in np.linspace(0, found.length - 1, 60).astype(int).tolist():
        _flip(path, offset)
        with pytest.raises(
            DataError, match=r"damaged: the bytes from .* on are not those that faceclr wrote"
        ) as caught:
            read_store(path)
        assert "\n" not in str(caught.value)
        path.write_bytes(sound)
    _flip(path, size - 1)  # Of the checksums themselves: the content is sound.
    assert not _has_checksums(path)
    assert len(read_store(path)) == 1000


def test_a_block_that_is_not_needed_is_not_read(path: Path) -> None:
    with h5py.File(path, "r") as file:
        middle = file["embedding"].id.get_offset() + 3 * BLOCK_BYTES
    _flip(path, middle)
    with open_store(path) as store:
        assert read_texts(store.file["identity"])[:2] == ["ann", "bob"]
        assert len(store.rows(np.array([0, 999]))) == 2
        with pytest.raises(DataError, match="damaged"):
            store.rows()


def test_other_programs_read_it_and_what_they_change_is_tried_first(path: Path) -> None:
    with h5py.File(path, "r") as file:
        assert file["embedding"].shape == (1000, 512)
    assert _has_checksums(path)
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"
    assert not _has_checksums(path)
    assert len(read_store(path)) == 1000


def test_a_file_that_was_cut_off_has_no_checksums(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(DataError, match="not a store of embeddings, or a damaged one") as caught:
        read_store(path)
    assert "\n" not in str(caught.value)


def test_blocks_are_those_of_an_independent_reading(tmp_path: Path) -> None:
    for length in (1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES):
        content = np.random.default_rng(length).bytes(length)
        (tmp_path / "a").write_bytes(content)
        append_checksums(tmp_path / "a")
        with open(tmp_path / "a", "rb") as file:
            found = read_checksums(file.fileno())
            assert found is not None
            checked = checksums.CheckedFile(file.fileno(), found, tmp_path / "a")
            for start, size in ((0, length), (length // 2, 10), (length - 1, 5), (length, 1)):
                checked.seek(start)
                assert checked.read(size) == content[start : start + size]
            assert checked.seek(0, os.SEEK_END) == checked.tell() == length


_HARMS = {
    "hangs": ("while True: pass", "did not finish reading it within 1 s"),
    "crashes": ("os.kill(os.getpid(), 11)", "crashes on it: SIGSEGV"),
    "fills the memory": ("bytearray(1 << 31)", "needs too much memory"),
}


@pytest.mark.parametrize("harm", list(_HARMS))
def test_what_hdf5_does_over_a_foreign_file_does_no_harm(
    path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    code, reason = _HARMS[harm]
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"
    child = f"""
import os
from faceclr_cli.core.embeddings import hdf5_columns as columns
from faceclr_cli.core.embeddings import probe_process
def decode_all_columns(file):
    {code}
columns.decode_all_columns = decode_all_columns
probe_process.main()
"""
    monkeypatch.setattr(store_probe, "_CHILD", child)
    if harm == "hangs":
        monkeypatch.setattr(store_probe, "_SECONDS", 1)
    with pytest.raises(DataError, match=reason) as caught:
        read_store(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_sound_file_is_tried_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"
    read_store(path)
    monkeypatch.setattr(subprocess, "run", None)
    assert len(read_store(path)) == 1000


def test_a_store_that_a_notebook_holds_open_is_not_called_damaged(path: Path) -> None:
    holder = "import h5py, sys; file = h5py.File(sys.argv[1], 'a'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(LockedError, match="has opened it for writing"):
            read_store(path)
        process.communicate(b"\n")
    assert len(read_store(path)) == 1000


def test_a_store_on_a_file_system_without_locks_is_read_and_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    store = read_store(path)
    write_store(path, store)
    assert len(read_store(path)) == 1000


def test_a_store_that_may_not_be_read_is_not_called_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(name: object, *args: int, **options: int) -> int:
        if name == path:
            raise PermissionError(13, "Permission denied", str(name))
        return opened(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=r"faces\.h5: cannot be read \(Permission denied\)"):
        read_store(path)
