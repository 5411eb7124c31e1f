from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.sources.folder_levels import find_person_folders
from faceclr_cli.core.sources.layouts import find_photos
from tests.core.sources.test_layouts import packed, parts, people, touch

VGG = tuple(
    f"{part}/n{person:06d}/{number:04d}_01.jpg"
    for part, person in (("train", 1), ("train", 2), ("test", 3))
    for number in range(4)
)
CFP = tuple(f"Data/Images/{n:03d}/{view}/01.jpg" for n in range(1, 7) for view in ("frontal", "profile"))


@pytest.mark.parametrize(
    ("files", "strays", "expected"),
    [
        (VGG, ("train/overview.jpg",), {"n000001", "n000002", "n000003"}),
        (VGG, ("train/overview.jpg", "test/b.jpg", "cover.jpg"), {"n000001", "n000002", "n000003"}),
        (CFP, ("Data/figure.jpg",), {f"{n:03d}" for n in range(1, 7)}),
        (("images/Ann/1.jpg", "images/Bob/1.jpg"), ("images/cover.jpg",), {"Ann", "Bob"}),
        (CFP, ("Data/Images/figure.jpg",), {f"{n:03d}" for n in range(1, 7)}),
    ],
)
def test_stray_pictures_do_not_move_the_folders_of_people(
    tmp_path: Path, files: tuple[str, ...], strays: tuple[str, ...], expected: set[str]
) -> None:
    who = people(touch(tmp_path, *files, *strays))
    assert {who[name] for name in strays} == {None}
    assert {who[name] for name in files} == expected
    (notice,) = find_photos(tmp_path).notices
    assert "above the folders of people ha" in notice
    assert min(strays) in notice


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([f"{who}/2019-0{n}-01 trip/{n}.jpg" for who in ("Ann", "Bob") for n in range(1, 6)], {"Ann", "Bob"}),
        (
            [f"{who}/2019{n:02d}0{k}/1.jpg" for k, who in enumerate(("Ann", "Bob"), 1) for n in (1, 2, 3)],
            {"Ann", "Bob"},
        ),
        (
            [f"2019/{n:02d}/{who}/1.jpg" for n in (1, 2, 3) for who in ("Ann", "Bob", "Cy", "Di")],
            {"Ann", "Bob", "Cy", "Di"},
        ),
        ([f"{who}/{n}/1.jpg" for who in ("Ann", "Bob") for n in range(9)], {"Ann", "Bob"}),
        ([f"{who[0]}/{who}/1.jpg" for who in ("Ann", "Abe", "Bob", "Cy")], {"Ann", "Abe", "Bob", "Cy"}),
        ([f"aligned/{who}/{k}.jpg" for who in ("Ann", "Bob") for k in (1, 2)], {"Ann", "Bob"}),
        ([f"{kind}/{who}/1.jpg" for kind in ("raw", "aligned") for who in ("Ann", "Bob")], {"Ann", "Bob"}),
        (["Ann/old/2018.jpg", "Bob/1.jpg", "Bob/2.jpg"], {"Ann", "Bob"}),
    ],
)
def test_dates_letters_and_kinds_are_not_people(tmp_path: Path, files: list[str], expected: set[str]) -> None:
    assert set(people(touch(tmp_path, *files)).values()) == expected
    assert find_photos(tmp_path).notices == ()


def test_ambiguous_depths_are_reported_and_can_be_chosen(tmp_path: Path) -> None:
    videos = [f"id{person}/clip-{person}-{clip}/1.jpg" for person in range(5) for clip in range(3)]
    touch(tmp_path, *videos)
    assert set(people(tmp_path).values()) == {f"id{person}" for person in range(5)}
    assert find_photos(tmp_path).notices == (
        "the folders at depth 1 (5 folders, such as id0) are treated as people, not those at depth 2 (15 folders, such "
        "as clip-0-0); use --depth N to choose another depth",
    )
    found = find_photos(tmp_path, depth=2)
    assert (found.layout, found.notices) == ("identities", ())
    assert len({photo.identity for photo in found.photos}) == 15
    assert find_photos(tmp_path, depth=1).notices == ()
    with pytest.raises(ConfigError, match="--depth 3: no folder at this depth"):
        find_photos(tmp_path, depth=3)


def test_people_in_folders_of_two_kinds_are_people(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{kind}/{who}/1.jpg" for kind in ("high", "low") for who in ("Ann", "Bob", "Cy")))
    assert set(people(tmp_path).values()) == {"Ann", "Bob", "Cy"}
    assert "not those at depth 1 (2 folders, such as high)" in find_photos(tmp_path).notices[0]


def test_the_given_depth_applies_to_archives(tmp_path: Path) -> None:
    folder = touch(tmp_path / "photos", "x/Ann/1.jpg", "y/Bob/1.jpg", "z/Cy/1.jpg")
    for inside in ("", "photos/"):
        found = find_photos(packed(folder, tmp_path / "photos.zip", inside), depth=2)
        assert [photo.identity for photo in found.photos] == ["Ann", "Bob", "Cy"]


@pytest.mark.parametrize(
    "files",
    [
        ("images/1.jpg", "images/2.jpg"),
        ("train/1.jpg", "test/2.jpg"),
        ("2019/05/1.jpg", "2020/12 Xmas/2.jpg"),
        ("2019/Rome/1.jpg", "2020/Bob and Cy/2.jpg"),
    ],
)
def test_folders_not_named_like_people_are_not_people(tmp_path: Path, files: tuple[str, ...]) -> None:
    found = find_photos(touch(tmp_path, *files))
    assert found.layout == "flat"
    assert {photo.identity for photo in found.photos} == {None}
    assert "use --depth N if the folders at depth N are people" in found.notices[0]
    assert None not in people(tmp_path, "identities").values()
    assert {photo.identity for photo in find_photos(tmp_path, depth=1).photos} == {name.split("/")[0] for name in files}
    assert parts(tmp_path)[files[0]] == ("train" if files[0].startswith("train") else None)


def test_pictures_without_folders_have_no_people() -> None:
    division = find_person_folders(["a.jpg", "b.jpg"])
    assert (division.people, division.rivals, division.is_doubtful) == ((None, None), (), True)


@pytest.mark.parametrize("name", ["list_eval_partition.txt", "Anno/list_eval_partition.csv"])
def test_the_parts_of_celeba_are_known_without_its_people(tmp_path: Path, name: str) -> None:
    touch(tmp_path, *(f"img_align_celeba/img_align_celeba/{number}.jpg" for number in range(3)), name)
    lines = ["0.jpg 0", "1.jpg 1", "2.jpg 2"]
    if name.endswith(".csv"):
        lines = ["image_id,partition", *(line.replace(" ", ",") for line in lines)]
    (tmp_path / name).write_text("\n".join(lines))
    found = find_photos(tmp_path, "flat").photos
    assert [(photo.identity, photo.part) for photo in found] == [(None, "train"), (None, "val"), (None, "test")]


def test_folders_that_differ_only_in_unicode_form_are_one_person(tmp_path: Path) -> None:
    touch(tmp_path, "José/1.jpg", "Jose\u0301/2.jpg", "Ann/1.jpg")
    assert set(people(tmp_path).values()) == {"José", "Ann"}
