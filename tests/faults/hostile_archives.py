"""Archives of photographs with unusual members, and the expected result for each member."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

from faceclr_cli.core.faces.reasons import Reason
from tests.faults.hostile import encoded, portrait

Expected = dict[str, Reason | None]
"""By the name that the ledger gives a member; None where it has to give a crop."""

_BOMB = 600_000_000
_LIES = {  # where in a zip's header for a member, and what
    "encrypted.jpg": (6, b"\x01\0"),
    "unknown method.jpg": (8, b"\x63\0"),
    "wrong checksum.jpg": (14, bytes(4)),
    "longer than it is.jpg": (22, b"\xff\xff\xff\0"),
}
_KINDS = {"link.jpg": stat.S_IFLNK, "device.jpg": stat.S_IFCHR, "pipe.jpg": stat.S_IFIFO, "socket.jpg": stat.S_IFSOCK}
_TYPES = {
    "link.jpg": tarfile.SYMTYPE,
    "hard link.jpg": tarfile.LNKTYPE,
    "device.jpg": tarfile.CHRTYPE,
    "disk.jpg": tarfile.BLKTYPE,
    "pipe.jpg": tarfile.FIFOTYPE,
}


def write_zip(path: Path) -> Expected:
    """Writes a zip whose members lead out, have false headers, are encrypted, damaged, or not files."""
    jpeg = encoded(portrait(), "JPEG", quality=95)
    expected = _write_plain(path, jpeg)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, kind in _KINDS.items():
            info = zipfile.ZipInfo(f"odd/{name}")
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, b"/etc/passwd")
            expected[info.filename] = Reason.UNSAFE
        for name in _LIES:
            archive.writestr(f"odd/{name}", jpeg)
            expected[f"odd/{name}"] = Reason.UNREADABLE
        for name in ("placeholder 1.jpg", "placeholder2.jpg", "back\\slash.jpg", "..\\..\\outside.jpg"):
            archive.writestr(f"odd/{name}", jpeg)
        with archive.open("odd/bomb.jpg", "w") as bomb:
            for _ in range(_BOMB // 10**7):
                bomb.write(bytes(10**7))
    # Older tools write names in the code page of their system, and macOS in UTF-8; neither sets the UTF-8 flag.
    data = path.read_bytes().replace(b"placeholder 1.jpg", b"caf\x82 \xff\xe1 12345.jpg")
    data = data.replace(b"placeholder2.jpg", "Jalapeño 12.jpg".encode())
    path.write_bytes(_lying(data))
    return expected | {
        "odd/café \xa0ß 12345.jpg": None,
        "odd/Jalapeño 12.jpg": None,
        "odd/back/slash.jpg": None,
        "odd/../../outside.jpg": Reason.UNSAFE,
        "odd/bomb.jpg": Reason.TOO_LARGE,
    }


def write_tar(path: Path) -> Expected:
    """Writes a compressed tar whose members lead out, or are links, devices or pipes."""
    jpeg = encoded(portrait(), "JPEG", quality=95)
    expected: Expected = {}
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, content, reason in _members(jpeg):
            _add(archive, name, content)
            expected[_inside(name)] = reason
        for name, kind in _TYPES.items():
            _add(archive, f"odd/{name}", b"", kind, "/dev/zero" if kind == tarfile.SYMTYPE else "ann/plain.jpg")
            expected[f"odd/{name}"] = Reason.UNSAFE
        _add(archive, "odd/holes.jpg", bytes(4096), tarfile.GNUTYPE_SPARSE)
        _add(archive, os.fsdecode(b"odd/caf\xe9.jpg"), jpeg)
    return expected | {"odd/holes.jpg": Reason.UNREADABLE, os.fsdecode(b"odd/caf\xe9.jpg"): None}


def _members(jpeg: bytes) -> list[tuple[str, bytes, Reason | None]]:
    """Returns the members that both kinds of archive can contain."""
    return [
        ("ann/plain.jpg", jpeg, None),
        ("ann/with  space, 100%.jpg", jpeg, None),
        ("bob/家族.jpg", jpeg, None),
        ("bob/-o.jpg", jpeg, None),
        ("/".join(["deep"] * 40) + "/down.jpg", jpeg, None),
        ("./ann/./second//third.jpg", jpeg, None),
        ("bob/twice.jpg", b"the last counts", None),
        ("bob/twice.jpg", jpeg, None),
        ("bob/empty.jpg", b"", Reason.EMPTY),
        ("bob/text.jpg", b"no picture", Reason.NOT_A_PICTURE),
        ("bob/cut off.jpg", jpeg[:900], Reason.TRUNCATED),
        ("bob/archive.jpg", b"PK\x05\x06" + bytes(18), Reason.NOT_A_PICTURE),
        ("../outside.jpg", jpeg, Reason.UNSAFE),
        ("ann/../../outside.jpg", jpeg, Reason.UNSAFE),
        ("ann/../inside after all.jpg", jpeg, Reason.UNSAFE),
        ("/tmp/faceclr-outside.jpg", jpeg, Reason.UNSAFE),
        ("n" * 252 + ".jpg", jpeg, Reason.UNSAFE),
    ]


def _write_plain(path: Path, jpeg: bytes) -> Expected:
    expected: Expected = {}
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, reason in _members(jpeg):
            archive.writestr(name, content)
            expected[_inside(name)] = reason
        # Members without a row: folders, hidden files, and files that are not named like pictures.
        for name in ("folder.jpg/", ".hidden.jpg", ".hidden/inside.jpg", "__notes.doc"):
            archive.writestr(name, b"" if name.endswith("/") else jpeg)
    return expected


def _add(archive: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    archive.addfile(info, io.BytesIO(content))


def _inside(name: str) -> str:
    """Returns the name of a member in the ledger: normalized, unless the path leads out."""
    if name.startswith("/") or ".." in name:
        return name
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _lying(data: bytes) -> bytes:
    """Changes the headers before members and in the directory at the end, which is two bytes longer up to there."""
    changed = bytearray(data)
    for name, (offset, lie) in _LIES.items():
        before, listed = data.find(name.encode()) - 4, data.rfind(name.encode()) - 4
        for start in (before - 30 + offset, listed - 46 + offset + 2):
            changed[start : start + len(lie)] = lie
    return bytes(changed)
