"""Faces with names that other programs or `identify` wrote into photographs or beside them."""

from __future__ import annotations

from dataclasses import dataclass

from faceclr_cli.core.errors import UnreadableImageError
from faceclr_cli.core.faces.orientation import find_orientation, to_upright
from faceclr_cli.core.sources.xmp_regions import Region, read_regions
from faceclr_cli.core.text import canonical


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
        The regions; none if there are none, or if the XMP or the photograph cannot be read.
    """
    regions = next(filter(None, map(_read, (sidecar or b"", photo))), ())
    if not regions:
        return ()
    try:
        orientation, stored = find_orientation(photo)
    except UnreadableImageError:
        return ()
    columns, rows = stored[::-1] if orientation >= 5 else stored
    found = []
    for region in regions:
        left, top, width, height = to_upright(region.box, orientation)
        box = left * columns, top * rows, width * columns, height * rows
        found.append(NamedRegion(name=canonical(region.name), box=box))
    return tuple(found)


def _read(content: bytes) -> tuple[Region, ...]:
    try:
        return tuple(read_regions(content))
    except ValueError:
        return ()
