from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.crop_source import Source, list_pictures, open_source
from faceclr_cli.core.embeddings.loaded_pictures import FaceCrop, FailedPicture, LoadedPicture
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.sources.layouts import Photo, find_photos

FINGERPRINT = default_fingerprint()


@pytest.mark.parametrize("in_bursts", [False, True])
def test_no_more_is_read_ahead_than_allowed_and_the_order_is_kept(in_bursts: bool, tmp_path: Path) -> None:
    photos = []
    for number in range(40):
        path = tmp_path / f"{number:02d}.jpg"
        path.write_bytes(bytes([number]))
        photos.append(Photo(path=path, identity=None, name=path.name))
    started, lock = 0, threading.Lock()

    def cut(data: bytes, path: Path):
        nonlocal started
        with lock:
            started += 1
        time.sleep(0.002 * (data[0] % 3))
        return (FaceCrop(crop=np.full((1, 1, 3), data[0], np.uint8)),)

    source = Source(tuple(photos), cut, FINGERPRINT)
    names = []
    for taken, item in enumerate(source.load(ahead=4, in_bursts=in_bursts), start=1):
        assert isinstance(item, LoadedPicture)
        assert item.faces[0].crop[0, 0, 0] == len(names)
        names.append(item.name)
        assert started <= taken + 4 + 1
    assert names == [photo.name for photo in photos]


def test_a_reader_that_stops_early_leaves_nothing_running(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a")
    photo = Photo(path=path, identity=None, name="a.jpg")
    source = Source((photo,) * 50, lambda data, path: (FaceCrop(crop=np.zeros((1, 1, 3), np.uint8)),), FINGERPRINT)
    items = source.load(ahead=8)
    next(items)
    items.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load")]


class Ignored:
    def report(self, event: Event) -> None:
        pass


@dataclass(frozen=True)
class Heard:
    events: list[Event]

    def report(self, event: Event) -> None:
        self.events.append(event)


def test_an_archive_is_read_in_its_own_order_and_what_is_refused_is_said(tmp_path: Path) -> None:
    path = tmp_path / "photos.tar.gz"
    link = tarfile.TarInfo("link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    names = [f"{(7 * number) % 30:02d}.jpg" for number in range(30)]
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
        tar.addfile(link)
    photos = sorted(find_photos(path).photos, key=lambda photo: photo.position)
    source = Source(
        tuple(photos), lambda data, path: (FaceCrop(crop=np.full((1, 1, 3), int(data[:2]), np.uint8)),), FINGERPRINT
    )
    *items, last = source.load(ahead=20)
    assert [item.name for item in items if isinstance(item, LoadedPicture)] == names
    assert [item.faces[0].crop[0, 0, 0] for item in items if isinstance(item, LoadedPicture)] == [
        int(name[:2]) for name in names
    ]
    assert isinstance(last, FailedPicture)
    assert last.reason.endswith("photos.tar.gz: link.jpg: unsafe archive member")


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    source = Source(
        find_photos(tmp_path).photos, lambda data, path: (FaceCrop(crop=np.zeros((1, 1, 3), np.uint8)),), FINGERPRINT
    )
    (item,) = source.load(ahead=4)
    assert isinstance(item, FailedPicture)
    assert item.reason.endswith("pipe.jpg: not a regular file")


@pytest.mark.real
def test_an_archive_of_photographs_gives_the_crops_of_its_folder(tmp_path: Path, real_data: Path) -> None:
    people = sorted(path for path in (real_data / "lfw-view1" / "images").iterdir() if path.is_dir())[:6]
    for person in people:
        shutil.copytree(person, tmp_path / "lfw" / person.name)
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "lfw"))
    crops = []
    for root in (tmp_path / "lfw", archive):
        items = open_source(
            EmbedConfig(), list_pictures(EmbedConfig(), root, FINGERPRINT, Ignored()), FINGERPRINT
        ).load(ahead=4)
        crops.append({item.name: item for item in items if isinstance(item, LoadedPicture)})
    folder, packed = crops
    assert folder.keys() == packed.keys()
    assert len(folder) >= 6
    for name, item in folder.items():
        assert (packed[name].identity, packed[name].content_hash) == (item.identity, item.content_hash)
        assert np.array_equal(packed[name].faces[0].crop, item.faces[0].crop)


def test_what_is_known_is_read_but_not_decoded(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    cut = [FaceCrop(crop=np.zeros((1, 1, 3), np.uint8))]
    decoded = []

    def cutter(data: bytes, path: Path):
        decoded.append(path.name)
        return tuple(cut)

    source = Source(find_photos(tmp_path).photos, cutter, FINGERPRINT)
    hashes = {item.content_hash for item in source.load(ahead=2) if isinstance(item, LoadedPicture)}
    (tmp_path / "b.jpg").write_bytes(b"changed")
    decoded.clear()
    faces = {
        item.name: len(item.faces) for item in source.load(2, hashes.__contains__) if isinstance(item, LoadedPicture)
    }
    assert (decoded, faces) == (["b.jpg"], {"a.jpg": 0, "b.jpg": 1})


@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        ((), r"CelebA's identity_CelebA\.txt is missing"),
        (("identities.txt", "identity.txt"), r"several identity lists \(identities\.txt, identity\.txt\)"),
    ],
)
def test_only_commands_with_layout_options_need_one_identity_list(
    lists: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    (tmp_path / "img_celeba").mkdir()
    (tmp_path / "img_celeba" / "000001.jpg").touch()
    for name in lists:
        (tmp_path / name).write_text("000001.jpg Ann\n")
    reporter = Heard([])
    listing = list_pictures(EmbedConfig(), tmp_path, FINGERPRINT, reporter)
    assert [photo.identity for photo in listing.photos] == [None]
    (notice,) = (event.text for event in reporter.events if isinstance(event, Notice))
    assert re.search(f"{problem}, so the pictures have no identities$", notice)
    with pytest.raises(ConfigError, match=f"{problem}; .*use --layout"):
        list_pictures(EmbedConfig(), tmp_path, FINGERPRINT, reporter, has_layout=True)


def test_options_for_photographs_are_refused_by_the_name_that_was_typed(tmp_path: Path) -> None:
    write_json(tmp_path / DESCRIPTION, {**stamp("faces", {}), "fingerprint": FINGERPRINT.to_json()})
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / "1.jpg").touch()
    for config, typed in (
        (EmbedConfig(face="all"), "--face,"),
        (EmbedConfig(face="best", depth=1), "--face and --depth,"),
    ):
        with pytest.raises(ConfigError, match=f"contains prepared faces; omit {typed} which"):
            list_pictures(config, tmp_path, FINGERPRINT, Silent())
