from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceclr_cli.core.datasets.layouts import find_photos
from faceclr_cli.core.errors import ConfigError, DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def people(root: Path, layout: str = "auto") -> dict[str, str | None]:
    return {photo.name: photo.identity for photo in find_photos(root, layout).photos}  # type: ignore[arg-type]


def test_a_folder_for_each_person(tmp_path: Path) -> None:
    touch(tmp_path, "Ann/1.jpg", "Ann/old/2.PNG", "Bob/1.webp", "Bob/notes.txt", "cover.jpg", ".cache/x.jpg", "_/u.jpg")
    assert people(tmp_path) == {
        "Ann/1.jpg": "Ann",
        "Ann/old/2.PNG": "Ann",
        "Bob/1.webp": "Bob",
        "_/u.jpg": None,
        "cover.jpg": None,
    }
    assert find_photos(tmp_path).layout == "identities"
    assert list(people(tmp_path)) == sorted(people(tmp_path))
    assert set(people(tmp_path, "flat").values()) == {None}


def test_folders_of_people_inside_others(tmp_path: Path) -> None:
    touch(tmp_path, "train/n01/1.jpg", "test/n02/1.jpg")
    assert people(tmp_path) == {"test/n02/1.jpg": "n02", "train/n01/1.jpg": "n01"}


def test_a_folder_without_people(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg")
    assert people(tmp_path) == {"a.jpg": None, "b.jpg": None}
    assert find_photos(tmp_path).layout == "flat"
    with pytest.raises(ConfigError, match="no folders of people"):
        find_photos(tmp_path, "identities")


def test_a_single_file_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    touch(tmp_path, "scan.dat")
    assert people(tmp_path / "scan.dat") == {"scan.dat": None}


@pytest.mark.parametrize("pictures", ["img_align_celeba", "img_celeba", "img_align_celeba/img_align_celeba"])
def test_celeba(tmp_path: Path, pictures: str) -> None:
    touch(tmp_path, f"{pictures}/000001.jpg", f"{pictures}/000002.jpg", f"{pictures}/000009.jpg")
    with pytest.raises(ConfigError, match=r"identity_CelebA\.txt is missing"):
        find_photos(tmp_path)
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n\n000003.jpg 8692\n")
    found = find_photos(tmp_path)
    assert found.layout == "celeba"
    assert [photo.identity for photo in found.photos] == ["2880", "2937", None]
    assert all(photo.path == tmp_path / photo.name for photo in found.photos)
    assert found.notices == ("1 of the 3 pictures that identity_CelebA.txt lists are not here",)
    with pytest.raises(ConfigError, match="not CelebA's layout"):
        find_photos(touch(tmp_path / "other", "a.jpg"), "celeba")


@pytest.mark.parametrize("line", ["000001.jpg", "000001.jpg 1 2", "000001.jpg ../up", "000001.jpg .hidden"])
def test_a_malformed_list_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    touch(tmp_path, "img_celeba/000001.jpg")
    (tmp_path / "identity_CelebA.txt").write_text(f"000001.jpg 5\n{line}\n")
    with pytest.raises(DataError, match=r"identity_CelebA\.txt:2"):
        find_photos(tmp_path)


def test_links_that_lead_round_in_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "Ann/1.jpg", "Bob/1.jpg")
    (tmp_path / "Ann" / "again").symlink_to(tmp_path)
    (tmp_path / "Aaa").symlink_to(tmp_path / "Bob")  # a second name never beats the real one
    assert people(tmp_path) == {"Ann/1.jpg": "Ann", "Bob/1.jpg": "Bob"}


def test_linked_folders_count(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg")
    touch(tmp_path / "photos", "Ann/1.jpg")
    (tmp_path / "photos" / "Bob").symlink_to(tmp_path / "elsewhere")
    assert people(tmp_path / "photos") == {"Ann/1.jpg": "Ann", "Bob/1.jpg": "Bob"}


def test_pipes_are_not_waited_for_and_broken_links_are_not_forgotten(tmp_path: Path) -> None:
    touch(tmp_path, "Ann/1.jpg")
    os.mkfifo(tmp_path / "Ann" / "pipe.jpg")
    (tmp_path / "Ann" / "gone.jpg").symlink_to("nowhere")
    assert set(people(tmp_path)) == {"Ann/1.jpg", "Ann/gone.jpg"}


def test_names_that_are_not_text_survive(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"J\xf6rg\n/1 2.jpg"))
    (photo,) = find_photos(tmp_path).photos
    assert os.fsencode(photo.identity or "") == b"J\xf6rg\n"
    assert photo.path.exists()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in this folder"):
        find_photos(touch(tmp_path, "notes.txt"))
    with pytest.raises(DataError, match="no such file or folder"):
        find_photos(tmp_path / "nowhere")
