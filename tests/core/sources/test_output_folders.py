"""Pictures that faceclr wrote are not read as photographs by the next run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent
from faceclr_cli.core.sources.layouts import find_photos
from faceclr_cli.core.sources.output_folders import OUTPUT_MARK
from tests.core.sources.test_layouts import packed, touch


def typed(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_people(folder, people=2, photos=2, seed=3, reporter=Silent())
    return folder


@pytest.fixture
def album(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A working directory with three photographs of two people."""
    for name, photo in zip(("a.jpg", "b.jpg", "c.jpg"), sorted(drawn.rglob("*.jpg")), strict=False):
        shutil.copy(photo, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return [Path("a.jpg"), Path("b.jpg"), Path("c.jpg")]


def names() -> set[str]:
    return {photo.name for photo in find_photos(Path()).photos}


def test_saved_crops_are_skipped_with_a_notice(album: list[Path]) -> None:
    before = names()
    for _ in range(2):  # The second run writes into the folder of the first.
        assert typed("verify", *album[:2], "--threshold", 0.3, "--save-crops", "crops").exit_code in (0, 1)
    assert {path.name for path in Path("crops").glob("*.png")} == {"a.jpg.png", "b.jpg.png"}
    assert names() == before == {"a.jpg", "b.jpg", "c.jpg"}
    assert find_photos(Path()).notices == (
        ".: skipped 1 folder that faceclr wrote: crops; pass it by itself to read it",
    )
    assert len(find_photos(Path("crops")).photos) == 2


def test_annotated_copies_are_skipped(album: list[Path], drawn: Path) -> None:
    for _ in range(2):
        done = typed("identify", album[0], "-g", drawn, "--annotate", "named", "--threshold", 0.3)
        assert done.exit_code == 0, done.output
    assert Path("named/a.jpg").is_file()
    assert names() == {"a.jpg", "b.jpg", "c.jpg"}


def test_groups_and_prepared_faces_inside_a_folder_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "Ann/1.jpg", "Bob/1.jpg", "faces/Ann/1.jpg", "groups/0001/1.jpg", "groups/0002/1.jpg")
    (tmp_path / "faces" / "faceclr.json").touch()
    (tmp_path / "groups" / "cluster.json").touch()
    found = find_photos(tmp_path)
    assert {photo.identity for photo in found.photos} == {"Ann", "Bob"}
    assert found.notices == (
        f"{tmp_path}: skipped 2 folders that faceclr wrote: faces, groups; pass one by itself to read it",
    )
    assert {photo.identity for photo in find_photos(tmp_path / "groups").photos} == {"0001", "0002"}


def test_groups_inside_an_archive_are_skipped_unless_they_are_all_of_it(tmp_path: Path) -> None:
    files = ("Ann/1.jpg", "Bob/1.jpg", "crops/1.png", "groups/0001/1.jpg", "groups/cluster.json")
    folder = touch(tmp_path / "all", *files, f"crops/{OUTPUT_MARK}")
    found = find_photos(packed(folder, tmp_path / "all.zip"))
    assert {photo.name for photo in found.photos} == {"Ann/1.jpg", "Bob/1.jpg"}
    assert found.notices == (f"{tmp_path / 'all.zip'}: skipped 2 folders that faceclr wrote: crops, groups",)
    alone = packed(touch(tmp_path / "alone", "groups/0001/1.jpg", "groups/cluster.json"), tmp_path / "groups.zip")
    assert [photo.name for photo in find_photos(alone).photos] == ["groups/0001/1.jpg"]


@pytest.mark.parametrize("out", [".", "full", "..", "a.jpg"])
def test_a_folder_that_cannot_be_marked_is_refused_before_the_work(
    out: str, album: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").touch()
    here = Path.cwd()
    before = sorted(here.parent.rglob("*"))
    photos = [here.name / photo for photo in album] if out == ".." else album
    if out == "..":
        # The crop of in/a.jpg is in/a.jpg.png below the folder, which is beside the photograph.
        monkeypatch.chdir(here.parent)
        out = "."
    done = typed("verify", *photos[:2], "--model", "pixels", "--threshold", 0.3, "--save-crops", out)
    assert done.exit_code == 2
    assert "name a" in done.stderr
    assert sorted(here.parent.rglob("*")) == before


def test_a_folder_with_other_files_elsewhere_is_written_but_not_marked(album: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "full").mkdir(parents=True)
    (other / "full" / "notes.txt").touch()
    (tmp_path / "in").mkdir()
    for photo in album[:2]:
        shutil.move(photo, tmp_path / "in")
    photos = [tmp_path / "in" / photo for photo in album[:2]]
    assert typed("verify", *photos, "--threshold", 0.3, "--save-crops", other / "full").exit_code in (0, 1)
    assert len(list(other.rglob("*.png"))) == 2
    assert not list(other.rglob(OUTPUT_MARK))


@pytest.mark.parametrize(
    "line",
    [
        "verify --protocol lfw --pairs pairs.txt --root people --plot people/roc.png",
        "verify --pairs pairs.txt --root people --threshold 0.3 --save-crops people/crops",
        "linear-eval people --plot people/confusion.png",
        "pretrain people --show-views people/views.png",
        "prepare people --sheet people/sheet.jpg",
        "tsne people -o people/map.png",
    ],
)
def test_pictures_are_not_written_among_those_that_are_read(
    line: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(drawn, tmp_path / "people")
    (tmp_path / "pairs.txt").write_text("person-01\t1\t2\n")
    monkeypatch.chdir(tmp_path)
    done = typed(*line.split())
    assert done.exit_code == 2, done.output
    assert "would" in done.stderr and "choose another" in done.stderr
    assert not [path for path in (tmp_path / "people").iterdir() if path.name in Path(line.split()[-1]).name]
