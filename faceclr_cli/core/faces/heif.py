"""Pictures in the HEIF container (ISO/IEC 23008-12): which codec they need and how they are turned.

OpenCV decodes the codec AV1 (AVIF), and leaves it to the caller to turn and mirror the picture as its properties say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_AVIF = frozenset({b"avif", b"avis"})
_HEVC_AND_OTHERS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"avci", b"avcs", b"vvic", b"vvis"}
)
_STRUCTURAL = frozenset({b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"pict"})
"""Brands that name the structure of the file and no codec, which the compatible brands name then."""


@dataclass(frozen=True, kw_only=True)
class Transform:
    """What is to be done to decoded pixels so that they are upright.

    Attributes:
        quarter_turns: Counterclockwise, 0-3; done first.
        mirror: `left-right` or `top-bottom`, the sides that are swapped afterwards, or None.
    """

    quarter_turns: int = 0
    mirror: Literal["left-right", "top-bottom"] | None = None


def codec(data: bytes) -> Literal["AVIF", "HEIC"] | None:
    """Which kind of HEIF file this is, by its brands; None for any other file, films among them."""
    if data[4:8] != b"ftyp":
        return None
    length = min(max(struct.unpack(">I", data[:4])[0], 16), 4096)
    major, compatible = data[8:12], {data[at : at + 4] for at in range(16, min(length, len(data)), 4)}
    if major in _AVIF or (major in _STRUCTURAL and compatible & _AVIF):
        return "AVIF"
    return "HEIC" if major in _HEVC_AND_OTHERS | _STRUCTURAL else None


def transform(data: bytes) -> Transform | None:
    """How the primary picture is turned and mirrored; None where the file says nothing of it.

    Raises:
        struct.error: The file ends too early.
        IndexError: It names a property that it lacks.
    """
    properties = list(_properties(data))
    wanted = [properties[number - 1] for number in _numbers_of_primary(data) if number > 0]
    turns = next((content[0] & 3 for name, content in wanted if name == b"irot" and content), None)
    axis = next((content[0] & 1 for name, content in wanted if name == b"imir" and content), None)
    if turns is None and axis is None:
        return None
    return Transform(quarter_turns=turns or 0, mirror=None if axis is None else "left-right" if axis else "top-bottom")


def _properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    return _boxes(_within(_meta(data), b"iprp", b"ipco"))


def _numbers_of_primary(data: bytes) -> Iterator[int]:
    """The properties of the primary picture by their numbers, which count from 1."""
    meta = _meta(data)
    pitm = _within(meta, b"pitm")
    primary = struct.unpack_from(">I" if pitm[:1] != b"\0" else ">H", pitm, 4)[0] if pitm else None
    for name, content in _boxes(_within(meta, b"iprp")):
        if name != b"ipma":
            continue
        item, number = ">I" if content[0] else ">H", ">H" if content[3] & 1 else ">B"
        position = 8
        for _ in range(struct.unpack_from(">I", content, 4)[0]):
            (owner,) = struct.unpack_from(item, content, position)
            position += struct.calcsize(item)
            count = content[position]
            for place in range(count):
                (value,) = struct.unpack_from(number, content, position + 1 + place * struct.calcsize(number))
                if owner == primary:
                    # The first bit says that the property is essential.
                    yield value & (0x7FFF if number == ">H" else 0x7F)
            position += 1 + count * struct.calcsize(number)


def _meta(data: bytes) -> bytes:
    return _within(data, b"meta")[4:]  # after its version and flags


def _within(data: bytes, *names: bytes) -> bytes:
    """The content of the first box of the first name, in it that of the second, and so on."""
    for name in names:
        data = next((content for found, content in _boxes(data) if found == name), b"")
    return data


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of the boxes that follow each other."""
    position = 0
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, position + 8)[0], 16
        elif length == 0:
            length = len(data) - position
        if length < head:
            return
        yield name, data[position + head : position + length]
        position += length
