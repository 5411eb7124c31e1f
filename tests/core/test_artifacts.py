from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceclr_cli import __version__
from faceclr_cli.core.artifacts import atomic_path, digest_file, exclusive, read_json, stamp, write_json
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


def test_origin_and_digest(tmp_path: Path) -> None:
    assert stamp("faces", {"size": 1}) == {"kind": "faces", "faceclr": __version__, "config": {"size": 1}}
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
