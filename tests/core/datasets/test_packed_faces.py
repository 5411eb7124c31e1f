from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import platformdirs
import pytest

from faceclr_cli.core.artifacts import write_json
from faceclr_cli.core.datasets import packed_faces as packed
from faceclr_cli.core.datasets.packed_faces import PackedFaces, open_packed
from faceclr_cli.core.errors import DataError, UnreadableImageError
from faceclr_cli.core.events import Event, Notice, Silent, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.face_folder import FaceFolder, open_faces
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint

SIZE = 24


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


def write_crop(path: Path, seed: int, size: int = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    crop = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    cv2.imwrite(str(path), crop)


def make_faces(root: Path, names: tuple[str, ...] = ("ann/1.png", "ann/2.jpg", "bob/1.png", "_/1.png")) -> FaceFolder:
    for seed, name in enumerate(names):
        write_crop(root / name, seed)
    fingerprint = Fingerprint(
        detector="none", detector_digest="0" * 16, template="none", size=SIZE, interpolation="none", padding="none"
    )
    write_json(root / "faceclr.json", {"kind": "faces", "fingerprint": fingerprint.to_json()})
    return open_faces(root)


@pytest.fixture
def faces(tmp_path: Path) -> FaceFolder:
    return make_faces(tmp_path / "faces")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def assert_holds(result: PackedFaces, folder: FaceFolder) -> None:
    expected = [cv2.imread(str(folder.root / path))[:, :, ::-1] for path in folder.paths]
    np.testing.assert_array_equal(result.crops, expected)
    assert result.paths == folder.paths


def decodes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded from here on."""
    seen: list[Path] = []
    original = packed._read

    def read(path: Path, size: int) -> np.ndarray:
        seen.append(path)
        return original(path, size)

    monkeypatch.setattr(packed, "_read", read)
    return seen


def test_crops_are_rgb_with_labels_and_paths_in_order(faces: FaceFolder, cache: Path) -> None:
    result = open_packed(faces, Silent(), cache)
    assert result.paths == ("_/1.png", "ann/1.png", "ann/2.jpg", "bob/1.png")
    assert result.people == ("ann", "bob")
    assert result.labels.tolist() == [-1, 0, 0, 1]
    assert result.labels.dtype == np.int64
    assert len(result) == 4
    assert_holds(result, faces)
    assert isinstance(result.crops.base, np.memmap)
    assert not result.crops.flags.writeable


def test_many_crops_are_in_order_and_are_counted(tmp_path: Path, cache: Path) -> None:
    count = 2 * packed._BLOCK + 3
    folder = make_faces(tmp_path / "faces", tuple(f"_/{number:03d}.png" for number in range(count)))
    listener = Listener()
    assert_holds(open_packed(folder, listener, cache), folder)
    assert isinstance(listener.events[0], TaskStarted) and listener.events[0].total == count
    advances = [event.done for event in listener.events if isinstance(event, TaskAdvanced)]
    assert advances == sorted(advances) and advances[-1] == count
    assert isinstance(listener.events[-1], TaskFinished)


@pytest.mark.real
def test_real_crops_are_packed_as_opencv_reads_them(real_data: Path, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "faces").mkdir()
    for person in ("aaron_hernandez", "aaron_rodgers"):
        (tmp_path / "faces" / person).symlink_to(real_data / "faces-train" / person)
    fingerprint = Fingerprint(
        detector=UNKNOWN,
        detector_digest=UNKNOWN,
        template="arcface",
        size=112,
        interpolation=UNKNOWN,
        padding=UNKNOWN,
    )
    write_json(tmp_path / "faces" / "faceclr.json", {"kind": "faces", "fingerprint": fingerprint.to_json()})
    folder = open_faces(tmp_path / "faces")
    result = open_packed(folder, Silent(), cache)
    assert result.people == ("aaron_hernandez", "aaron_rodgers") and len(result) > 20
    assert_holds(result, folder)


def test_a_second_call_decodes_nothing(faces: FaceFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_packed(faces, Silent(), cache)
    seen = decodes(monkeypatch)
    listener = Listener()
    assert_holds(open_packed(faces, listener, cache), faces)
    assert seen == [] and listener.events == []


def test_a_changed_added_or_removed_crop_is_noticed(faces: FaceFolder, cache: Path) -> None:
    open_packed(faces, Silent(), cache)
    write_crop(faces.root / "ann/1.png", 99)
    changed = open_faces(faces.root)
    assert_holds(open_packed(changed, Silent(), cache), changed)
    write_crop(faces.root / "cyd/1.png", 100)
    added = open_faces(faces.root)
    assert_holds(open_packed(added, Silent(), cache), added)
    (faces.root / "bob/1.png").unlink()
    removed = open_faces(faces.root)
    assert_holds(open_packed(removed, Silent(), cache), removed)
    assert len(list(cache.iterdir())) == 1, "what was superseded stays in the cache"


def test_a_file_changed_within_the_same_size_is_noticed(faces: FaceFolder, cache: Path) -> None:
    path = faces.root / "bob/1.png"
    before = packed._key(faces)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert packed._key(faces) != before


def test_another_fingerprint_is_another_entry(faces: FaceFolder) -> None:
    before = packed._key(faces)
    write_json(
        faces.root / "faceclr.json",
        {"kind": "faces", "fingerprint": faces.fingerprint.to_json() | {"template": "other"}},
    )
    assert packed._key(open_faces(faces.root)) != before


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
def test_a_damaged_crop_is_named_and_leaves_nothing(faces: FaceFolder, cache: Path, damage: str) -> None:
    path = faces.root / "ann/2.jpg"
    content = {"empty": b"", "text": b"not a picture", "truncated": path.read_bytes()[:-300]}[damage]
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"ann/2\.jpg"):
        open_packed(open_faces(faces.root), Silent(), cache)
    assert list(cache.iterdir()) == []


def test_a_crop_that_vanished_is_named(faces: FaceFolder, cache: Path) -> None:
    (faces.root / "ann/2.jpg").unlink()
    with pytest.raises(UnreadableImageError, match=r"ann/2\.jpg: No such file"):
        open_packed(faces, Silent(), cache)


def test_a_crop_of_another_size_is_named(faces: FaceFolder, cache: Path) -> None:
    write_crop(faces.root / "bob/1.png", 5, size=SIZE + 1)
    with pytest.raises(DataError, match=r"bob/1\.png: is 25x25, but .* 24x24"):
        open_packed(faces, Silent(), cache)


def test_an_unwritable_cache_is_not_fatal(faces: FaceFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    listener = Listener()
    result = open_packed(faces, listener, tmp_path / "file" / "cache")
    assert_holds(result, faces)
    assert not result.crops.flags.writeable
    assert len(listener.notices) == 1 and "kept in memory" in listener.notices[0]


def test_a_full_disk_is_not_fatal(faces: FaceFolder, cache: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    listener = Listener()
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        result = open_packed(faces, listener, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_holds(result, faces)
    assert len(listener.notices) == 1
    assert list(cache.iterdir()) == []


def test_a_user_without_a_home_gets_no_folder_named_tilde(
    faces: FaceFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACECLR_CACHE", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: Path("~/.cache/faceclr"))
    listener = Listener()
    assert_holds(open_packed(faces, listener), faces)
    assert "FACECLR_CACHE" in listener.notices[0]
    assert not (tmp_path / "~").exists()


def test_the_environment_names_the_cache(faces: FaceFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACECLR_CACHE", str(cache))
    open_packed(faces, Silent())
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"junk", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_damaged_cache_is_rebuilt(faces: FaceFolder, cache: Path, content: bytes) -> None:
    open_packed(faces, Silent(), cache)
    (entry,) = cache.iterdir()
    entry.write_bytes(content)
    assert_holds(open_packed(faces, Silent(), cache), faces)


def test_a_truncated_cache_is_rebuilt(faces: FaceFolder, cache: Path) -> None:
    open_packed(faces, Silent(), cache)
    (entry,) = cache.iterdir()
    entry.write_bytes(entry.read_bytes()[:-100])
    assert_holds(open_packed(faces, Silent(), cache), faces)


def test_the_cache_keeps_what_was_used_last(tmp_path: Path, cache: Path) -> None:
    folders = [make_faces(tmp_path / f"faces{i}", ("ann/1.png",)) for i in range(packed._MAX_FILES + 2)]
    for age, folder in enumerate(folders[:-1]):
        open_packed(folder, Silent(), cache)
        newest = max(cache.iterdir(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (time.time() - 1000 + age,) * 2)
    open_packed(folders[1], Silent(), cache)  # The oldest that is left is used once more.
    leftover = cache / ".123.0-0.npy"
    leftover.write_bytes(b"of a killed run")
    os.utime(leftover, (0, 0))
    open_packed(folders[-1], Silent(), cache)
    assert len(list(cache.iterdir())) == packed._MAX_FILES
    assert packed._key(folders[1]) in {entry.stem.split("-")[1] for entry in cache.iterdir()}
    assert not leftover.exists()


def test_two_processes_may_pack_at_once(faces: FaceFolder, cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from faceclr_cli.core.faces.face_folder import open_faces;"
        "from faceclr_cli.core.datasets.packed_faces import open_packed; from faceclr_cli.core.events import Silent;"
        "print(int(open_packed(open_faces(Path(sys.argv[1])), Silent(), Path(sys.argv[2])).crops.sum()))"
    )
    command = [sys.executable, "-c", code, str(faces.root), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {int(process.communicate()[0]) for process in running}
    assert sums == {int(open_packed(faces, Silent(), cache).crops.sum())}
    assert len(list(cache.iterdir())) == 1
