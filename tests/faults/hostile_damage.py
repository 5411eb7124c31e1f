"""Pictures that are cut off, damaged, or far too large, and files that are not pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from skimage.data import coffee

from faceclr_cli.core.faces.reasons import Reason
from tests.faults.hostile import FORMATS, SIDE, Hostile, chunk, encoded, patched, png, portrait, segment, sound

_SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)
_ANYTHING = (None, Reason.DAMAGED, Reason.NO_FACE)
_SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + bytes(50) + b"\xff\xd9"


def damage() -> Iterator[Hostile]:
    """All of them."""
    face = portrait()
    yield from _cut_off(face)
    for reason, files in {
        Reason.DAMAGED: {**_damaged_jpegs(face), **_damaged_pngs(), **_damaged_others(face)},
        Reason.TOO_LARGE: _huge(),
        Reason.NOT_A_PICTURE: _no_pictures(),
        Reason.NO_FACE: _faceless(),
        Reason.EMPTY: {"empty.jpg": b""},
        Reason.UNSUPPORTED: {"video.heif": b"\0\0\0\x18ftypavci\0\0\0\0mif1avci" + bytes(50)},
    }.items():
        yield from (Hostile(name=name, make=data, expected=(reason,)) for name, data in files.items())
    for name, data in _scratched(face).items():
        yield Hostile(name=name, make=data, expected=_ANYTHING)
    whole = encoded(face, "PNG")
    unpacked = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
    yield sound("200 MB of text.png", whole[:33] + unpacked + whole[33:])


def _cut_off(face: Image.Image) -> Iterator[Hostile]:
    starts = {"JPEG": 3, "PNG": 8, "WEBP": 12}  # bytes that tell the format
    for suffix, kind in FORMATS.items():
        data = encoded(face, kind, quality=95)
        least = starts[kind]
        for end in (least - 1, least, *(int(share * len(data)) for share in _SHARES), len(data) - 1):
            reason = Reason.TRUNCATED if end >= least else Reason.NOT_A_PICTURE
            yield Hostile(name=f"cut off at {end}{suffix}", make=data[:end], expected=(reason,))
    for suffix, kind in {".bmp": "BMP", ".tif": "TIFF", ".gif": "GIF", ".jp2": "JPEG2000", ".ppm": "PPM"}.items():
        data = encoded(face, kind)
        expected = (*_ANYTHING, Reason.TRUNCATED)  # their headers do not tell where the end is
        yield Hostile(name=f"cut off{suffix}", make=data[: len(data) // 3], expected=expected)
    header = png(30_000, 30_000)[: -len(chunk(b"IEND", b""))]
    yield Hostile(name="30000 x 30000 header.png", make=header, expected=(Reason.TRUNCATED,))


def _scratched(face: Image.Image) -> dict[str, bytes]:
    """Pictures that the decoder may show with an artifact, or refuse."""
    jpeg = encoded(face, "JPEG", quality=95)
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda") + 200
    flipped = bytes(byte ^ (0x55 if number % 97 == 0 and number > scan else 0) for number, byte in enumerate(jpeg))
    return {
        "flipped bytes.jpg": flipped[:-2] + b"\xff\xd9",
        "zeros in the middle.jpg": patched(jpeg, scan, bytes(4096)),
        "said to be arithmetic.jpg": patched(jpeg, frame + 1, b"\xc9"),
    }


def _damaged_jpegs(face: Image.Image) -> dict[str, bytes]:
    jpeg = encoded(face, "JPEG", quality=95)
    frame = jpeg.index(b"\xff\xc0")
    return {
        "12 bits.jpg": patched(jpeg, frame + 4, b"\x0c"),
        "lossless.jpg": patched(jpeg, frame + 1, b"\xc3"),
        "no pixels.jpg": patched(jpeg, frame + 5, bytes(4)),
        "seven channels.jpg": patched(jpeg, frame + 9, b"\x07"),
        "no tables.jpg": jpeg[:2] + jpeg[frame:],
        "ends at once.jpg": jpeg[:20] + b"\xff\xd9",
    }


def _damaged_pngs() -> dict[str, bytes]:
    good = chunk(b"IDAT", zlib.compress(bytes((SIDE * 3 + 1) * SIDE)))
    return {
        "wrong checksum.png": png(SIDE, SIDE, patched(good, 20, b"\x55")),
        "wrong stream.png": png(SIDE, SIDE, chunk(b"IDAT", b"noise" * 99)),
        "short stream.png": png(SIDE, SIDE, chunk(b"IDAT", zlib.compress(bytes(9000)))),
        "no stream.png": png(SIDE, SIDE),
        "no palette.png": png(SIDE, SIDE, good, colors=3),
        "no pixels.png": png(0, 0, good),
    }


def _damaged_others(face: Image.Image) -> dict[str, bytes]:
    return {
        "wrong stream.webp": patched(encoded(face, "WEBP"), 30, b"\xff" * 3000),
        "in a circle.tif": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "header alone.gif": b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0) + b"\x3b",
    }


def _huge() -> dict[str, bytes]:
    bomb = chunk(b"IDAT", zlib.compress(bytes(20_000_000), 9))
    sizes = struct.pack("<IIIIiiHHIIiiII", 90, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    frame = segment(0xC0, struct.pack(">BHHB", 8, 65_500, 65_500, 1) + b"\x01\x11\x00")
    return {
        "30000 x 30000.png": png(30_000, 30_000, bomb),
        "2^31 x 2^31.png": png(2**31 - 1, 2**31 - 1, bomb),
        "65500 x 65500.jpg": b"\xff\xd8" + frame + _SCAN,
        "60000 x 60000.bmp": b"BM" + sizes + bytes(36),
        "99999 x 99999.ppm": b"P6 99999 99999 255\n" + bytes(100),
        "65535 x 65535.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x3b",
    }


def _no_pictures() -> dict[str, bytes]:
    return {
        "zeros.jpg": bytes(5000),
        "noise.png": np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes(),
        "one byte.jpg": b"\xff",
        "text.jpg": b"not a picture\n" * 40,
        "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.jpg": b'<svg xmlns="http://www.w3.org/2000/svg" width="90000" height="90000"/>',
        "document.jpg": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n",
        "archive.jpg": b"PK\x05\x06" + bytes(18),
        "program.jpg": b"\x7fELF\x02\x01\x01" + bytes(100),
    }


def _faceless() -> dict[str, bytes]:
    white = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * 1438) * 11_500, 9))
    return {
        "just small enough.png": png(11_500, 11_500, white, bits=1, colors=0),
        "1 x 1.png": encoded(Image.new("RGB", (1, 1)), "PNG"),
        "1 x 3000.png": encoded(Image.new("RGB", (1, 3000)), "PNG"),
        "20000 x 2.png": encoded(Image.new("L", (20_000, 2)), "PNG"),
        "black.jpg": encoded(Image.new("RGB", (300, 300)), "JPEG"),
        "a cup of coffee.jpg": encoded(Image.fromarray(coffee()), "JPEG"),
    }
