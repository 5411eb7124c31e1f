"""Picture headers: format, size and truncation, found without decoding.

OpenCV allocates the whole picture before it reads a pixel, and its older releases fill the missing part of a
truncated JPEG with gray. Therefore size and truncation are checked here first.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from faceclr_cli.core.faces import heif
from faceclr_cli.core.faces.reasons import Reason

_PNM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a picture.

    Attributes:
        kind: Name of the format.
        width: Width in pixels as stored, before EXIF rotation; 0 if the header is incomplete.
        height: Height in pixels; see `width`.
        flaw: `TRUNCATED`, `DAMAGED` or `UNSUPPORTED` if this can be detected without decoding, else None.
    """

    kind: str
    width: int
    height: int
    flaw: Reason | None = None


def read_header(data: bytes) -> Header | None:
    """Reads the header of a picture; returns None for unknown formats."""
    for recognizes, parse in _FORMATS:
        if recognizes(data):
            try:
                return parse(data)
            except (struct.error, IndexError):
                return Header(kind=parse.__name__.removeprefix("_").upper(), width=0, height=0, flaw=Reason.TRUNCATED)
    return None


def _jpeg(data: bytes) -> Header:
    width = height = 0
    position = 2
    while True:
        position = data.find(b"\xff", position)
        if position < 0:
            return Header(kind="JPEG", width=width, height=height, flaw=Reason.TRUNCATED)
        while data[position] == 0xFF:  # a marker may follow any number of fill bytes
            position += 1
        marker = data[position]
        position += 1
        if marker == 0 or marker in _JPEG_STANDALONE:
            continue
        if marker == 0xD9:
            return Header(kind="JPEG", width=width, height=height, flaw=Reason.DAMAGED)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
        if marker == 0xDA:
            # Search from here on: an embedded thumbnail before this point also ends with an end-of-image marker.
            flaw = None if data.find(b"\xff\xd9", position) >= 0 else Reason.TRUNCATED
            return Header(kind="JPEG", width=width, height=height, flaw=flaw)
        position += struct.unpack_from(">H", data, position)[0]


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    position, view = 8, memoryview(data)
    while True:
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        # A capital first letter marks the critical chunks.
        if name[:1].isupper() and zlib.crc32(view[position + 4 : end]) != checksum:
            return Header(kind="PNG", width=width, height=height, flaw=Reason.DAMAGED)
        if name == b"IEND":
            return Header(kind="PNG", width=width, height=height)
        position = end + 4


def _gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header(kind="GIF", width=width, height=height)


def _bmp(data: bytes) -> Header:
    old = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return Header(kind="BMP", width=abs(width), height=abs(height))


def _webp(data: bytes) -> Header:
    flaw = Reason.TRUNCATED if struct.unpack_from("<I", data, 4)[0] + 8 > len(data) else None
    form = data[12:16]
    if form == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif form == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return Header(kind="WEBP", width=width, height=height, flaw=flaw)


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    return _tiff_directory(data, order, range(directory + 2, directory + 2 + 12 * count, 12), "I")


def _bigtiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "Q", data, 8)
    (count,) = struct.unpack_from(order + "Q", data, directory)
    entries = min(count, len(data) // 20)  # a forged count would make the loop run almost forever
    return _tiff_directory(data, order, range(directory + 8, directory + 8 + 20 * entries, 20), "Q")


def _tiff_directory(data: bytes, order: str, entries: range, offset: str) -> Header:
    """Reads the tags of the first picture. `offset` is the format of the field that holds a value or its position."""
    width = height = 0
    is_float = False
    for entry in entries:
        tag, kind, count = struct.unpack_from(f"{order}HH{offset}", data, entry)
        at = entry + 4 + struct.calcsize(offset)
        if tag not in (256, 257, 339):
            continue
        form = {3: "H", 4: "I", 16: "Q"}.get(kind, "I")
        if count * struct.calcsize(form) > struct.calcsize(offset):
            (at,) = struct.unpack_from(order + offset, data, at)
        (value,) = struct.unpack_from(order + form, data, at)
        if tag == 256:
            width = value
        elif tag == 257:
            height = value
        else:
            is_float = value == 3
    if is_float:
        return Header(kind="floating-point TIFF", width=width, height=height, flaw=Reason.UNSUPPORTED)
    return Header(kind="TIFF", width=width, height=height)


def _avif(data: bytes) -> Header:
    return _heif_header("AVIF", data)


def _heic(data: bytes) -> Header:
    if not heif.has_boxes(data):
        return Header(kind="HEIC", width=0, height=0, flaw=Reason.UNSUPPORTED)
    return _heif_header("HEIC", data, Reason.TRUNCATED if heif.is_truncated(data) else None)


def _heif_header(kind: str, data: bytes, flaw: Reason | None = None) -> Header:
    # The picture may be a grid of tiles or contain a thumbnail; the largest extent determines the allocation.
    extents = [struct.unpack_from(">II", data, found.end() + 4) for found in re.finditer(b"ispe", data[:65536])]
    width, height = max(extents, key=lambda extent: extent[0] * extent[1], default=(0, 0))
    return Header(kind=kind, width=width, height=height, flaw=flaw)


def _heif(_: bytes) -> Header:
    return Header(kind="HEIF", width=0, height=0, flaw=Reason.UNSUPPORTED)


def _jxl(_: bytes) -> Header:
    return Header(kind="JPEG XL", width=0, height=0, flaw=Reason.UNSUPPORTED)


def _jp2(data: bytes) -> Header:
    height, width = struct.unpack_from(">II", data, data[:4096].find(b"ihdr") + 4)
    return Header(kind="JP2", width=width, height=height)


def _pnm(data: bytes) -> Header:
    found = _PNM.match(data)
    if found is None:
        raise IndexError
    return Header(kind="PNM", width=int(found[1]), height=int(found[2]))


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Header]], ...] = (
    (lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    (lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    (lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif),
    (lambda data: data.startswith(b"BM") and data[6:10] == b"\0\0\0\0", _bmp),
    (lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", _webp),
    (lambda data: data.startswith((b"II*\0", b"MM\0*")), _tiff),
    (lambda data: data.startswith((b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")), _bigtiff),
    (lambda data: heif.codec(data) == "AVIF", _avif),
    (lambda data: heif.codec(data) == "HEIC", _heic),
    (lambda data: heif.codec(data) == "HEIF", _heif),
    (lambda data: data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")), _jxl),
    (lambda data: data.startswith(b"\0\0\0\x0cjP  \r\n\x87\n"), _jp2),
    (lambda data: re.match(rb"P[1-6][\s#]", data) is not None, _pnm),
)
