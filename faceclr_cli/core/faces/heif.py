"""The HEIF container (ISO/IEC 23008-12): codec and orientation of pictures.

OpenCV decodes AV1 (AVIF) but does not apply the rotation and mirroring that the container prescribes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_AVIF = frozenset({b"avif", b"avis"})
_HEVC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_OTHERS = frozenset({b"avci", b"avcs", b"vvic", b"vvis"})
"""Brands of pictures in H.264 and H.266, which nearly no camera writes."""
_STRUCTURAL = frozenset({b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"pict"})
"""Brands that describe only the structure of the file; the codec is among the compatible brands."""


@dataclass(frozen=True, kw_only=True)
class Transform:
    """The rotation and mirroring that make decoded pixels upright.

    Attributes:
        quarter_turns: Counterclockwise quarter turns, 0-3; applied first.
        mirror: The sides to swap afterward, `left-right` or `top-bottom`, or None.
    """

    quarter_turns: int = 0
    mirror: Literal["left-right", "top-bottom"] | None = None


def codec(data: bytes) -> Literal["AVIF", "HEIC", "HEIF"] | None:
    """Returns the kind of a HEIF picture according to its brands; None for other files, including videos.

    `HEIF` is one that is neither AV1 nor HEVC.
    """
    if data[4:8] != b"ftyp":
        return None
    length = min(max(struct.unpack(">I", data[:4])[0], 16), 4096)
    major, compatible = data[8:12], {data[at : at + 4] for at in range(16, min(length, len(data)), 4)}
    if major in _AVIF or (major in _STRUCTURAL and compatible & _AVIF):
        return "AVIF"
    if major in _HEVC or (major in _STRUCTURAL and compatible & _HEVC):
        return "HEIC"
    return "HEIF" if major in _OTHERS | _STRUCTURAL else None


def has_boxes(data: bytes) -> bool:
    """Returns True if what follows the brands is a box: a length, and a name of four letters, digits or blanks."""
    (start,) = struct.unpack_from(">I", data)
    name = data[start + 4 : start + 8]
    return not name or name.replace(b" ", b"x").isalnum()


def is_truncated(data: bytes) -> bool:
    """Returns True if the file ends within a box.

    Raises:
        struct.error: The file ends within the head of a box.
    """
    position = 0
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
        if length < 8:  # 0: up to the end of the file
            return False
        position += length
    return position > len(data)


def transform(data: bytes) -> Transform | None:
    """Returns the orientation of the primary picture; None if the file does not specify it.

    Raises:
        struct.error: The file is truncated.
        IndexError: The file refers to a property that does not exist.
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
    """Yields the 1-based property indices of the primary picture."""
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
                    # The first bit marks an essential property.
                    yield value & (0x7FFF if number == ">H" else 0x7F)
            position += 1 + count * struct.calcsize(number)


def _meta(data: bytes) -> bytes:
    return _within(data, b"meta")[4:]  # skip version and flags


def _within(data: bytes, *names: bytes) -> bytes:
    """Returns the content of nested boxes: the first box with the first name, the first box in it with the second..."""
    for name in names:
        data = next((content for found, content in _boxes(data) if found == name), b"")
    return data


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields name and content of consecutive boxes."""
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
