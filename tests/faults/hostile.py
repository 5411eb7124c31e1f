"""Files that are difficult for a program that reads photographs, and the expected outcome of each."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from skimage.data import astronaut

from faceclr_cli.core.faces.reasons import Reason

SIDE = 256
FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One file.

    Attributes:
        name: Its path in the folder.
        make: Its content, or a function that creates it at a path.
        expected: Reasons for which it may yield no crop; None for a picture that must yield one. Several if decoders
            differ in what they regard as damage.
    """

    name: str
    make: bytes | Callable[[Path], None]
    expected: tuple[Reason | None, ...]

    def put(self, folder: Path) -> None:
        """Creates the file."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.make, bytes):
            path.write_bytes(self.make)
        else:
            self.make(path)


def sound(name: str, data: bytes) -> Hostile:
    """A picture that only looks difficult."""
    return Hostile(name=name, make=data, expected=(None,))


def portrait() -> Image.Image:
    """A photograph in the public domain (NASA), with one face. 256 x 256 pixels."""
    return Image.fromarray(astronaut()[:SIDE, 96 : 96 + SIDE])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Returns the content of a picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def patched(data: bytes, start: int, patch: bytes) -> bytes:
    """Other bytes in the place of some."""
    return data[:start] + patch + data[start + len(patch) :]


def segment(marker: int, content: bytes) -> bytes:
    """A part of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def chunk(name: bytes, content: bytes) -> bytes:
    """A part of a PNG, with a checksum that is right."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colors: int = 2) -> bytes:
    """A PNG of given chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colors, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")
