"""Record files, tar shards and Parquet files: files of other tools are read, and other tools read written ones."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.containers import Container, is_container, open_container
from faceclr_cli.core.sources.record_file import MAGIC, RecordFile, RecordWriter

SAMPLE = Path(__file__).parent / "samples" / "mxnet-1.9.1.rec"
"""Written by MXNet 1.9.1 in insightface's form: record 0, six pictures of three people, and a record per person."""

MAGIC_BYTES = struct.pack("<I", MAGIC)


def slow_read(path: Path) -> list[tuple[tuple[float, ...], int, bytes]]:
    """A transcription of MXNet's reader: labels, id and content of each record, in the order of the file."""
    data, place, records = path.read_bytes(), 0, []
    parts: list[bytes] = []
    while place < len(data):
        magic, word = struct.unpack_from("<II", data, place)
        assert magic == MAGIC
        kind, length = word >> 29, word & (2**29 - 1)
        parts.append(data[place + 8 : place + 8 + length])
        place += 8 + (length + 3) // 4 * 4
        if kind in (0, 3):
            record = MAGIC_BYTES.join(parts)
            parts = []
            flag, label, key, _ = struct.unpack_from("<IfQQ", record)
            labels = struct.unpack_from(f"<{flag}f", record, 24) if flag else (label,)
            records.append((labels, key, record[24 + 4 * flag :]))
    return records


def everything(container: Container) -> list[tuple[str | None, str, bytes]]:
    return [(container.identity(n), container.name(n), container.read(n)) for n in range(len(container))]


def test_what_mxnet_wrote_is_read() -> None:
    pictures = [record for record in slow_read(SAMPLE) if record[2]]
    container = open_container(SAMPLE)
    assert container.flaw is None
    assert [content for _, _, content in everything(container)] == [content for _, _, content in pictures]
    assert [container.identity(n) for n in range(6)] == [f"{int(labels[0]):07d}" for labels, _, _ in pictures]
    assert [container.name(n) for n in (0, 5)] == ["0000000/00000001.jpg", "0000002/00000006.jpg"]
    assert [container.size(n) for n in range(6)] == [len(content) for _, _, content in pictures]
    assert MAGIC_BYTES * 2 in container.read(1)  # MXNet stores this picture in parts.


def test_records_are_read_where_the_system_has_no_positional_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = everything(open_container(SAMPLE))
    monkeypatch.delattr(os, "pread")
    assert everything(open_container(SAMPLE)) == expected


def test_records_are_found_without_their_index(tmp_path: Path) -> None:
    alone = tmp_path / "alone.rec"
    alone.write_bytes(SAMPLE.read_bytes())
    found, listed = open_container(alone), open_container(SAMPLE)
    assert [found.read(n) for n in range(len(found))] == [listed.read(n) for n in range(len(listed))]
    assert [found.identity(n) for n in range(6)] == [listed.identity(n) for n in range(6)]


@pytest.mark.parametrize("seed", range(3))
def test_records_are_written_as_mxnet_reads_them(seed: int, tmp_path: Path) -> None:
    """Magic numbers inside a picture, at any place, neither end a record nor are lost."""
    rng = np.random.default_rng(seed)
    contents = []
    for _ in range(40):
        pieces = [rng.bytes(int(rng.integers(0, 9))) if rng.random() < 0.6 else MAGIC_BYTES for _ in range(8)]
        contents.append(b"".join(pieces) or b"x")
    with RecordWriter(tmp_path / "a.rec", tmp_path / "a.idx") as writer:
        for key, content in enumerate(contents):
            writer.write(key, (float(key), 0.5) if key % 3 == 0 else float(key), content)
    assert [(labels[0], key, content) for labels, key, content in slow_read(tmp_path / "a.rec")] == [
        (float(key), key, content) for key, content in enumerate(contents)
    ]
    file = RecordFile(tmp_path / "a.rec")
    assert [file.read(place) for place in range(40)] == contents
    assert file.index.labels.tolist() == list(range(40))


@pytest.mark.parametrize("order", ["{key}\t{label}\tann/{key}.jpg\n", "{key}\t{label}.000000\tdata/ann/{key}.jpg\n"])
def test_names_come_from_the_list_beside_a_record_file(order: str, tmp_path: Path) -> None:
    for suffix in (".rec", ".idx"):
        (tmp_path / f"train{suffix}").write_bytes(SAMPLE.with_suffix(suffix).read_bytes())
    (tmp_path / "train.lst").write_text("".join(order.format(key=key, label=0) for key in range(1, 7)))
    container = open_container(tmp_path / "train.rec")
    assert [container.name(n) for n in range(6)] == [f"ann/{key}.jpg" for key in range(1, 7)]
    assert {container.identity(n) for n in range(6)} == {"ann"}


@pytest.mark.parametrize(
    "names", [["a/1.jpg"] * 6, ["1.jpg"] * 6, ["../x/1.jpg", *["a/1.jpg"] * 5], ["a/../1.jpg"] * 6]
)
def test_names_that_are_no_names_of_files_are_not_used(names: list[str], tmp_path: Path) -> None:
    for suffix in (".rec", ".idx"):
        (tmp_path / f"train{suffix}").write_bytes(SAMPLE.with_suffix(suffix).read_bytes())
    (tmp_path / "train.lst").write_text("".join(f"{key}\t0\t{name}\n" for key, name in enumerate(names, start=1)))
    assert open_container(tmp_path / "train.rec").name(0) == "0000000/00000001.jpg"


def test_the_index_of_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.rec").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "train.idx").write_text("".join(f"{key}\t{4 * key + 4}\n" for key in range(10)))
    with pytest.raises(DataError, match=r"train\.idx: not the index of .*train\.rec"):
        open_container(tmp_path / "train.rec")
    (tmp_path / "train.idx").write_text("letters\n")
    with pytest.raises(DataError, match=r"train\.idx: not an index of records"):
        open_container(tmp_path / "train.rec")


@pytest.mark.parametrize("with_index", [True, False])
def test_the_readable_part_of_a_truncated_file_is_read(with_index: bool, tmp_path: Path) -> None:
    whole = SAMPLE.read_bytes()
    end = int(SAMPLE.with_suffix(".idx").read_text().splitlines()[5].split("\t")[1])
    (tmp_path / "cut.rec").write_bytes(whole[: end + 60])
    if with_index:
        (tmp_path / "cut.idx").write_bytes(SAMPLE.with_suffix(".idx").read_bytes())
    container = open_container(tmp_path / "cut.rec")
    assert container.flaw is not None and "damaged or truncated" in container.flaw
    good = open_container(SAMPLE)
    assert [container.read(n) for n in range(4)] == [good.read(n) for n in range(4)]
    if with_index:
        with pytest.raises(DataError, match=r"cut\.rec#00000005: damaged record \(the end is missing\)"):
            container.read(4)
    else:
        assert len(container) == 4


def make_shard(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))


def test_shards_have_labels_beside_their_pictures(tmp_path: Path) -> None:
    """In `.cls` or `.json` files, as numbers or names; one person may be in several shards."""
    make_shard(tmp_path / "s" / "000.tar", {"a.jpg": b"one", "a.cls": b"3", "b.png": b"two", "b.cls": b"4\n"})
    about = {"caption": "x", "identity": "Zoë"}
    make_shard(
        tmp_path / "s" / "001.tar",
        {
            "k/c.json": json.dumps(about).encode(), "k/c.jpg": b"three", "d.jpg": b"four", "d.txt": b"a caption",
            "e.cls": b"3", "e.jpg": b"five",
        },
    )  # fmt: skip
    assert is_container(tmp_path / "s")
    found = everything(open_container(tmp_path / "s"))
    assert [(who, content) for who, _, content in found] == [
        ("0000003", b"one"), ("0000004", b"two"), ("Zoë", b"three"), (None, b"four"), ("0000003", b"five"),
    ]  # fmt: skip
    assert [name for _, name, _ in found][:3] == ["0000003/00000000.jpg", "0000004/00000001.jpg", "Zoë/00000002.jpg"]


def test_folders_of_ordinary_archives_are_no_shards(tmp_path: Path) -> None:
    make_shard(tmp_path / "photos" / "holiday.tar", {"a.jpg": b"one", "b.jpg": b"two", "read.txt": b"me"})
    assert not is_container(tmp_path / "photos")
    assert not is_container(tmp_path)


def test_a_damaged_shard_is_a_flaw(tmp_path: Path) -> None:
    make_shard(tmp_path / "0.tar", {"a.jpg": b"one", "a.cls": b"1"})
    (tmp_path / "1.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    container = open_container(tmp_path)
    assert container.flaw is not None and "1.tar: compressed; shards must be plain tar files" in container.flaw
    assert [content for _, _, content in everything(container)] == [b"one"]


def write_parquet(path: Path, columns: dict[str, list[object]], metadata: dict[str, str] | None = None) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = arrow.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=2)


def test_parquet_files_of_hugging_face_are_read(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["Ann", "Bob"]}}
    pictures: list[object] = [{"bytes": b"%d" % n, "path": None} for n in range(5)]
    write_parquet(
        tmp_path / "a.parquet",
        {"label": [0, 1, 1, -1, 0], "image": pictures, "other": [1, 2, 3, 4, 5]},
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    container = open_container(tmp_path / "a.parquet")
    assert [(who, content) for who, _, content in everything(container)] == [
        ("Ann", b"0"), ("Bob", b"1"), ("Bob", b"2"), (None, b"3"), ("Ann", b"4"),
    ]  # fmt: skip
    assert container.name(4) == "Ann/00000004.jpg"
    assert container.read(0) == b"0"  # also backward


def test_parquet_files_with_bytes_and_texts_are_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"jpg": [b"x", b"y", None], "identity": ["Ann/../Lee", None, ""]})
    container = open_container(tmp_path / "a.parquet")
    assert [container.identity(n) for n in range(3)] == ["Ann_.._Lee", None, None]
    with pytest.raises(DataError, match=r"a\.parquet#00000002: no picture in this row"):
        container.read(2)


def test_parquet_files_without_pictures_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["x"], "label": [1]})
    with pytest.raises(DataError, match=r"a\.parquet: no column of pictures; its columns are text, label"):
        open_container(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + bytes(40))
    with pytest.raises(DataError, match=r"b\.parquet: "):
        open_container(tmp_path / "b.parquet")


def packed_value(picture: bytes, label: int, *, form: int = 0xC6) -> bytes:
    """Returns the output of MessagePack's reference encoder for `(picture, label)`."""
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xDA: 2, 0xDB: 4}[form]
    number = struct.pack("B", label) if label < 128 else b"\xcd" + struct.pack(">H", label)
    return bytes([0x92, form]) + len(picture).to_bytes(width, "big") + picture + number


def write_database(path: Path, values: dict[bytes, bytes], *, subdir: bool) -> None:
    lmdb = pytest.importorskip("lmdb")
    with (
        lmdb.open(str(path), subdir=subdir, map_size=2**24) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key, value)


@pytest.mark.parametrize("subdir", [False, True])
@pytest.mark.parametrize("form", [0xC4, 0xC5, 0xC6, 0xDA, 0xDB])
def test_databases_of_hsface_are_read(form: int, subdir: bool, tmp_path: Path) -> None:
    """The pictures are in the order of their numbers, not of their keys as texts."""
    pictures = {number: b"picture %d" % number for number in range(12)}
    values = {b"%d" % number: packed_value(each, 100 * number, form=form) for number, each in pictures.items()}
    values |= {b"__keys__": b"\x9c", b"__len__": b"\x0c"}
    write_database(tmp_path / "hsface.lmdb", values, subdir=subdir)
    assert is_container(tmp_path / "hsface.lmdb")
    container = open_container(tmp_path / "hsface.lmdb")
    assert everything(container) == [
        (f"{100 * number:07d}", f"{100 * number:07d}/{number:08d}.jpg", each) for number, each in pictures.items()
    ]
    assert [container.size(n) for n in range(12)] == [len(each) for each in pictures.values()]


def test_values_are_what_msgpack_writes() -> None:
    msgpack = pytest.importorskip("msgpack")
    for size, form in ((5, 0xC4), (300, 0xC5), (70_000, 0xC6)):
        for label in (0, 127, 300):
            assert msgpack.dumps((bytes(size), label)) == packed_value(bytes(size), label, form=form)


def test_databases_of_other_things_are_refused(tmp_path: Path) -> None:
    write_database(tmp_path / "a.lmdb", {b"0": b"\x92\xc4\xff", b"1": b"", b"name": b"x"}, subdir=False)
    with pytest.raises(DataError, match=r"a\.lmdb: no pictures in a known format; expected the number"):
        open_container(tmp_path / "a.lmdb")
    content = bytearray((tmp_path / "a.lmdb").read_bytes())
    (tmp_path / "b.lmdb").write_bytes(content[:100])
    with pytest.raises(DataError, match=r"b\.lmdb: "):
        open_container(tmp_path / "b.lmdb")


def test_values_that_are_cut_are_a_flaw(tmp_path: Path) -> None:
    whole = packed_value(b"a picture", 3)
    write_database(tmp_path / "a.lmdb", {b"0": whole, b"1": whole[:-3], b"2": b"\x92\xc6\xff"}, subdir=False)
    container = open_container(tmp_path / "a.lmdb")
    assert container.flaw == "2 of 3 values cannot be read" and container.read(0) == b"a picture"
