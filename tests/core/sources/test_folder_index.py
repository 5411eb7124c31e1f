"""The cached listing of a folder of many faces is used until a face is added, removed or renamed."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.face_folder import FaceFolder, open_faces
from faceclr_cli.core.sources import container_index, folder_index
from faceclr_cli.core.sources.container_index import NameTable
from faceclr_cli.core.sources.folder_index import open_folder
from tests.core.training.toy import describe_faces

OLD = time.time() - 3600
FILES = [
    "ann/2.jpg", "ann/10.jpg", "ann-b/1.PNG", "ann.c/1.jpg", "Zoe/1.jpeg", "_/x.jpg", "_/y.png", "Jose\u0301/1.jpg",
    "José/2.jpg", "李/1.jpg", ".hidden/1.jpg", "ann/.1.jpg", "ann/notes.txt", "empty/notes.txt",
]  # fmt: skip


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    for module in (container_index, folder_index):
        monkeypatch.setattr(module, "FEWEST", 1)
    root = tmp_path / "faces"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    describe_faces(root)
    settle(root)
    return root


def settle(root: Path) -> None:
    """Sets the modification times of all folders back, to new values."""
    for folder in root.iterdir():
        if folder.is_dir():
            os.utime(folder, (OLD, folder.stat().st_mtime - 3600))


def require_same(found: FaceFolder, root: Path) -> None:
    plain = open_faces(root)
    assert isinstance(found.paths, NameTable)
    assert list(found.paths) == list(plain.paths) == sorted(plain.paths)
    assert list(found.identities) == list(plain.identities) and found.people == plain.people
    assert found.labels.tolist() == plain.labels.tolist() and len(found) == len(plain)
    assert found.identities[1:4] == list(plain.identities[1:4]) and found.identities[-1] == plain.identities[-1]


def test_the_listing_is_that_of_the_folder_and_is_kept(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_same(open_folder(faces), faces)
    with monkeypatch.context() as patch:
        patch.setattr(folder_index, "crop_names", lambda _: pytest.fail("listed again"))
        found = open_folder(faces)
    require_same(found, faces)
    assert list(pickle.loads(pickle.dumps(found)).paths) == list(found.paths)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "ann" / "3.jpg").write_bytes(b""),
        lambda root: (root / "ann" / "2.jpg").unlink(),
        lambda root: (root / "ann" / "2.jpg").rename(root / "ann" / "4.jpg"),
        lambda root: (root / "ann").rename(root / "bob"),
        lambda root: (root / "new").mkdir(),
    ],
)
def test_a_change_is_noticed(change: Any, faces: Path) -> None:
    open_folder(faces)
    change(faces)
    require_same(open_folder(faces), faces)
    settle(faces)
    require_same(open_folder(faces), faces)


def test_a_listing_of_a_folder_that_changed_just_now_is_not_kept(faces: Path, tmp_path: Path) -> None:
    (faces / "ann" / "3.jpg").write_bytes(b"")
    require_same(open_folder(faces), faces)
    assert not list((tmp_path / "cache").glob("*.index"))


def test_a_folder_without_faces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces" / "ann").mkdir(parents=True)
    describe_faces(tmp_path / "faces")
    with pytest.raises(DataError, match="contains no faces"):
        open_folder(tmp_path / "faces")


def test_few_faces_are_listed_plainly(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_index, "FEWEST", 100)
    found = open_folder(faces)
    assert isinstance(found.paths, tuple) and found == open_faces(faces)
