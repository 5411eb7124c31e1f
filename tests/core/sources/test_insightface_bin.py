"""All formats of pictures and labels in real `.bin` files are read, and pickle reads written files."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.insightface_bin import InsightfaceBin, write_bin

PICTURES = [bytes([0xFF, 0xD8, number, *range(256)]) * (1 + 40 * (number % 2)) for number in range(6)]
SAME = [True, False, True]


def read(path: Path) -> tuple[list[bytes], list[bool]]:
    with InsightfaceBin(path) as file:
        return [file.picture(number) for number in range(len(file))], file.same.tolist()


def python_2(pictures: list[bytes], same: list[bool]) -> bytes:
    """Returns the output of Python 2.7 for `pickle.dump((bins, issame_list), f, protocol=2)`; strings are bytes."""
    memo = iter(range(10**6))

    def put() -> bytes:
        place = next(memo)
        return b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place)

    def string(data: bytes) -> bytes:
        return (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data + put()

    out = b"\x80\x02]" + put() + b"("
    out += b"".join(map(string, pictures)) + b"e]" + put() + b"("
    return out + b"".join(b"\x88" if label else b"\x89" for label in same) + b"e\x86" + put() + b"."


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "picture",
    [bytes, lambda data: np.frombuffer(data, np.uint8).copy(), lambda data: np.frombuffer(data, np.uint8)[:, None]],
    ids=["bytes", "array", "column"],
)
@pytest.mark.parametrize(
    "labels", [list, lambda same: list(np.array(same)), np.array], ids=["bools", "numpy bools", "array"]
)
def test_every_form_is_read(tmp_path: Path, protocol: int, picture, labels) -> None:
    """With bytes and protocol 2, pickle writes calls of `_codecs.encode`."""
    content = ([picture(data) for data in PICTURES], labels(SAME))
    (tmp_path / "set.bin").write_bytes(pickle.dumps(content, protocol))
    assert read(tmp_path / "set.bin") == (PICTURES, SAME)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_names_of_older_numpy_are_known(tmp_path: Path, protocol: int) -> None:
    content = ([np.frombuffer(data, np.uint8).copy() for data in PICTURES], list(np.array(SAME)))
    written = pickle.dumps(content, protocol)
    # Frames and short strings begin with their length.
    old = written.replace(b"numpy._core", b"numpy.core")
    if protocol >= 4:
        old = old.replace(b"\x8c\x16numpy.core.multiarray", b"\x8c\x15numpy.core.multiarray")
        old = old.replace(b"\x8c\x13numpy.core.numeric", b"\x8c\x12numpy.core.numeric")
        (frame,) = struct.unpack("<Q", old[3:11])
        old = old[:3] + struct.pack("<Q", frame - (len(written) - len(old))) + old[11:]
    assert old != written
    pickletools.dis(old, out=io.StringIO())  # It is still a pickle.
    (tmp_path / "set.bin").write_bytes(old)
    assert read(tmp_path / "set.bin") == (PICTURES, SAME)


def test_strings_of_python_2_are_read(tmp_path: Path) -> None:
    data = python_2(PICTURES, SAME)
    assert pickle.loads(data, encoding="bytes") == (PICTURES, SAME)
    (tmp_path / "lfw.bin").write_bytes(data)
    assert read(tmp_path / "lfw.bin") == (PICTURES, SAME)


def test_arrays_of_python_2_are_read(tmp_path: Path) -> None:
    """Their type names, their state and their content are byte strings."""
    shape, data = len(PICTURES[0]), PICTURES[0]
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01\x8a\x02"
        + struct.pack("<H", shape)
        + b"\x85cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T"
        + struct.pack("<i", shape)
        + data
        + b"tb"
    )
    written = b"\x80\x02](" + array + array + b"e](\x88e\x86."
    found = pickle.loads(written, encoding="bytes")
    assert [bytes(picture) for picture in found[0]] == [data, data]
    (tmp_path / "set.bin").write_bytes(written)
    assert read(tmp_path / "set.bin") == ([data, data], [True])


def test_pickle_reads_what_is_written(tmp_path: Path) -> None:
    pairs = zip(PICTURES[::2], PICTURES[1::2], SAME, strict=True)
    write_bin(tmp_path / "mine.bin", pairs)
    assert pickle.loads((tmp_path / "mine.bin").read_bytes()) == (PICTURES, SAME)
    assert read(tmp_path / "mine.bin") == (PICTURES, SAME)


def test_a_file_that_shrinks_is_reported(tmp_path: Path) -> None:
    write_bin(tmp_path / "mine.bin", [(b"one", b"other" * 10**5, True)])
    with InsightfaceBin(tmp_path / "mine.bin") as file:
        (tmp_path / "mine.bin").write_bytes((tmp_path / "mine.bin").read_bytes()[:1000])
        with pytest.raises(DataError, match="the end is missing"):
            file.picture(1)
