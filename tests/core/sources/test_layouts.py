from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.sources.layouts import find_photos, photo_reader


def read_source(source: Path, name: str) -> bytes:
    with photo_reader(source) as read:
        return read(name)


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


def parts(root: Path) -> dict[str, str | None]:
    return {photo.name: photo.part for photo in find_photos(root).photos}


def packed(folder: Path, archive: Path, inside: str = "") -> Path:
    """The files of a folder in an archive, in the folder `inside`."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as target:
            for name in names:
                target.write(folder / name, inside + name)
    else:
        with tarfile.open(archive, "w:gz") as target_tar:
            for name in names:
                target_tar.add(folder / name, inside + name)
    return archive


def test_folders_of_people_inside_others(tmp_path: Path) -> None:
    touch(tmp_path, "train/n01/1.jpg", "test/n02/1.jpg")
    assert people(tmp_path) == {"test/n02/1.jpg": "n02", "train/n01/1.jpg": "n01"}
    assert parts(tmp_path) == {"test/n02/1.jpg": "test", "train/n01/1.jpg": "train"}
    touch(tmp_path, "Valid/n03/a/1.jpg")
    assert people(tmp_path)["Valid/n03/a/1.jpg"] == "n03"
    assert parts(tmp_path)["Valid/n03/a/1.jpg"] == "val"


def test_a_person_who_is_called_like_a_part_is_a_person(tmp_path: Path) -> None:
    touch(tmp_path, "test/1.jpg", "Ann/1.jpg")
    assert people(tmp_path) == {"test/1.jpg": "test", "Ann/1.jpg": "Ann"}
    assert set(parts(tmp_path).values()) == {None}


def test_folders_of_one_kind_in_those_of_people_are_not_people(tmp_path: Path) -> None:
    touch(tmp_path, *(f"Images/{n:03d}/{view}/01.jpg" for n in range(1, 4) for view in ("frontal", "profile")))
    assert set(people(tmp_path).values()) == {"001", "002", "003"}


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
    assert found.notices == ("1 of the 3 pictures listed in identity_CelebA.txt were not found",)
    with pytest.raises(ConfigError, match="not the CelebA layout"):
        find_photos(touch(tmp_path / "other", "a.jpg"), "celeba")


@pytest.mark.parametrize("line", ["000001.jpg", "000001.jpg 1 2", "000001.jpg ../up", "000001.jpg .hidden"])
def test_a_malformed_list_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    touch(tmp_path, "img_celeba/000001.jpg")
    (tmp_path / "identity_CelebA.txt").write_text(f"000001.jpg 5\n{line}\n")
    with pytest.raises(DataError, match=r"identity_CelebA\.txt:2"):
        find_photos(tmp_path)


def test_circular_links_end(tmp_path: Path) -> None:
    touch(tmp_path, "Ann/1.jpg", "Bob/1.jpg")
    (tmp_path / "Ann" / "again").symlink_to(tmp_path)
    (tmp_path / "Aaa").symlink_to(tmp_path / "Bob")  # an alternative name never takes precedence over the real one
    assert people(tmp_path) == {"Ann/1.jpg": "Ann", "Bob/1.jpg": "Bob"}


def test_linked_folders_count(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg")
    touch(tmp_path / "photos", "Ann/1.jpg")
    (tmp_path / "photos" / "Bob").symlink_to(tmp_path / "elsewhere")
    assert people(tmp_path / "photos") == {"Ann/1.jpg": "Ann", "Bob/1.jpg": "Bob"}


def test_pipes_and_broken_links_are_listed_without_blocking(tmp_path: Path) -> None:
    touch(tmp_path, "Ann/1.jpg")
    os.mkfifo(tmp_path / "Ann" / "pipe.jpg")
    (tmp_path / "Ann" / "gone.jpg").symlink_to("nowhere")
    found = find_photos(tmp_path).photos
    assert {photo.name for photo in found} == {"Ann/1.jpg", "Ann/gone.jpg", "Ann/pipe.jpg"}
    assert {photo.refused for photo in found} == {None}


def test_names_that_are_not_text_survive(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"J\xf6rg\n/1 2.jpg"))
    (photo,) = find_photos(tmp_path).photos
    assert os.fsencode(photo.identity or "") == b"J\xf6rg\n"
    assert photo.path.exists()


def test_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in this folder"):
        find_photos(touch(tmp_path, "notes.txt"))
    with pytest.raises(DataError, match="no such file or folder"):
        find_photos(tmp_path / "nowhere")


def test_the_official_parts_of_celeba_are_read(tmp_path: Path) -> None:
    touch(tmp_path, *(f"img_align_celeba/{number}.jpg" for number in range(4)), "Anno/x.txt")
    (tmp_path / "Anno" / "identity_CelebA.txt").write_text("0.jpg 5\n1.jpg 6\n2.jpg 7\n3.jpg 8\n")
    (tmp_path / "list_eval_partition.txt").write_text("0.jpg 0\n1.jpg 1\n2.jpg 2\n")
    assert list(parts(tmp_path).values()) == ["train", "val", "test", None]
    assert set(people(tmp_path).values()) == {"5", "6", "7", "8"}


@pytest.mark.parametrize("place", ["identities.txt", "IDENTITES.TXT", "Anno/identity.txt"])
def test_a_list_beside_pictures_or_given_itself(tmp_path: Path, place: str) -> None:
    touch(tmp_path, "pics/1.jpg", "pics/two words.jpg", "3.jpg", "new/4.jpg", place)
    (tmp_path / place).write_text("1.jpg Ann\npics/two words.jpg Bob\n3.jpg Ann\ngone.jpg Cat\n")
    expected = {"3.jpg": "Ann", "new/4.jpg": None, "pics/1.jpg": "Ann", "pics/two words.jpg": "Bob"}
    for source in (tmp_path, tmp_path / place):
        found = find_photos(source)
        assert found.layout == "list"
        assert {photo.name: photo.identity for photo in found.photos} == expected
        assert found.notices == (f"1 of the 4 pictures listed in {Path(place).name} were not found",)
    assert people(tmp_path, "identities")["pics/1.jpg"] == "pics"


def test_any_file_is_a_list_if_it_is_said_to_be(tmp_path: Path) -> None:
    touch(tmp_path, "pics/1.jpg")
    (tmp_path / "who.csv").write_text("pics/1.jpg,Ann Lee\n")
    assert people(tmp_path / "who.csv", "list") == {"pics/1.jpg": "Ann Lee"}
    assert people(tmp_path / "who.csv") == {"who.csv": None}
    with pytest.raises(ConfigError, match="contains no identity list"):
        find_photos(tmp_path, "list")


def test_celebas_list_given_itself_is_celeba(tmp_path: Path) -> None:
    touch(tmp_path, "img_celeba/1.jpg", "other/1.jpg")
    (tmp_path / "identity_CelebA.txt").write_text("1.jpg 9\n")
    for source in (tmp_path, tmp_path / "identity_CelebA.txt"):
        found = find_photos(source)
        assert (found.layout, [photo.name for photo in found.photos]) == ("celeba", ["img_celeba/1.jpg"])


def test_a_list_that_matches_nothing_or_several_pictures_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg")
    (tmp_path / "identities.txt").write_text("1.jpg Ann\n2.jpg Bob\n")
    assert people(tmp_path) == {"a/1.jpg": None, "b/1.jpg": None, "b/2.jpg": "Bob"}
    assert find_photos(tmp_path).notices == (
        "1 of the names in identities.txt match several pictures each; add their folders",
    )
    (tmp_path / "identities.txt").write_text("8.jpg Ann\n9.jpg Bob\n")
    with pytest.raises(DataError, match=r"identities\.txt: none of the 2 listed pictures was found"):
        find_photos(tmp_path)
    (tmp_path / "identity.txt").write_text("2.jpg Bob\n")
    with pytest.raises(ConfigError, match=r"contains several identity lists \(identities\.txt, identity\.txt\)"):
        find_photos(tmp_path)
    assert people(tmp_path / "identity.txt")["b/2.jpg"] == "Bob"


def test_lfw(tmp_path: Path) -> None:
    touch(tmp_path, "lfw/Ann_Lee/Ann_Lee_0001.jpg", "lfw/Bob/Bob_0012.jpg")
    assert find_photos(tmp_path).layout == "lfw"
    assert people(tmp_path) == {"lfw/Ann_Lee/Ann_Lee_0001.jpg": "Ann_Lee", "lfw/Bob/Bob_0012.jpg": "Bob"}
    touch(tmp_path, "lfw/Bob/group.jpg")
    assert find_photos(tmp_path).layout == "identities"
    touch(tmp_path / "flat", "Ann_Lee_0001.jpg", "Bob_0002.png", "group.jpg")
    assert find_photos(tmp_path / "flat").layout == "flat"
    assert people(tmp_path / "flat", "lfw") == {"Ann_Lee_0001.jpg": "Ann_Lee", "Bob_0002.png": "Bob", "group.jpg": None}
    with pytest.raises(ConfigError, match="no picture is named as in LFW"):
        find_photos(touch(tmp_path / "none", "1.jpg"), "lfw")


@pytest.mark.parametrize("inside", ["", "celeba/"])
@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_celeba_in_an_archive(tmp_path: Path, kind: str, inside: str) -> None:
    folder = touch(tmp_path / "celeba", "img_align_celeba/1.jpg", "img_align_celeba/2.jpg", "readme.txt")
    (folder / "identity_CelebA.txt").write_text("1.jpg 10\n2.jpg 11\n")
    (folder / "list_eval_partition.txt").write_text("1.jpg 0\n2.jpg 2\n")
    (folder / "img_align_celeba" / "2.jpg").write_bytes(b"two")
    source = packed(folder, tmp_path / f"download.{kind}", inside)
    found = find_photos(source)
    assert found.layout == "celeba"
    assert [photo.name for photo in found.photos] == [f"{inside}img_align_celeba/{n}.jpg" for n in (1, 2)]
    assert [(photo.identity, photo.part) for photo in found.photos] == [("10", "train"), ("11", "test")]
    assert all((photo.path, photo.member) == (source, photo.name) for photo in found.photos)
    assert [photo.size for photo in found.photos] == [0, 3]
    assert read_source(source, found.photos[1].name) == b"two"


@pytest.mark.parametrize(
    "files",
    [
        ("Ann/1.jpg", "Bob/2.jpg", "Bob/deep/3.jpg", "cover.jpg"),
        ("1.jpg", "2.jpg"),
        ("Ann/Ann_0001.jpg", "Bob/Bob_0001.jpg"),
        ("train/n1/1.jpg", "test/n2/1.jpg"),
    ],
)
@pytest.mark.parametrize("inside", ["", "photos/"])
def test_an_archive_means_what_its_folder_means(tmp_path: Path, files: tuple[str, ...], inside: str) -> None:
    folder = touch(tmp_path / "photos", *files)
    source = packed(folder, tmp_path / "photos.zip", inside)
    one, other = find_photos(folder), find_photos(source)
    assert other.layout == one.layout
    assert [(photo.name, photo.identity, photo.part) for photo in other.photos] == [
        (inside + photo.name, photo.identity, photo.part) for photo in one.photos
    ]


def test_an_archive_of_one_person(tmp_path: Path) -> None:
    folder = touch(tmp_path / "x", "1.jpg")
    assert people(packed(folder, tmp_path / "album.zip", "Ann/")) == {"Ann/1.jpg": "Ann"}
    source = packed(folder, tmp_path / "Ann.zip", "Ann/")
    assert people(source) == {"Ann/1.jpg": None}
    assert "use --layout identities if it is one" in find_photos(source).notices[0]
    assert people(source, "identities") == {"Ann/1.jpg": "Ann"}


def test_unsafe_members_are_listed_but_never_opened(tmp_path: Path) -> None:
    source = tmp_path / "a.tar"
    link = tarfile.TarInfo("Ann/link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(source, "w") as tar:
        for info in (
            tarfile.TarInfo("../../evil.jpg"),
            link,
            tarfile.TarInfo("Bob/1.jpg"),
            tarfile.TarInfo("../x.txt"),
        ):
            tar.addfile(info, io.BytesIO())
    found = find_photos(source)
    assert found.layout == "identities"
    assert {photo.name: (photo.identity, photo.refused) for photo in found.photos} == {
        "../../evil.jpg": (None, Reason.UNSAFE),
        "Ann/link.jpg": (None, Reason.UNSAFE),
        "Bob/1.jpg": ("Bob", None),
    }
    with pytest.raises(DataError, match="unsafe archive member"):
        read_source(source, "../../evil.jpg")
    with zipfile.ZipFile(tmp_path / "only.zip", "w") as archive:
        archive.writestr("/abs.jpg", b"")
    assert [photo.refused for photo in find_photos(tmp_path / "only.zip").photos] == [Reason.UNSAFE]


def test_unusable_archives_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in this archive"):
        find_photos(packed(touch(tmp_path / "x", "notes.md"), tmp_path / "a.zip"))
    (tmp_path / "b.zip").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"b\.zip: not a zip or tar archive"):
        find_photos(tmp_path / "b.zip")


def test_a_photograph_is_read_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / "1.jpg").write_bytes(b"one")
    (tmp_path / "identities.txt").write_text("1.jpg Ann\n")
    assert read_source(tmp_path, "Ann/1.jpg") == b"one"
    assert read_source(tmp_path / "identities.txt", "Ann/1.jpg") == b"one"
    assert read_source(tmp_path / "Ann" / "1.jpg", "1.jpg") == b"one"
    assert read_source(packed(tmp_path / "Ann", tmp_path / "a.tgz"), "1.jpg") == b"one"
    with pytest.raises(DataError, match=r"2\.jpg: no such file"):
        read_source(tmp_path, "Ann/2.jpg")


@pytest.mark.real
def test_real_sources_are_recognized(tmp_path: Path, real_data: Path) -> None:
    lfw = find_photos(real_data / "lfw-view1")
    assert (lfw.layout, len(lfw.photos)) == ("lfw", 4992)
    assert all(photo.identity == photo.path.parent.name for photo in lfw.photos)
    celeba = find_photos(real_data / "celeba-layout")
    assert (celeba.layout, len(celeba.photos), len({photo.identity for photo in celeba.photos})) == ("celeba", 600, 30)
    archive = shutil.make_archive(str(tmp_path / "celeba"), "gztar", real_data / "celeba-layout")
    inside = find_photos(Path(archive))
    assert [(photo.name, photo.identity) for photo in inside.photos] == [
        (photo.name, photo.identity) for photo in celeba.photos
    ]
    for photo in inside.photos[::200]:
        assert read_source(Path(archive), photo.name) == read_source(real_data / "celeba-layout", photo.name)


def test_parts_are_not_people_however_few_are_in_them(tmp_path: Path) -> None:
    touch(tmp_path, "train/n01/1.jpg", "Test/n01/2.jpg")
    found = find_photos(tmp_path).photos
    assert [(photo.identity, photo.part) for photo in found] == [("n01", "test"), ("n01", "train")]


def test_notices_for_commands_without_these_options_do_not_name_them(tmp_path: Path) -> None:
    touch(tmp_path, *(f"id{person}/clip-{person}-{clip}/1.jpg" for person in range(5) for clip in range(3)), "a.cr3")
    others, depths = find_photos(tmp_path).plain_notices
    assert "1 .cr3" in others
    assert depths.endswith("such as clip-0-0)")
