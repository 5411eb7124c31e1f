"""Regions with names in XMP, in the form of the Metadata Working Group (Guidelines for Handling Image Metadata 2.0)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.dom import minidom
from xml.parsers.expat import ExpatError

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
_AREA = "http://ns.adobe.com/xmp/sType/Area#"
_SIZE = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
_PREFIXES = {"rdf": _RDF, "mwg-rs": _REGIONS, "stArea": _AREA, "stDim": _SIZE}

_EMPTY = f"""\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""

_SAME = 0.3
"""Minimum intersection over union of two boxes around one face."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A face with a name.

    Attributes:
        name: Name of the person.
        box: Left, top, width and height as shares of the stored picture's width and height.
    """

    name: str
    box: tuple[float, float, float, float]


def read_regions(content: bytes) -> Iterator[Region]:
    """Yields the regions of faces with a name.

    Args:
        content: An XMP file, or a file that contains an XMP packet, such as a photograph.

    Raises:
        ValueError: The XMP is damaged or declares a document type.
    """
    packet = _between(content, b"<x:xmpmeta", b"</x:xmpmeta>") or _between(content, b"<rdf:RDF", b"</rdf:RDF>")
    if packet is None:
        return
    for item in _items(_parse(packet)):
        name, kind, box = _value(item, _REGIONS, "Name"), _value(item, _REGIONS, "Type"), _box_of(item)
        if name is None or kind not in (None, "Face") or box is None:
            continue
        left, top, width, height = box
        if 0 < width <= 1 and 0 < height <= 1 and 0 <= left + width / 2 <= 1 and 0 <= top + height / 2 <= 1:
            yield Region(name=name, box=box)


def _between(content: bytes, begin: bytes, end: bytes) -> bytes | None:
    start = content.find(begin)
    stop = content.find(end, start)
    return content[start : stop + len(end)] if 0 <= start < stop else None


def add_regions(content: bytes | None, regions: Sequence[Region], size: tuple[int, int]) -> bytes:
    """Adds regions to an XMP file. Everything else in it is kept.

    A face that already has a named region is not changed, even if the name differs: it may be the user's correction. A
    region without a name receives the name.

    Args:
        content: The file, or None for a new one.
        regions: The named faces.
        size: Width and height of the stored picture in pixels.

    Returns:
        The content of the new file; the given content if nothing is to be added.

    Raises:
        ValueError: The file is not XMP.
    """
    document = _parse(_EMPTY.encode() if content is None else content)
    roots = document.getElementsByTagNameNS(_RDF, "RDF")
    if not roots:
        raise ValueError("it has no rdf:RDF")
    known = [(item, _box_of(item)) for item in _items(document)]
    is_changed = False
    for region in regions:
        same = [item for item, box in known if box is not None and _overlap(box, region.box) >= _SAME]
        if any(_value(item, _REGIONS, "Name") for item in same):
            continue
        is_changed = True
        if same:
            _set_name(same[0], region.name)
        else:
            _add_region(_bag(document, roots[0], size), region)
    return bytes(document.toxml(encoding="utf-8")) if content is None or is_changed else content


def _parse(content: bytes) -> minidom.Document:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("it declares a document type")
    try:
        return minidom.parseString(content)
    except ExpatError as error:
        raise ValueError(f"damaged: {error}") from error


def _items(document: minidom.Document) -> Iterator[minidom.Element]:
    for regions in document.getElementsByTagNameNS(_REGIONS, "RegionList"):
        yield from regions.getElementsByTagNameNS(_RDF, "li")


def _value(item: minidom.Element, namespace: str, name: str) -> str | None:
    """Returns a property of a region, which may be an attribute or an element."""
    for element in (item, *item.getElementsByTagName("*")):
        if element.hasAttributeNS(namespace, name):
            return str(element.getAttributeNS(namespace, name)).strip() or None
    for element in item.getElementsByTagNameNS(namespace, name):
        text = "".join(node.data for node in element.childNodes if isinstance(node, minidom.Text))
        return text.strip() or None
    return None


def _box_of(item: minidom.Element) -> tuple[float, float, float, float] | None:
    try:
        x, y, width, height = (float(_value(item, _AREA, name) or "") for name in "xywh")
    except ValueError:
        return None
    return x - width / 2, y - height / 2, width, height


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Returns the intersection over union of two boxes."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0.0, across) * max(0.0, down)
    total = one[2] * one[3] + other[2] * other[3] - shared
    return shared / total if total > 0 else 0.0


def _bag(document: minidom.Document, root: minidom.Element, size: tuple[int, int]) -> minidom.Element:
    """Returns the list of regions; creates it if it does not exist."""
    for regions in document.getElementsByTagNameNS(_REGIONS, "RegionList"):
        for kind in ("Bag", "Seq"):
            for bag in regions.getElementsByTagNameNS(_RDF, kind):
                return bag
    for parent in document.getElementsByTagNameNS(_REGIONS, "Regions"):
        return _add(_add(_holder(parent), "mwg-rs:RegionList"), "rdf:Bag")
    described = root.getElementsByTagNameNS(_RDF, "Description")
    about = described[0].getAttributeNS(_RDF, "about") if described else ""
    description = _add(root, "rdf:Description", {"rdf:about": about})
    for prefix in ("mwg-rs", "stArea", "stDim"):  # declared here rather than in every region
        description.setAttribute(f"xmlns:{prefix}", _PREFIXES[prefix])
    parent = _add(description, "mwg-rs:Regions", {"rdf:parseType": "Resource"})
    dimensions = {"stDim:w": str(size[0]), "stDim:h": str(size[1]), "stDim:unit": "pixel"}
    _add(parent, "mwg-rs:AppliedToDimensions", dimensions)
    return _add(_add(parent, "mwg-rs:RegionList"), "rdf:Bag")


def _add_region(bag: minidom.Element, region: Region) -> None:
    left, top, width, height = region.box
    # The position of a region is that of its center.
    values = {"x": left + width / 2, "y": top + height / 2, "w": width, "h": height}
    area = {f"stArea:{name}": f"{value:.6f}" for name, value in values.items()} | {"stArea:unit": "normalized"}
    about = {"mwg-rs:Name": _printable(region.name), "mwg-rs:Type": "Face"}
    _add(_add(_add(bag, "rdf:li"), "rdf:Description", about), "mwg-rs:Area", area)


def _set_name(item: minidom.Element, name: str) -> None:
    """Replaces the empty name of a region."""
    for element in item.getElementsByTagNameNS(_REGIONS, "Name"):
        if element.parentNode is not None:
            element.parentNode.removeChild(element)
    holder = _holder(item)
    if holder.hasAttributeNS(_REGIONS, "Name"):
        holder.removeAttributeNS(_REGIONS, "Name")
    element = _add(holder, "mwg-rs:Name")
    element.appendChild(minidom.Document().createTextNode(_printable(name)))


def _holder(element: minidom.Element) -> minidom.Element:
    """Returns the element with the properties: a nested rdf:Description, or the element itself."""
    for child in element.childNodes:
        if isinstance(child, minidom.Element) and (child.namespaceURI, child.localName) == (_RDF, "Description"):
            return child
    return element


def _add(parent: minidom.Element, name: str, attributes: Mapping[str, str] | None = None) -> minidom.Element:
    """Appends an element, and declares the prefixes that the file does not declare or uses for something else."""
    document = parent.ownerDocument or minidom.Document()
    element = document.createElementNS(_PREFIXES[name.split(":")[0]], name)
    parent.appendChild(element)
    for prefix in sorted({full.split(":")[0] for full in (name, *(attributes or {}))}):
        if _declared(parent, prefix) != _PREFIXES[prefix]:
            element.setAttribute(f"xmlns:{prefix}", _PREFIXES[prefix])
    for full, value in (attributes or {}).items():
        element.setAttributeNS(_PREFIXES[full.split(":")[0]], full, value)
    return element


def _declared(element: minidom.Element, prefix: str) -> str | None:
    node: minidom.Node | None = element
    while isinstance(node, minidom.Element):
        if node.hasAttribute(f"xmlns:{prefix}"):
            return str(node.getAttribute(f"xmlns:{prefix}"))
        node = node.parentNode
    return None


def _printable(name: str) -> str:
    """Replaces what XML cannot contain: control characters, and bytes of file names that are not UTF-8."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
