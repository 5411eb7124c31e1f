"""Sources given as a list of paths on standard input."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.sources.layouts import Photo, find_photos, photo_reader


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


class Input:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def given(monkeypatch: pytest.MonkeyPatch, data: bytes, layout: str = "auto", *, null: bool = False) -> list[Photo]:
    monkeypatch.setattr(sys, "stdin", Input(data))
    return list(find_photos(Path("-"), layout, null=null).photos)  # type: ignore[arg-type]


def test_a_list_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(touch(tmp_path / "home", "me.jpg"))
    touch(tmp_path, "Ann/1.jpg", "_/2.jpg", ".x/3.jpg")
    paths = f"me.jpg\n\n../Ann/1.jpg\n../Ann/../Ann/1.jpg\n{tmp_path}/_/2.jpg\n../.x/3.jpg\n./gone\n".encode()
    photos = given(monkeypatch, paths)
    assert [photo.name for photo in photos] == sorted(
        ["me.jpg", "../Ann/1.jpg", f"{tmp_path}/_/2.jpg", "../.x/3.jpg", "./gone"]
    )
    assert {photo.identity for photo in photos} == {None}
    with photo_reader(Path("-")) as read:
        assert read("me.jpg") == b""
    owners = {photo.path.name: photo.identity for photo in given(monkeypatch, paths, "identities")}
    assert owners == {"me.jpg": "home", "1.jpg": "Ann", "2.jpg": None, "3.jpg": None, "gone": "home"}
    (photo,) = given(monkeypatch, b"x/Bob_0001.jpg\0", "lfw", null=True)
    assert photo.identity == "Bob"


def test_listed_files_that_are_not_pictures_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(touch(tmp_path, "a/1.jpg", "a/noname", "a/notes.txt", "a/@eaDir/2.jpg"))
    monkeypatch.setattr(sys, "stdin", Input(b"a\na/@eaDir\na/1.jpg\na/noname\na/notes.txt\na/@eaDir/2.jpg\ngone.jpg\n"))
    found = find_photos(Path("-"), "flat")
    assert [photo.name for photo in found.photos] == ["a/1.jpg", "a/@eaDir/2.jpg", "a/noname", "gone.jpg"]
    folders, companions, services = found.notices
    assert folders.startswith("skipped 2 of the paths: folders, such as a;")
    assert companions == "skipped 1 of the paths without an image suffix: 1 .txt"
    assert "such as a/@eaDir/2.jpg; they are included" in services
    with pytest.raises(DataError, match="contains no pictures; skipped 1 of the paths: folders, such as a;"):
        given(monkeypatch, b"a\n")


def test_a_list_of_paths_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input(b"a.jpg\n"))
    found = find_photos(Path("-"))
    assert not found.is_complete
    assert found.layout == "flat"
    assert "--layout identities" in found.notices[0]
    monkeypatch.setattr(sys, "stdin", Input(b"a.jpg\n"))
    assert find_photos(Path("-"), "flat").notices == ()
    monkeypatch.setattr(sys, "stdin", Input(b"a.jpg\n"))
    assert find_photos(Path("-")).plain_notices == ()


def test_unusable_lists_of_paths_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="the list of paths is empty"):
        given(monkeypatch, b"\n\n")
    with pytest.raises(ConfigError, match="add --null"):
        given(monkeypatch, b"a.jpg\0b.jpg\0")
    with pytest.raises(ConfigError, match="--layout celeba does not apply"):
        given(monkeypatch, b"a.jpg\n", "celeba")
