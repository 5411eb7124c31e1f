"""Crops that are decoded in step with training: the same pixels, tolerance of damage, and little memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.datasets import face_sets, pixel_choice
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.datasets.holdout import hold_out, hold_out_pictures, remember
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, join
from faceclr_cli.core.datasets.pack import pack
from faceclr_cli.core.datasets.packed_faces import open_packed, stream
from faceclr_cli.core.datasets.pixel_choice import open_pixels
from faceclr_cli.core.datasets.streamed_crops import decode_crops
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops
from faceclr_cli.core.sources import container_index, record_file, tar_shards
from faceclr_cli.core.sources.containers import is_container, open_container
from faceclr_cli.core.sources.record_file import RecordWriter
from tests.core.training.toy import Heard, make_faces

PEOPLE, PICTURES = 6, 5
FORMS = ["folder", "faces.rec", "shards/faces-%06d.tar", "faces.parquet", "tables"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("set") / "faces", PEOPLE, PICTURES)


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the alignment takes a second, and `test_pack.py` tests it."""
    monkeypatch.setattr(face_sets, "require_arcface", lambda *_: None)


@pytest.fixture(params=FORMS)
def source(faces: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same faces in a folder or a container."""
    if request.param == "folder":
        return faces
    if request.param in ("faces.parquet", "tables"):
        pytest.importorskip("pyarrow")
    out = tmp_path / request.param.replace("tables", "whole.parquet")
    pack(PackConfig(faces=faces, out=out), Silent())
    if request.param == "tables":
        write_tables(out, tmp_path / "tables", files=3, rows=4)
        return tmp_path / "tables"
    return out.parent if request.param.endswith("tar") else out


@pytest.fixture
def kept_indexes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that also keeps indexes of small containers."""
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(container_index, "FEWEST", 1)
    return tmp_path / "cache"


def streamed(path: Path) -> JoinedFaces:
    return join([(path, stream(open_face_set(path)))])


def cached(path: Path, cache: Path) -> JoinedFaces:
    return join([(path, open_packed(open_face_set(path), Silent(), cache))])


def test_streamed_crops_are_the_cached_ones(source: Path, tmp_path: Path) -> None:
    one, other = streamed(source), cached(source, tmp_path / "cache")
    rng = np.random.default_rng(0)
    for indices in (np.arange(30), rng.permutation(30)[:7], rng.integers(0, 30, 200)):
        np.testing.assert_array_equal(one.crops(indices), other.crops(indices))
    assert list(one.paths) == list(other.paths) and one.people == other.people and one.digest() == other.digest()
    np.testing.assert_array_equal(one.labels, other.labels)


def test_a_selection_sent_to_another_process_is_the_same(source: Path) -> None:
    chosen = np.array([28, 3, 11, 4])
    part = streamed(source).take(chosen)
    there = pickle.loads(pickle.dumps(part))
    assert list(there.paths) == [streamed(source).paths[index] for index in chosen] and there.people == part.people
    np.testing.assert_array_equal(there.crops(np.arange(4)), streamed(source).crops(chosen))
    assert there.digest() == part.digest() != streamed(source).take(chosen[::-1]).digest()


def damage(path: Path, *keys: int) -> None:
    """Overwrites the pictures of records, whose headers stay whole."""
    file = record_file.RecordFile(path)
    with open(path, "r+b") as content:
        for place in np.flatnonzero(np.isin(file.index.keys, keys)):
            content.seek(int(file.index.offsets[place]) + 32)
            content.write(b"\0" * 200)
    file.close()


@pytest.fixture
def record(faces: Path, tmp_path: Path) -> Path:
    pack(PackConfig(faces=faces, out=tmp_path / "a.rec"), Silent())
    return tmp_path / "a.rec"


def test_a_damaged_record_is_replaced_by_the_next_one_of_the_person(record: Path) -> None:
    sound = streamed(record).crops(np.arange(30))
    damage(record, 5)  # the last picture of the first person
    found = streamed(record)
    crops = found.crops(np.arange(30))
    np.testing.assert_array_equal(crops[4], sound[0])
    np.testing.assert_array_equal(np.delete(crops, 4, axis=0), np.delete(sound, 4, axis=0))
    ((row, reason),) = found.streamed[0].damaged.items()
    assert row == 4 and reason.startswith(str(record) + "#00000005: not a picture")


def test_a_damaged_record_is_left_out_of_the_cache(record: Path, tmp_path: Path) -> None:
    damage(record, 5)
    for _ in range(2):  # decoded, and from the cache
        packed = open_packed(open_face_set(record), Silent(), tmp_path / "cache")
        ((place, reason),) = packed.damaged
        assert place == 4 and "not a picture" in reason
        joined = join([(record, packed)])
        assert len(joined) == 29 and "person_000/4.png" not in list(joined.paths)
        assert (joined.crops(np.arange(29)).reshape(29, -1).max(axis=1) > 0).all()


def test_too_many_damaged_records_end_the_run(record: Path, tmp_path: Path) -> None:
    damage(record, 5, 9, 14)
    with pytest.raises(DataError, match=r"a\.rec: 2 of 30 faces are damaged, more than 5%; the last one: .*#000000"):
        streamed(record).crops(np.arange(30))
    with pytest.raises(DataError, match=r"a\.rec: 2 of 30 faces are damaged, more than 5%"):
        cached(record, tmp_path / "cache")


def test_a_container_that_changes_while_it_is_read_is_noticed(record: Path) -> None:
    """The decoding processes, which open it again, notice the change."""
    ((_, request),) = streamed(record).requests(np.arange(30))
    assert not decode_crops(request).failures
    with open(record, "ab") as file:
        file.write(bytes(8))
    other = replace(request, stamp="that of the file as it was before")
    assert all("was changed after it was opened" in reason for _, reason in decode_crops(other).failures)


Disk = namedtuple("Disk", "free")


@pytest.mark.parametrize(("free", "chosen"), [(4 * 30 * 32 * 32 * 3, "are cached"), (30 * 32 * 32 * 3, "in step")])
def test_the_free_disk_space_decides_and_is_named(
    free: int, chosen: str, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(free))
    heard = Heard()
    open_pixels(open_face_set(record), "auto", heard)
    assert chosen in heard.events[0].text and "quarter of the" in heard.events[0].text
    open_pixels(open_face_set(record), "cached", Silent())
    heard = Heard()  # What is decoded already is used.
    open_pixels(open_face_set(record), "auto", heard)
    assert "are cached (by an earlier run)" in heard.events[0].text
    assert pixel_choice.open_pixels(open_face_set(record), "streamed", heard).crops.shape == (30, 32, 32, 3)


def test_parquet_files_with_large_groups_of_rows_are_not_streamed(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    pack(PackConfig(faces=faces, out=tmp_path / "a.parquet"), Silent())
    assert open_pixels(open_face_set(tmp_path / "a.parquet"), "streamed", Silent()).crops.shape == (30, 32, 32, 3)
    monkeypatch.setattr(pixel_choice, "_MOST_TOGETHER", 30_000)
    with pytest.raises(ConfigError, match=r"groups of rows have up to 0 MB.*faceclr pack .*a\.parquet -o a\.rec"):
        open_pixels(open_face_set(tmp_path / "a.parquet"), "streamed", Silent())


def test_a_folder_of_parquet_files_is_one_container(faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pack(PackConfig(faces=faces, out=tmp_path / "whole.parquet"), Silent())
    whole = open_container(tmp_path / "whole.parquet")
    write_tables(tmp_path / "whole.parquet", tmp_path / "tables", files=3, rows=4)
    for path in (tmp_path / "tables", tmp_path / "tables" / "train-*.parquet"):
        container = open_container(path)
        assert [container.read(n) for n in range(30)] == [whole.read(n) for n in range(30)]
        assert container.people == whole.people and container.labels.tolist() == whole.labels.tolist()
        assert list(container.names) == list(whole.names)


def test_a_folder_without_pictures_in_its_parquet_files_is_none(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "a.parquet")
    assert not is_container(tmp_path)


def write_tables(whole: Path, folder: Path, files: int, rows: int) -> None:
    """Divides a Parquet file into several, with small groups of rows."""
    import pyarrow.parquet as parquet

    folder.mkdir()
    table = parquet.read_table(whole)
    size = -(-len(table) // files)
    for number in range(files):
        part = table.slice(number * size, size)
        parquet.write_table(part, folder / f"train-{number:05d}-of-{files:05d}.parquet", row_group_size=rows)


def everything(path: Path) -> tuple[object, ...]:
    container = open_container(path)
    return (
        [(container.name(n), container.identity(n), container.read(n)) for n in range(len(container))],
        list(container.names),
        container.labels.tolist(),
        container.people,
    )


@pytest.mark.parametrize("form", FORMS[1:3])
def test_a_container_is_indexed_once(
    form: str, faces: Path, kept_indexes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / form
    pack(PackConfig(faces=faces, out=out), Silent())
    path = out.parent if form.endswith("tar") else out
    first = everything(path)
    with monkeypatch.context() as patch:
        for module, name in ((record_file.RecordFile, "_read_headers"), (tar_shards.TarShards, "scan")):
            patch.setattr(module, name, lambda *_: pytest.fail("indexed again"))
        assert everything(path) == first
    for index in kept_indexes.glob("*.index"):
        index.write_bytes(index.read_bytes()[:100])
    assert everything(path) == first  # A damaged index is made again.


def test_another_container_at_the_same_path_has_another_index(faces: Path, kept_indexes: Path, record: Path) -> None:
    before = everything(record)
    for suffix in (".rec", ".idx", ".lst"):
        record.with_suffix(suffix).unlink()
    picture = cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    with RecordWriter(record, record.with_suffix(".idx")) as writer:
        writer.write(0, 3.0, picture)
    assert everything(record) != before and open_container(record).people == ("0000003",)


@pytest.mark.parametrize("function", [hold_out, hold_out_pictures])
def test_held_out_faces_of_containers_are_remembered(
    function: object, record: Path, kept_indexes: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceclr_cli.core.datasets.holdout._MIN_HELD_OUT", 2)
    plain = function(cached(faces, kept_indexes), 0.2, 1)
    assert len(plain[1])
    for again in (function, lambda *_: pytest.fail("computed again")):
        again.__name__ = function.__name__
        kept, held = remember(again, streamed(record), 0.2, 1)
        assert (kept.tolist(), held.tolist()) == (plain[0].tolist(), plain[1].tolist())


def make_shards(folder: Path, count: int) -> None:
    folder.mkdir()
    for shard in range(count):
        with tarfile.open(folder / f"s-{shard:03d}.tar", "w") as file:
            for name, content in (("a.jpg", b"%d" % shard), ("a.cls", b"%d" % shard)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("s-*.tar", "0 1 2 3"), ("s-00[12].tar", "1 2"), ("s-{001..003}.tar", "1 2 3"), ("s-??3.tar", "3")],
)
def test_a_pattern_names_shards(pattern: str, found: str, tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", 4)
    container = open_container(tmp_path / "shards" / pattern)
    assert [container.read(n).decode() for n in range(len(container))] == found.split()


def test_patterns_without_shards_are_no_containers(tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", 2)
    for pattern in ("t-*.tar", "s-*.zip", "s-{000..009}.tar", "s-{5..2}.tar"):
        assert not is_container(tmp_path / "shards" / pattern)


_MEASURE = """
import sys, gc
from pathlib import Path
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.datasets.joined_faces import join
from faceclr_cli.core.datasets.packed_faces import stream
from faceclr_cli.core.datasets.samplers import shuffled_batches

def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def use(path):
    faces = join([(path, stream(open_face_set(path)))])
    batches = shuffled_batches(len(faces), 64, seed=0, epoch=0)
    requests = [request for batch in batches[:8] for request in faces.requests(batch)]
    return faces, batches, len(requests)

small = use(Path(sys.argv[1]))
before = resident()
large = use(Path(sys.argv[2]))
print((resident() - before) / len(large[0]))
large[0].crops(large[1][0])  # Worker processes do this.
"""


def write_many(path: Path, count: int, picture: bytes) -> None:
    """Writes one picture many times, 50 for each person."""
    if path.suffix == ".rec":
        with RecordWriter(path, path.with_suffix(".idx")) as writer:
            for key in range(count):
                writer.write(key, float(key // 50), picture)
    elif path.suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pictures = pyarrow.array([{"bytes": picture, "path": None}] * 100)
        schema = pyarrow.schema({"image": pictures.type, "label": pyarrow.int64()})
        with parquet.ParquetWriter(path, schema, write_statistics=False) as writer:
            for first in range(0, count, 100):
                labels = [key // 50 for key in range(first, first + 100)]
                writer.write_table(pyarrow.table({"image": pictures, "label": labels}))
    else:
        path.mkdir()
        for key in range(count):
            person = path / f"person-{key // 50:06d}"
            person.mkdir(exist_ok=True)
            if key % 30_000 == 0:  # File systems limit the links of a file.
                original = path.parent / f"{path.name}-{key}.jpg"
                original.write_bytes(picture)
            os.link(original, person / f"{key:08d}.jpg")
        for person in path.iterdir():
            os.utime(person, (0, 0))
        fingerprint = fingerprint_for_foreign_crops("arcface", 32).to_json()
        (path / "faceclr.json").write_text(json.dumps({"kind": "faces", "fingerprint": fingerprint}))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "suffix", [".rec", *(pytest.param(each, marks=pytest.mark.nightly) for each in ("", ".parquet"))]
)
def test_memory_grows_by_at_most_64_bytes_a_face(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of an open container or folder with the batches of an epoch, after the first index."""
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    picture = cv2.imencode(".jpg", np.full((32, 32, 3), 90, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 10])[1].tobytes()
    for name, count in (("small", 5000), ("large", 150_000)):
        write_many(tmp_path / f"{name}{suffix}", count, picture)
        open_face_set(tmp_path / f"{name}{suffix}")
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path / f"small{suffix}"), str(tmp_path / f"large{suffix}")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 8 < float(done.stdout) <= 64
