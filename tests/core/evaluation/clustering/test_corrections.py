"""Updates of a folder of groups keep the user's changes: with new faces, and with another encoder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import faceclr_cli
from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.errors import ConfigError, DataError, LockedError
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult
from faceclr_cli.core.events import Silent

Crowd = Callable[..., Store]
PEOPLE, PICTURES = 6, 8


class Album:
    """A growing collection of six people with eight pictures each, and its folder of groups."""

    def __init__(self, place: Path, crowd: Crowd, noise: float = 0.2) -> None:
        store = crowd(PEOPLE, PICTURES, noise, 64)
        digests = tuple(hashlib.sha256(path.encode()).hexdigest() for path in store.paths)
        self.store = replace(store, content_hashes=digests)
        self.place, self.out = place, place / "groups"
        for path in store.paths:
            (place / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
            (place / "photos" / path).write_text(path)

    def run(self, rows: slice | list[int] = slice(None), **options: object) -> ClusterResult:
        numbers = np.arange(len(self.store))[rows]
        write_store(self.place / "faces.h5", self.store.take(numbers))
        return cluster(
            ClusterConfig(
                source=self.place / "faces.h5",
                **({"out": self.out, "faces": self.place / "photos", "threshold": 0.5} | options),
            ),
            Silent(),
        )

    def links(self) -> dict[str, str]:
        """Returns the place of each picture's link."""
        found = {}
        for path in self.out.rglob("*.jpg"):
            assert (
                found.setdefault(path.read_text(), path.relative_to(self.out).as_posix())
                == path.relative_to(self.out).as_posix()
            ), f"{path} is linked twice"
        return found

    def folders(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for picture, link in self.links().items():
            found.setdefault(link.rpartition("/")[0], set()).add(picture)
        return found

    def folder_of(self, picture: str) -> str:
        return self.links()[picture].rpartition("/")[0]

    def move(self, picture: str, folder: str) -> None:
        link = self.out / self.links()[picture]
        (self.out / folder).mkdir(parents=True, exist_ok=True)
        link.rename(self.out / folder / link.name)

    def delete(self, picture: str) -> None:
        (self.out / self.links()[picture]).unlink()


def first_of(count: int) -> list[int]:
    """The rows of the first pictures of each person."""
    return [person * PICTURES + number for person in range(PEOPLE) for number in range(count)]


def pictures(person: int, count: int = PICTURES) -> set[str]:
    return {f"p{person:02d}/{number}.jpg" for number in range(count)}


@pytest.fixture
def album(crowd: Crowd, tmp_path: Path) -> Album:
    return Album(tmp_path, crowd)


def test_new_faces_join_their_groups_and_folders_keep_their_names(album: Album) -> None:
    first = album.run([row for row in first_of(5) if row >= PICTURES])  # without the first person
    before = album.folders()
    assert (first.new, len(before), first.corrections) == (25, 5, ())
    inodes = {picture: (album.out / link).stat().st_ino for picture, link in album.links().items()}
    second = album.run()
    after = album.folders()
    assert (second.new, len(after), second.corrections) == (PEOPLE * PICTURES - 25, 6, ())
    assert all(faces <= after[folder] for folder, faces in before.items())
    assert after["0006"] == pictures(0), "a new person gets the next number, though the group would be the first"
    assert all((album.out / album.links()[picture]).stat().st_ino == inode for picture, inode in inodes.items())
    # Without any change, nothing changes.
    third = album.run()
    assert (third.new, album.folders()) == (0, after)


def test_a_renamed_folder_is_the_name_of_the_person(album: Album) -> None:
    album.run(first_of(4))
    ann, ben = album.folder_of("p00/0.jpg"), album.folder_of("p01/0.jpg")
    (album.out / ann).rename(album.out / "Ann")
    (album.out / "family").mkdir()
    (album.out / ben).rename(album.out / "family" / "Ben")
    result = album.run()
    assert album.folders()["Ann"] == pictures(0)
    assert album.folders()["family/Ben"] == pictures(1)
    assert result.corrections == ("2 groups renamed",)
    names = {face.path: face.name for face in result.faces}
    assert (names["p00/7.jpg"], names["p01/7.jpg"], names["p02/7.jpg"]) == ("Ann", "family/Ben", None)
    (album.out / "Ann").rename(album.out / "Anna")
    assert album.run().corrections == ("1 group renamed",)
    assert album.folders()["Anna"] == pictures(0)


def test_what_was_moved_stays_and_what_was_taken_out_does_not_come_back(album: Album) -> None:
    album.run(first_of(4))
    home, other = album.folder_of("p00/0.jpg"), album.folder_of("p01/0.jpg")
    album.move("p00/0.jpg", other)
    album.delete("p00/1.jpg")
    album.move("p00/2.jpg", "_")
    album.move("p02/3.jpg", "Cleo")
    result = album.run()
    assert sorted(result.corrections) == ["2 faces moved", "2 faces taken out"]
    for _ in range(2):
        folders = album.folders()
        assert folders[other] >= pictures(1) | {"p00/0.jpg"}
        assert "p00/3.jpg" in folders[home]
        assert not {"p00/0.jpg", "p00/1.jpg", "p00/2.jpg"} & folders[home]
        assert "p02/3.jpg" in folders["Cleo"]
        assert not {"p02/0.jpg", "p02/1.jpg", "p02/2.jpg"} & folders["Cleo"]
        assert album.run().corrections == ()
    # The last decision counts.
    album.move("p00/0.jpg", home)
    album.run()
    assert album.folder_of("p00/0.jpg") == home


def test_merged_groups_stay_merged_and_divided_ones_divided(album: Album) -> None:
    album.run(first_of(4))
    kept, emptied = album.folder_of("p00/0.jpg"), album.folder_of("p01/0.jpg")
    for picture in pictures(1, 4):
        album.move(picture, kept)
    for picture in ("p02/0.jpg", "p02/1.jpg"):
        album.move(picture, "Cleo's sister")
    result = album.run()
    assert sorted(result.corrections) == ["1 group merged", "2 faces moved"]
    assert album.folders()[kept] == pictures(0) | pictures(1)
    assert emptied not in album.folders()
    twin = album.folders()["Cleo's sister"]
    assert {"p02/0.jpg", "p02/1.jpg"} <= twin
    assert not {"p02/2.jpg", "p02/3.jpg"} & twin


def test_ignored_people_and_removed_faces_stay_away(album: Album) -> None:
    album.run(first_of(4))
    deleted, moved = album.folder_of("p00/0.jpg"), album.folder_of("p01/0.jpg")
    shutil.rmtree(album.out / deleted)
    (album.out / "_/ignored").mkdir(parents=True)
    (album.out / moved).rename(album.out / "_/ignored/strangers")
    result = album.run()
    folders = album.folders()
    assert result.corrections == ("2 groups ignored",)
    assert folders[f"_/ignored/{deleted}"] == pictures(0)
    assert folders["_/ignored/strangers"] == pictures(1)
    assert (result.ignored, result.singles, len(result.groups)) == (16, 0, 4)
    # The user also deletes the ignored group, and restores the others.
    shutil.rmtree(album.out / "_/ignored" / deleted)
    (album.out / "_/ignored/strangers").rename(album.out / "Ben")
    result = album.run()
    assert result.corrections == ("1 group no longer ignored",)
    assert not any(pictures(0) & faces for faces in album.folders().values())
    assert album.folders()["Ben"] == pictures(1)
    album.run()
    assert not any(pictures(0) & faces for faces in album.folders().values())


def test_a_single_face_that_was_deleted_is_not_grouped_again(album: Album) -> None:
    album.run([*first_of(4)[4:], 0])
    assert album.folder_of("p00/0.jpg") == "_"
    album.delete("p00/0.jpg")
    assert album.run().corrections == ("1 face removed",)
    assert "p00/0.jpg" not in album.links()
    assert album.folders()[album.folder_of("p00/1.jpg")] == pictures(0) - {"p00/0.jpg"}


def test_corrections_survive_another_encoder(album: Album, crowd: Crowd) -> None:
    album.run(first_of(4))
    other = album.folder_of("p01/0.jpg")
    (album.out / album.folder_of("p00/0.jpg")).rename(album.out / "Ann")
    album.move("p00/0.jpg", other)
    album.delete("p02/1.jpg")
    album.run(first_of(4))
    before = album.folders()
    # Another dimension and other embeddings, in which one face of each photograph is still the same.
    rows = crowd(PEOPLE, PICTURES, 0.2, 48).embeddings
    album.store = replace(album.store, embeddings=rows, encoder="other", encoder_digest="1" * 64)
    assert album.run().corrections == ()
    after = album.folders()
    assert after["Ann"] == pictures(0) - {"p00/0.jpg"}
    assert after[other] == pictures(1) | {"p00/0.jpg"}
    assert "p02/1.jpg" not in after[album.folder_of("p02/0.jpg")]
    assert all(faces <= after[folder] for folder, faces in before.items() if folder != "_")


def test_photographs_may_move_and_change_and_links_may_be_renamed(album: Album) -> None:
    album.run(first_of(4))
    (album.out / album.folder_of("p00/0.jpg")).rename(album.out / "Ann")
    other = album.folder_of("p01/0.jpg")
    album.move("p00/0.jpg", other)
    # Under another name, so that only the content identifies it.
    link = album.out / album.links()["p00/1.jpg"]
    link.rename(link.with_name("Ann as a child.jpg"))
    assert album.run(first_of(4)).corrections == ("1 group renamed", "1 face moved")
    assert album.links()["p00/1.jpg"] == "Ann/Ann as a child.jpg"
    # Another program changes every photograph, and therefore its content.
    known = album.store.content_hashes
    album.store = replace(album.store, content_hashes=tuple(digest[::-1] for digest in known))
    assert (album.run(first_of(4)).new, album.folder_of("p00/0.jpg")) == (0, other)
    assert album.folders()["Ann"] == pictures(0, 4) - {"p00/0.jpg"}
    # Every photograph is in another place, with the same content.
    (album.place / "photos").rename(album.place / "old")
    for path in album.store.paths:
        (album.place / "photos/2024" / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(album.place / "old" / path, album.place / "photos/2024" / path)
    album.store = replace(album.store, paths=tuple(f"2024/{path}" for path in album.store.paths))
    assert album.run().new == PEOPLE * (PICTURES - 4)
    assert album.folders()["Ann"] >= {"p00/2.jpg", "p00/3.jpg", "p00/7.jpg"}
    assert album.folder_of("p00/0.jpg") == other


def test_links_of_photographs_that_are_gone_and_files_of_the_user_are_kept(album: Album) -> None:
    album.run(first_of(4))
    ann = album.folder_of("p00/0.jpg")
    (album.out / ann / "notes.txt").write_text("at the lake")
    (album.out / ann / "own.jpg").write_text("own")
    album.run(first_of(4)[1:])
    assert album.folder_of("p00/0.jpg") == ann
    assert (album.out / ann / "notes.txt").read_text() == "at the lake"
    assert (album.out / ann / "own.jpg").read_text() == "own"
    album.delete("own")
    assert album.run().corrections == ()


def test_a_run_that_was_killed_is_not_taken_for_a_correction(album: Album) -> None:
    album.run(first_of(2))
    (album.out / album.folder_of("p00/0.jpg")).rename(album.out / "Ann")
    album.move("p01/1.jpg", "_")
    write_store(album.place / "faces.h5", album.store)
    script = (
        "import os, signal\nfrom pathlib import Path\n"
        "from faceclr_cli.core.configs.cluster import ClusterConfig\n"
        "from faceclr_cli.core.evaluation.clustering.cluster import cluster\n"
        "from faceclr_cli.core.events import TaskAdvanced\n"
        "class Killer:\n"
        "    def report(self, event):\n"
        "        if isinstance(event, TaskAdvanced) and event.task == 'linking faces' and event.done == 7:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "options = dict(source=Path('faces.h5'), faces=Path('photos'), out=Path('groups'))\n"
        "cluster(ClusterConfig(threshold=.5, **options), Killer())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(faceclr_cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], cwd=album.place, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert album.run().corrections == ()
    assert album.folders()["Ann"] == pictures(0)
    assert album.folder_of("p01/1.jpg") != album.folder_of("p01/0.jpg")
    assert len(album.links()) == PEOPLE * PICTURES


def test_named_people_of_a_gallery_are_fixed_and_get_the_new_faces(album: Album) -> None:
    known = album.store.take([0, 1, 8, 9])
    names = ("Ann/Lee", "Ann/Lee", "Ben", "Ben")
    write_store(album.place / "people.h5", replace(known, identities=names))
    for out in (album.out, None):
        result = album.run(gallery=album.place / "people.h5", **({} if out else {"out": None, "faces": None}))
        found = {face.path: face.name for face in result.faces}
        assert {found[path] for path in pictures(0)} == {"Ann_Lee"}
        assert {found[path] for path in pictures(1)} == {"Ben"}
        assert {found[path] for path in pictures(2)} == {None}
    assert album.folders()["Ben"] == pictures(1)
    # Without the gallery, the folder knows them.
    assert album.run().corrections == ()
    assert album.folders()["Ben"] == pictures(1)


def test_a_list_of_names_overrides_looks_and_a_correction_overrides_the_list(album: Album) -> None:
    names = album.place / "names.csv"
    names.write_text("face,name\np00/0.jpg,Ann\np01/0.jpg,Ben\np01/1.jpg,Ann\ngone.jpg,Ann\n")
    album.run(gallery=names)
    assert album.folders()["Ann"] == pictures(0) | {"p01/1.jpg"}
    assert album.folders()["Ben"] == pictures(1) - {"p01/1.jpg"}
    album.move("p01/1.jpg", "Ben")
    album.run(gallery=names)
    assert album.folders()["Ben"] == pictures(1)


@pytest.mark.parametrize(("text", "error"), [
    ("p00/0.jpg\n", ":1: expected 'face,name'"),
    ("face,name\np00/0.jpg,Ann\np00/0.jpg,Ben\n", ":3: p00/0.jpg is 'Ann' above"),
    ("gone.jpg,Ann\n", "names none of the faces"),
])  # fmt: skip
def test_a_list_that_cannot_be_meant_is_refused(album: Album, text: str, error: str) -> None:
    (album.place / "names.csv").write_text(text)
    with pytest.raises(DataError, match=error):
        album.run(gallery=album.place / "names.csv")
    assert not album.out.exists()


def test_other_pictures_and_other_folders_are_refused(album: Album) -> None:
    album.run()
    shutil.copytree(album.place / "photos", album.place / "holiday")
    with pytest.raises(ConfigError, match=r"has the groups of .*photos, not of .*holiday"):
        album.run(faces=album.place / "holiday")
    memory = album.out / "memory.json"
    good = memory.read_text()
    for bad in (good.replace('"link": "0001/', '"link": "../../', 1), good[:500], good.replace('"folder"', '"f"')):
        memory.write_text(bad)
        with pytest.raises(DataError, match=r"memory\.json"):
            album.run()
    memory.write_text(good)
    with exclusive(album.out), pytest.raises(LockedError):
        album.run()
    memory.unlink()
    with pytest.raises(ConfigError, match="already exists"):
        album.run()


def test_the_memory_is_a_readable_file_with_a_line_for_each_face(album: Album) -> None:
    album.run(first_of(4))
    (album.out / album.folder_of("p00/0.jpg")).rename(album.out / "Zoë")
    album.move("p01/0.jpg", "_")
    album.run(first_of(4))
    text = (album.out / "memory.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert '"folder": "Zoë"' in text
    assert content["kind"] == "memory"
    assert any(group["folder"] == "Zoë" for group in content["groups"])
    (line,) = [line for line in text.splitlines() if '"p01/0.jpg"' in line]
    face = json.loads(line.rstrip(","))
    assert (face["link"], face["group"], len(face["apart"])) == ("_/0-2.jpg", None, 1)


def test_names_that_are_not_unicode_are_remembered(album: Album) -> None:
    paths = [path.replace("p00/0", "p00/caf\udce9") for path in album.store.paths]
    old, new = album.place / "photos/p00/0.jpg", album.place / "photos" / paths[0]
    try:
        old.rename(new)
    except (OSError, UnicodeError):
        pytest.skip("this file system stores names as Unicode")
    album.store = replace(album.store, paths=tuple(paths))
    album.run(first_of(4))
    (album.out / album.folder_of("p00/1.jpg")).rename(album.out / "Ann")
    assert album.run().corrections == ("1 group renamed",)
    assert (album.out / "Ann/caf\udce9.jpg").is_file()
    assert album.run().corrections == ()


def test_a_gallery_that_does_not_exist_is_an_error_before_anything_is_embedded(album: Album) -> None:
    with pytest.raises(DataError, match=r"--gallery .*nobody: no such file or folder"):
        album.run(gallery=album.place / "nobody")
