from __future__ import annotations

import os
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.file_trees import Tree, open_tree, read_file

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
            assert tree.notices == (f"{root}: skipped 1 film: 1 .mp4; faceclr prepare and faceclr identify read films",)


def test_special_files_are_listed_but_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_unsafe_members_are_not_among_the_pictures(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("../evil.jpg", "/abs.jpg", "../notes.txt", "good.jpg", "__MACOSX/._good.jpg"):
            packed.writestr(name, name)
    tree = tree_of(tmp_path / "a.zip")
    assert (tree.pictures, tree.unsafe, tree.texts) == (("good.jpg",), ("../evil.jpg", "/abs.jpg"), frozenset())


def test_a_truncated_archive_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    (tmp_path / "1.jpg").write_bytes(bytes(10_000))
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "1.jpg", "1.jpg")
    path.write_bytes(path.read_bytes()[:5_000])
    (notice,) = tree_of(path).notices
    assert "a.tar: damaged or truncated" in notice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_an_unreadable_folder_is_skipped_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir(mode=0)
    assert "Ann: skipped, cannot be listed" in tree_of(tmp_path).notices[0]


def test_each_folder_is_listed_once_and_no_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in range(20):
        (tmp_path / f"{person}").mkdir()
        for number in range(5):
            (tmp_path / f"{person}" / f"{number}.jpg").touch()
    asked: list[str] = []
    scan, look = os.scandir, os.stat
    monkeypatch.setattr(os, "scandir", lambda path: (asked.append("scandir"), scan(path))[1])
    monkeypatch.setattr(os, "stat", lambda *args, **how: (asked.append("stat"), look(*args, **how))[1])
    assert len(tree_of(tmp_path).pictures) == 100
    monkeypatch.undo()
    assert asked.count("scandir") == 21
    assert asked.count("stat") <= 21 + 6


SERVICE = (
    *("Ann/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "@eaDir/x.jpg", "#recycle/Ann/1.jpg", "$RECYCLE.BIN/S-1-5/2.jpg"),
    *("Bob/Thumbs/1.jpg", "@Recycle/3.jpg", "lost+found/4.jpg", "deep/thumbnails/5.jpg"),
)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_folders_for_thumbnails_and_deleted_files_are_skipped_with_a_notice(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "photos"
    names = ("Ann/1.jpg", "@ann/1.jpg", "Bob/#1/2.jpg", *SERVICE)
    if kind == "folder":
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        (root / "Thumbs").symlink_to("Ann")
    else:
        root = tmp_path / "photos.zip"
        with zipfile.ZipFile(root, "w") as packed:
            for name in (*names, "Thumbs/6.jpg", "__MACOSX/Ann/._1.jpg"):
                packed.writestr(name, "")
    tree = tree_of(root)
    assert tree.pictures == ("@ann/1.jpg", "Ann/1.jpg", "Bob/#1/2.jpg")
    (notice,) = tree.notices
    assert "skipped folders for thumbnails or deleted files" in notice
    assert "2 @eaDir" in notice
    assert "2 Thumbs" in notice


def test_a_folder_for_thumbnails_that_is_asked_for_is_read(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "1.jpg").touch()
    assert tree_of(tmp_path / "thumbnails").pictures == ("1.jpg",)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_skipped_files_are_counted(tmp_path: Path, kind: str) -> None:
    names = [
        "1.jpg",
        "2.HIF",
        "a.CR3",
        "b.cr3",
        "c.jxl",
        "noname",
        "x.jpg_large",
        "clips.zip",
        "y.jpg~",
        "\x1b.\x1b[31m",
    ]
    root = tmp_path / "photos"
    if kind == "folder":
        root.mkdir()
        for name in (*names, "README", "notes.txt", "list.csv", ".hidden"):
            (root / name).touch()
    else:
        root = tmp_path / "photos.zip"
        with zipfile.ZipFile(root, "w") as packed:
            for name in (*names, "README", "notes.txt", "list.csv", ".hidden"):
                packed.writestr(name, "")
    tree = tree_of(root)
    assert tree.pictures == ("1.jpg", "2.HIF")
    (notice,) = tree.notices
    assert "skipped 8 files without an image suffix: 2 .cr3" in notice
    assert notice.endswith("others")
    assert "\x1b" not in notice


def test_members_with_the_same_name_are_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed, pytest.warns(UserWarning, match="Duplicate name"):
        for name in ("1.jpg", "1.jpg", "./1.jpg", "2.jpg"):
            packed.writestr(name, name)
    tree = tree_of(tmp_path / "a.zip")
    assert tree.pictures == ("1.jpg", "2.jpg")
    assert "2 of its files have the same name as a later one" in tree.notices[0]
