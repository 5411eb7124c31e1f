from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.sources import archive as module
from faceclr_cli.core.sources import tars
from faceclr_cli.core.sources.archive import Archive, is_archive

TARS = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, *entries: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return path


def entry(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(data)
    return info, data


def refused(path: Path) -> dict[str, Reason | None]:
    with Archive(path) as archive:
        return {member.name: member.refused for member in archive.members()}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """Writes an archive in the format of its suffix."""
    kind = path.name.partition(".")[2]
    if kind == "zip":
        return make_zip(path, files)
    return make_tar(path, *(entry(name, data) for name, data in files.items()), mode=TARS[kind])


@pytest.mark.parametrize("kind", ["zip", *TARS])
def test_every_kind_gives_its_files_in_their_order(tmp_path: Path, kind: str) -> None:
    files = {"b/2.jpg": b"two", "a/1.jpg": os.urandom(100_000), "./c/3.jpg": b"", "notes.txt": b"x"}
    path = pack(tmp_path / f"photos.{kind}", files)
    assert is_archive(path)
    with Archive(path) as archive:
        members = archive.members()
        assert [member.name for member in members] == ["b/2.jpg", "a/1.jpg", "c/3.jpg", "notes.txt"]
        assert [member.size for member in members] == [3, 100_000, 0, 1]
        assert [member.position for member in members] == sorted(member.position for member in members)
        assert archive.read("notes.txt") == b"x"
        assert archive.read("a/1.jpg") == files["a/1.jpg"]  # backward
        assert archive.read("c/3.jpg") == b""
        assert archive.flaw is None
        with pytest.raises(DataError, match="no such file in this archive"):
            archive.read("d/4.jpg")


def test_what_counts_as_an_archive_is_in_its_bytes_first(tmp_path: Path) -> None:
    unnamed = make_zip(tmp_path / "photos", {"a.jpg": b"a"})
    assert is_archive(unnamed)
    assert is_archive(make_tar(tmp_path / "other", entry("a.jpg", b"a")))
    misnamed = tmp_path / "photos.tar"
    misnamed.write_bytes(unnamed.read_bytes())
    with Archive(misnamed) as archive:
        assert archive.read("a.jpg") == b"a"
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "nowhere.zip")
    os.mkfifo(tmp_path / "pipe.zip")
    assert not is_archive(tmp_path / "pipe.zip")


def test_a_picture_with_a_zip_behind_it_is_a_picture(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(600) + b"\xff\xd9"
    behind = make_zip(tmp_path / "behind.zip", {"a.jpg": b"a"}).read_bytes()
    for name in ("photo.jpg", "photo.zip"):
        (tmp_path / name).write_bytes(jpeg + behind)
        assert not is_archive(tmp_path / name)


def test_names_that_lead_out_are_refused(tmp_path: Path) -> None:
    names = ["../evil.jpg", "/abs.jpg", "a/../../evil.jpg", "a/../b.jpg", "x" * 256 + ".jpg", "good.jpg"]
    expected = dict.fromkeys(names, Reason.UNSAFE) | {"good.jpg": None}
    files = dict.fromkeys(names, b"x")
    assert refused(pack(tmp_path / "a.tar", files)) == expected
    assert refused(pack(tmp_path / "a.zip", files | {"..\\up.jpg": b"x"})) == expected | {"../up.jpg": Reason.UNSAFE}
    with Archive(tmp_path / "a.zip") as archive, pytest.raises(DataError, match=r"evil\.jpg: unsafe archive member"):
        archive.read("../evil.jpg")


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    path = make_tar(
        tmp_path / "a.tar",
        entry("a.jpg", b"a"),
        entry("soft.jpg", kind=tarfile.SYMTYPE, target="/etc/passwd"),
        entry("hard.jpg", kind=tarfile.LNKTYPE, target="a.jpg"),
        entry("disk.jpg", kind=tarfile.BLKTYPE),
        entry("tty.jpg", kind=tarfile.CHRTYPE),
        entry("pipe.jpg", kind=tarfile.FIFOTYPE),
        entry("folder.jpg", kind=tarfile.DIRTYPE),
    )
    unsafe = ("soft.jpg", "hard.jpg", "disk.jpg", "tty.jpg", "pipe.jpg")
    assert refused(path) == {"a.jpg": None} | dict.fromkeys(unsafe, Reason.UNSAFE)
    link = zipfile.ZipInfo("soft.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder.jpg/", "")
    assert refused(tmp_path / "a.zip") == {"soft.jpg": Reason.UNSAFE}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_last_of_several_equal_names_counts(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", entry("a.jpg", b"first"), entry("b.jpg", b"b"), entry("./a.jpg", b"last"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in (("a.jpg", b"first"), ("b.jpg", b"b"), ("a.jpg", b"last")):
            archive.writestr(name, data)
    for path in (tmp_path / "a.tar", tmp_path / "a.zip"):
        with Archive(path) as archive:
            assert [member.name for member in archive.members()] == ["b.jpg", "a.jpg"]
            assert archive.read("a.jpg") == b"last"


def test_encrypted_members_are_named_but_not_read(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"aaaa"})
    data = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1
    path.write_bytes(data)
    assert refused(path) == {"a.jpg": Reason.UNREADABLE}
    with Archive(path) as archive, pytest.raises(DataError, match=r"a\.jpg: file cannot be read"):
        archive.read("a.jpg")


def test_a_wrong_checksum_costs_one_member(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"secret", "b.jpg": b"fine"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"secret", b"sacred"))
    with Archive(path) as archive:
        with pytest.raises(DataError, match=r"a\.zip: a\.jpg: cannot be read \(Bad CRC-32"):
            archive.read("a.jpg")
        assert archive.read("b.jpg") == b"fine"


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz"])
def test_the_intact_part_of_a_truncated_tar_can_be_read(tmp_path: Path, kind: str) -> None:
    files = {f"{number}.jpg": os.urandom(50_000) for number in range(5)}
    path = pack(tmp_path / f"a.{kind}", files)
    path.write_bytes(path.read_bytes()[:130_000])
    with Archive(path) as archive:
        assert archive.flaw is not None
        assert "truncated" in archive.flaw
        names = [member.name for member in archive.members()]
        assert names[:2] == ["0.jpg", "1.jpg"]
        assert archive.read("1.jpg") == files["1.jpg"]
        with pytest.raises(DataError, match=r"2\.jpg: cannot be read"):
            archive.read("2.jpg")
        assert archive.read("0.jpg") == files["0.jpg"]


def test_a_damaged_header_in_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", entry("a.jpg", b"a"), entry("b.jpg", b"b"), entry("c.jpg", b"c"))
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 0xFF
    path.write_bytes(data)
    with Archive(path) as archive:
        assert [member.name for member in archive.members()] == ["a.jpg"]
        assert archive.flaw is not None
        assert "\n" not in archive.flaw


def test_a_negative_size_does_not_cause_an_endless_loop(tmp_path: Path) -> None:
    good, odd = tarfile.TarInfo("a.jpg"), tarfile.TarInfo("b.jpg")
    header = bytearray(odd.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 4 + struct.pack(">q", -1024)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(good.tobuf() + bytes(header) + bytes(1024))
    with Archive(tmp_path / "a.tar") as archive:
        assert archive.flaw is not None
        assert [member.name for member in archive.members()] == ["a.jpg"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
@pytest.mark.parametrize("content", [b"", b"hello\nworld" * 100, b"\x1f\x8b" + bytes(100), b"PK\x03\x04" + bytes(99)])
def test_a_damaged_or_foreign_archive_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_archive(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: not a zip or tar archive, or damaged") as caught:
        Archive(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_reads_are_limited_to_the_maximum_picture_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (module, tars):
        monkeypatch.setattr(owner, "MAX_BYTES", 10_000)
    for kind in ("zip", "tar", "tar.gz"):
        path = pack(tmp_path / f"bomb.{kind}", {"a.jpg": bytes(10_000_000), "b.jpg": b"b"})
        with Archive(path) as archive:
            assert [member.refused for member in archive.members()] == [Reason.TOO_LARGE, None]
            with pytest.raises(DataError, match=r"a\.jpg: too large"):
                archive.read("a.jpg")
            assert archive.read("b.jpg") == b"b"


def test_a_zip_with_a_forged_size_is_not_read_beyond_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "bomb.zip", {"a.jpg": bytes(10_000_000)})
    data = bytearray(path.read_bytes())
    size = (10_000_000).to_bytes(4, "little")
    while size in data:
        at = data.index(size)
        data[at : at + 4] = (500).to_bytes(4, "little")
    path.write_bytes(data)
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    with Archive(path) as archive, pytest.raises(DataError, match=r"a\.jpg: cannot be read"):
        archive.read("a.jpg")


def test_names_that_are_not_text_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"J\xf6rg/1.jpg")
    make_tar(tmp_path / "a.tar", entry(name, b"1"))
    with Archive(tmp_path / "a.tar") as archive:
        assert os.fsencode(archive.members()[0].name) == b"J\xf6rg/1.jpg"
        assert archive.read(name) == b"1"


def test_zips_of_other_systems_give_the_names_that_were_meant(tmp_path: Path) -> None:
    files = {"J\N{LATIN SMALL LETTER O WITH DIAERESIS}rg/1.jpg": b"1"}
    path = make_zip(tmp_path / "mac.zip", files, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        data[data.index(header) + flags] &= ~8  # UTF-8, but not marked as such
    path.write_bytes(data)
    assert refused(path) == dict.fromkeys(files)
    path.write_bytes(bytes(data).replace(b"J\xc3\xb6rg/", b"J\x94orgx"))  # code page 437
    assert refused(path) == {"J\N{LATIN SMALL LETTER O WITH DIAERESIS}orgx1.jpg": None}
    make_zip(tmp_path / "windows.zip", {"Ann\\1.jpg": b"1"})
    with Archive(tmp_path / "windows.zip") as archive:
        assert archive.read("Ann/1.jpg") == b"1"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_several_threads_may_read_at_once(tmp_path: Path, kind: str) -> None:
    files = {f"{number}.jpg": os.urandom(5_000) for number in range(40)}
    start = threading.Barrier(4)
    with Archive(pack(tmp_path / f"a.{kind}", files)) as archive, ThreadPoolExecutor(4) as pool:

        def read(part: int) -> bool:
            start.wait()
            return all(archive.read(name) == files[name] for name in list(files)[part::4])

        assert all(pool.map(read, range(4)))
