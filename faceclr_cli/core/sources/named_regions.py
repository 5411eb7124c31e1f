"""Regions with names that other programs wrote into photographs or beside them: XMP in the form of the MWG.

Metadata Working Group, Guidelines for Handling Image Metadata, version 2.0, section 5.9. Areas are given for the
picture as it is stored, before it is turned upright.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from faceclr_cli.core.faces.headers import read_header
from faceclr_cli.core.text import canonical

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_REGIONS = "{http://www.metadataworkinggroup.com/schemas/regions/}"
_AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
_BEGIN, _END = b"<x:xmpmeta", b"</x:xmpmeta>"
_RDF_BEGIN, _RDF_END = b"<rdf:RDF", b"</rdf:RDF>"


@dataclass(frozen=True, kw_only=True)
class NamedRegion:
    """A part of a photograph that shows a person.

    Attributes:
        name: Name of the person.
        box: x, y, width and height in pixels of the upright photograph.
    """

    name: str
    box: tuple[float, float, float, float]


def read_named_regions(photo: bytes, sidecar: bytes | None = None) -> tuple[NamedRegion, ...]:
    """Reads the regions of faces with a name.

    Args:
        photo: Content of the photograph.
        sidecar: Content of the XMP file beside it, if any. Its regions take precedence over those in the photograph.

    Returns:
        The regions; none if there are none, or if the XMP cannot be read.
    """
    header = read_header(photo)
    if header is None or not header.width or not header.height:
        return ()
    turn = read_orientation(photo)
    for text in (sidecar, photo):
        if text is not None and (found := tuple(_parse(text))):
            sides = header.width, header.height
            return tuple(NamedRegion(name=name, box=_upright(area, sides, turn)) for name, area in found)
    return ()


def _parse(data: bytes) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    """Yields the name and the area of each region: center, width and height as shares of the picture's sides."""
    packet = _between(data, _BEGIN, _END) or _between(data, _RDF_BEGIN, _RDF_END)
    # Declarations of entities could make a small file expand to gigabytes.
    if packet is None or b"<!" in packet:
        return
    try:
        root = ElementTree.fromstring(packet)
    except ElementTree.ParseError:
        return
    for entry in root.iter(f"{_RDF}li"):
        area = next(entry.iter(f"{_REGIONS}Area"), None)
        name, kind = _value(entry, f"{_REGIONS}Name"), _value(entry, f"{_REGIONS}Type")
        if area is None or not name or kind not in (None, "Face"):
            continue
        try:
            x, y, width, height = (float(_value(area, f"{_AREA}{side}") or "") for side in ("x", "y", "w", "h"))
        except ValueError:
            continue
        if 0 < width <= 1 and 0 < height <= 1 and 0 <= x <= 1 and 0 <= y <= 1:
            yield canonical(name), (x, y, width, height)


def _between(data: bytes, begin: bytes, end: bytes) -> bytes | None:
    start = data.find(begin)
    stop = data.find(end, start)
    return data[start : stop + len(end)] if 0 <= start < stop else None


def _value(element: ElementTree.Element, name: str) -> str | None:
    """A property, which RDF writes as an attribute or as an element, perhaps inside a description."""
    for each in (element, *element.findall(f"{_RDF}Description")):
        found = each.get(name) or each.findtext(name)
        if found is not None and found.strip():
            return found.strip()
    return None


def _upright(
    area: tuple[float, float, float, float], sides: tuple[int, int], turn: int
) -> tuple[float, float, float, float]:
    x, y, width, height = area
    across, down = sides
    points = {
        1: (x, y), 2: (1 - x, y), 3: (1 - x, 1 - y), 4: (x, 1 - y),
        5: (y, x), 6: (1 - y, x), 7: (1 - y, 1 - x), 8: (y, 1 - x),
    }  # fmt: skip
    x, y = points[turn]
    if turn >= 5:
        width, height, across, down = height, width, down, across
    return (x - width / 2) * across, (y - height / 2) * down, width * across, height * down


def read_orientation(photo: bytes) -> int:
    """Reads the EXIF orientation of a JPEG, 1 to 8; 1 if it has none."""
    start = photo.find(b"Exif\0\0", 0, 1 << 17) + 6 if photo.startswith(b"\xff\xd8") else 5
    if start < 6:
        return 1
    order = {b"II": "<", b"MM": ">"}.get(photo[start : start + 2])
    try:
        if order is None:
            return 1
        first = start + struct.unpack_from(f"{order}I", photo, start + 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", photo, first)[0]):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", photo, first + 2 + 12 * entry)
            if (tag, kind) == (0x0112, 3):
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
