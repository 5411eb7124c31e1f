from __future__ import annotations

import hashlib
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.artifacts import write_json
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, join
from faceclr_cli.core.datasets.packed_faces import PackedFaces, open_packed
from faceclr_cli.core.errors import ConfigError, FingerprintError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint

SIZE = 8
KNOWN = Fingerprint(
    detector="yunet",
    detector_digest="0" * 16,
    template="arcface",
    size=SIZE,
    interpolation="linear",
    padding="black",
)
MADE_ELSEWHERE = replace(KNOWN, detector=UNKNOWN, detector_digest=UNKNOWN, interpolation=UNKNOWN, padding=UNKNOWN)


def packed(*paths: str, seed: int = 0, fingerprint: Fingerprint = KNOWN) -> PackedFaces:
    """Crops of noise; `_/...` shows an unknown person."""
    owners = [path.split("/")[0] for path in paths]
    people = tuple(sorted(set(owners) - {"_"}))
    return PackedFaces(
        crops=np.random.default_rng(seed).integers(0, 256, (len(paths), SIZE, SIZE, 3), dtype=np.uint8),
        labels=np.array([-1 if owner == "_" else people.index(owner) for owner in owners]),
        people=people,
        paths=paths,
        fingerprint=fingerprint,
    )


FIRST = packed("_/1.jpg", "1/1.jpg", "1/2.jpg", "2/1.jpg")
SECOND = packed("1/1.jpg", "3/1.jpg", "_/1.jpg", seed=1)


@pytest.fixture
def both() -> JoinedFaces:
    return join([(Path("celeba"), FIRST), (Path("lfw"), SECOND)])


def names(faces: JoinedFaces) -> list[str | None]:
    return [None if label < 0 else faces.people[label] for label in faces.labels]


def test_one_folder_stays_as_it_is() -> None:
    faces = join([(Path("celeba"), FIRST)])
    assert (faces.people, faces.paths, faces.fingerprint) == (FIRST.people, FIRST.paths, FIRST.fingerprint)
    assert faces.labels.tolist() == FIRST.labels.tolist()
    assert faces.sources.tolist() == [0] * 4
    assert len(faces) == 4 and faces.nbytes == FIRST.crops.nbytes
    np.testing.assert_array_equal(faces.crops(np.array([2, 0, 2])), FIRST.crops[[2, 0, 2]])


def test_people_of_two_folders_are_not_taken_for_each_other(both: JoinedFaces) -> None:
    assert both.people == ("celeba/1", "celeba/2", "lfw/1", "lfw/3")
    assert names(both) == [None, "celeba/1", "celeba/1", "celeba/2", "lfw/1", "lfw/3", None]
    assert both.paths[1] == "celeba/1/1.jpg" and both.paths[4] == "lfw/1/1.jpg"
    assert both.sources.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert both.labels.dtype == both.sources.dtype == np.int64


def test_crops_are_read_from_their_folders_in_the_requested_order(both: JoinedFaces) -> None:
    everything = np.concatenate([FIRST.crops, SECOND.crops])
    for indices in ([6, 0, 5, 1, 1], [4], [0, 1], [-1]):
        crops = both.crops(np.array(indices))
        np.testing.assert_array_equal(crops, everything[indices])
        assert crops.flags.writeable and crops.dtype == np.uint8
    assert both.crops(np.array([], dtype=np.int64)).shape == (0, SIZE, SIZE, 3)
    assert both.nbytes == everything.nbytes


@pytest.mark.parametrize("index", [4, -5])
def test_a_crop_that_is_not_there_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        join([(Path("celeba"), FIRST)]).crops(np.array([0, index]))


def test_folders_of_one_name_are_told_apart_by_those_above() -> None:
    faces = join([(Path("celeba/train"), FIRST), (Path("lfw/train"), SECOND)])
    assert faces.people == ("celeba/train/1", "celeba/train/2", "lfw/train/1", "lfw/train/3")


def test_a_folder_is_named_where_its_path_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "celeba").mkdir()
    monkeypatch.chdir(tmp_path / "celeba")
    assert join([(Path(), FIRST), (Path("../lfw"), SECOND)]).people[::2] == ("celeba/1", "lfw/1")


def test_the_same_folder_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "celeba")
    with pytest.raises(ConfigError, match="link: given twice"):
        join([(tmp_path / "celeba", FIRST), (tmp_path / "link", FIRST)])


def test_folders_that_were_prepared_differently_are_named() -> None:
    other = replace(SECOND, fingerprint=replace(KNOWN, template="loose"))
    with pytest.raises(FingerprintError, match=r"faces/celeba and faces/lfw .* template is 'arcface' and 'loose'"):
        join([(Path("faces/celeba"), FIRST), (Path("faces/lfw"), other)])


def test_different_folders_are_refused_despite_a_third_unknown_one() -> None:
    unknown = replace(FIRST, fingerprint=MADE_ELSEWHERE)
    haar = replace(SECOND, fingerprint=replace(KNOWN, detector="haar"))
    with pytest.raises(FingerprintError, match=r"b and c .* detector is 'yunet' and 'haar'"):
        join([(Path("a"), unknown), (Path("b"), SECOND), (Path("c"), haar)])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_unknown_of_one_folder_is_unknown_of_all(order: tuple[int, int]) -> None:
    partly = replace(KNOWN, interpolation=UNKNOWN, padding=UNKNOWN)
    folders = [(Path("a"), FIRST), (Path("b"), replace(SECOND, fingerprint=partly))]
    assert join([folders[place] for place in order]).fingerprint == partly


def test_a_selection_contains_only_its_people(both: JoinedFaces) -> None:
    part = both.take(np.array([6, 5, 1]))
    assert part.people == ("celeba/1", "lfw/3")
    assert names(part) == [None, "lfw/3", "celeba/1"]
    assert part.paths == ("lfw/_/1.jpg", "lfw/3/1.jpg", "celeba/1/1.jpg")
    assert part.sources.tolist() == [1, 1, 0]
    assert len(part) == 3 and part.nbytes == 3 * SIZE * SIZE * 3
    np.testing.assert_array_equal(part.crops(np.arange(3)), both.crops(np.array([6, 5, 1])))
    again = part.take(np.array([2]))
    np.testing.assert_array_equal(again.crops(np.array([0])), FIRST.crops[[1]])
    assert again.people == ("celeba/1",)


def test_the_digest_tells_pictures_people_and_order_apart(both: JoinedFaces) -> None:
    one = join([(Path("celeba"), FIRST)])
    assert one.digest() == hashlib.sha256(b"_/1.jpg\n1/1.jpg\n1/2.jpg\n2/1.jpg").hexdigest()
    digests = [faces.digest() for faces in (one, both, both.take(np.arange(6)), both.take(np.arange(7)[::-1]))]
    assert len(set(digests)) == 4
    assert both.take(np.arange(7)).digest() == both.digest()


@pytest.mark.real
def test_real_crops_of_two_folders_equal_those_on_disk(real_data: Path, tmp_path: Path) -> None:
    fingerprint = replace(MADE_ELSEWHERE, size=112)
    joined: list[tuple[Path, PackedFaces]] = []
    files: list[Path] = []
    for name, source, person in (
        ("known", real_data / "faces-train" / "aaron_rodgers", "aaron_rodgers"),
        ("unknown", real_data / "faces-unlabelled", "_"),
    ):
        pictures = sorted(path for path in source.rglob("*.jpg"))[:30]
        (tmp_path / name / person).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            (tmp_path / name / person / f"{number:02d}.jpg").symlink_to(picture)
        write_json(tmp_path / name / "faceclr.json", {"kind": "faces", "fingerprint": fingerprint.to_json()})
        joined.append((tmp_path / name, open_packed(open_faces(tmp_path / name), Silent(), tmp_path / "cache")))
        files.extend(pictures)
    faces = join(joined)
    chosen = np.random.default_rng(0).permutation(len(faces))[:16]
    expected = [cv2.imread(str(files[index]))[:, :, ::-1] for index in chosen]
    np.testing.assert_array_equal(faces.crops(chosen), expected)
    assert faces.people == ("known/aaron_rodgers",)
    assert (faces.labels[faces.sources == 1] == -1).all()


@pytest.mark.parametrize("cached", [True, False])
def test_another_process_maps_the_decoded_faces_with_and_without_a_cache(cached: bool, tmp_path: Path) -> None:
    from tests.core.training.toy import make_faces

    if not cached:
        (tmp_path / "cache").touch()
    folder = make_faces(tmp_path / "faces", 3, 4)
    faces = join([(folder, open_packed(open_faces(folder), Silent(), tmp_path / "cache"))]).take(np.array([7, 2, 3]))
    message = pickle.dumps(faces)
    if cached or sys.platform == "linux":
        assert len(message) < faces.packed[0].nbytes
    received = pickle.loads(message)
    np.testing.assert_array_equal(received.crops(np.arange(3)), faces.crops(np.arange(3)))
    assert (received.paths, received.people) == (faces.paths, faces.people)
    assert received.labels.tolist() == faces.labels.tolist()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files without a name in memory")
def test_faces_that_are_kept_in_memory_are_freed_with_the_last_reference(tmp_path: Path) -> None:
    from tests.core.training.toy import make_faces

    (tmp_path / "cache").touch()
    before = set(os.listdir("/proc/self/fd"))
    crops = open_packed(open_faces(make_faces(tmp_path / "faces", 1, 2)), Silent(), tmp_path / "cache").crops
    view = crops[1:]
    del crops
    assert view.any()
    del view
    assert set(os.listdir("/proc/self/fd")) <= before
