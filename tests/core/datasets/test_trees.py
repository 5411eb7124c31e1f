from __future__ import annotations

import os
import socket
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from faceclr_cli.core.datasets.trees import Tree, open_tree, read_file
from faceclr_cli.core.errors import DataError

FILES = ("Ann/1.jpg", "Ann/old/2.PNG", "Bob/notes.txt", "list.TXT", ".cache/x.jpg", "Bob/.y.jpg", "Bob/film.mp4")


def tree_of(root: Path) -> Tree:
    with open_tree(root) as tree:
        return tree


def test_a_folder_and_its_archives_hold_the_same(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in FILES:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_text(name)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in FILES:
            packed.write(photos / name, name)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(photos, ".")
    for root in (photos, tmp_path / "a.zip", tmp_path / "a.tar.gz"):
        with open_tree(root) as tree:
            assert tree.pictures == ("Ann/1.jpg", "Ann/old/2.PNG")
            assert tree.texts == {"Bob/notes.txt", "list.TXT"}
            assert tree.read("Bob/notes.txt") == b"Bob/notes.txt"
            assert tree.notices == ()


def test_what_is_no_regular_file_is_listed_but_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.jpg")
    os.mkfifo("identities.txt")
    Path("zero.jpg").symlink_to("/dev/zero")
    Path("gone.jpg").symlink_to("nowhere")
    Path("self.jpg").symlink_to("self.jpg")
    Path("folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        tree = tree_of(Path())
    assert set(tree.pictures) == {"pipe.jpg", "zero.jpg", "gone.jpg", "self.jpg", "socket.jpg"}
    assert not tree.texts
    for name in ("pipe.jpg", "zero.jpg", "socket.jpg"):
        with pytest.raises(DataError, match=f"{name}: not a regular file"):
            read_file(Path(name))
    with pytest.raises(DataError, match=r"gone\.jpg: no such file"):
        read_file(Path("gone.jpg"))


def test_unsafe_members_are_apart_from_the_pictures(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("../evil.jpg", "/abs.jpg", "../notes.txt", "good.jpg", "__MACOSX/._good.jpg"):
            packed.writestr(name, name)
    tree = tree_of(tmp_path / "a.zip")
    assert (tree.pictures, tree.unsafe, tree.texts) == (("good.jpg",), ("../evil.jpg", "/abs.jpg"), frozenset())


def test_the_user_hears_of_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    (tmp_path / "1.jpg").write_bytes(bytes(10_000))
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "1.jpg", "1.jpg")
    path.write_bytes(path.read_bytes()[:5_000])
    (notice,) = tree_of(path).notices
    assert "a.tar: damaged or cut off" in notice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_is_left_out_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir(mode=0)
    assert "Ann: left out, cannot be listed" in tree_of(tmp_path).notices[0]


def test_many_folders_are_listed_in_no_time(tmp_path: Path) -> None:
    for person in range(200):
        (tmp_path / f"{person}").mkdir()
        for number in range(50):
            (tmp_path / f"{person}" / f"{number}.jpg").touch()
    begun = time.perf_counter()
    assert len(tree_of(tmp_path).pictures) == 10_000
    assert time.perf_counter() - begun < 1
