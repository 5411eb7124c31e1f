"""Named regions in photographs, against the pixels that they are drawn around."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.sources.named_regions import read_named_regions
from faceclr_cli.core.sources.xmp_regions import Region, add_regions

AREA = {"x": 0.25, "y": 0.7, "w": 0.2, "h": 0.3}
FORMS = ["attributes", "elements", "description"]


def xmp(name: str, area: dict[str, float] = AREA, form: str = "attributes", kind: str = "Face") -> bytes:
    """A packet as digiKam, Lightroom or ExifTool writes it."""
    sides = "".join(f' stArea:{side}="{value}"' for side, value in area.items())
    if form == "attributes":
        entry = (
            f'<rdf:li><rdf:Description mwg-rs:Name="{name}" mwg-rs:Type="{kind}"><mwg-rs:Area{sides} '
            'stArea:unit="normalized"/></rdf:Description></rdf:li>'
        )
    elif form == "elements":
        inside = "".join(f"<stArea:{side}>{value}</stArea:{side}>" for side, value in area.items())
        entry = (
            f'<rdf:li rdf:parseType="Resource"><mwg-rs:Area rdf:parseType="Resource">{inside}</mwg-rs:Area>'
            f"<mwg-rs:Name>{name}</mwg-rs:Name><mwg-rs:Type>{kind}</mwg-rs:Type></rdf:li>"
        )
    else:
        entry = (
            f"<rdf:li><rdf:Description><mwg-rs:Area><rdf:Description{sides}/></mwg-rs:Area><mwg-rs:Name>{name}"
            "</mwg-rs:Name></rdf:Description></rdf:li>"
        )
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" '
        'xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"><mwg-rs:Regions rdf:parseType="Resource">'
        f"<mwg-rs:RegionList><rdf:Bag>{entry}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions></rdf:Description>"
        "</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def jpeg(image: np.ndarray, orientation: int | None = None, packet: bytes | None = None, order: str = "<") -> bytes:
    """A JPEG with EXIF and XMP."""
    data = cv2.imencode(".jpg", image)[1].tobytes()
    parts = [data[:2]]
    if orientation is not None:
        mark = b"II*\0" if order == "<" else b"MM\0*"
        entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
        parts.append(segment(b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)))
    if packet is not None:
        parts.append(segment(b"http://ns.adobe.com/xap/1.0/\0" + packet))
    return b"".join([*parts, data[2:]])


def stored_picture() -> np.ndarray:
    """A dark picture, bright in `AREA`."""
    image = np.zeros((200, 320, 3), np.uint8)
    left, top = round((AREA["x"] - AREA["w"] / 2) * 320), round((AREA["y"] - AREA["h"] / 2) * 200)
    image[top : top + 60, left : left + 64] = 255
    return image


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_a_region_is_where_its_pixels_are_in_the_upright_picture(orientation: int | None, order: str) -> None:
    photo = jpeg(stored_picture(), orientation, xmp("Ann"), order)
    box = (AREA["x"] - AREA["w"] / 2, AREA["y"] - AREA["h"] / 2, AREA["w"], AREA["h"])
    (region,) = read_named_regions(photo)
    (written,) = read_named_regions(photo, add_regions(None, [Region(name="Bob & Co", box=box)], (320, 200)))
    assert written.name == "Bob & Co" and written.box == pytest.approx(region.box, abs=0.01)
    bright = decode_picture(photo, "photo").mean(axis=2) > 128
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    shown = columns[0], rows[0], len(columns), len(rows)
    assert region.name == "Ann"
    assert region.box == pytest.approx(shown, abs=2)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_that_programs_write_is_read(form: str) -> None:
    photo = jpeg(stored_picture(), packet=xmp("Zoe\u0308 &amp; Co", form=form))
    assert [region.name for region in read_named_regions(photo)] == ["Zoë & Co"]
    assert read_named_regions(photo, xmp("Ben", form=form))[0].name == "Ben", "a sidecar comes first"
    assert read_named_regions(jpeg(stored_picture()), xmp("Ben", form=form))[0].name == "Ben"


@pytest.mark.parametrize("packet", [
    xmp(""),
    xmp("Rex", kind="Pet"),
    xmp("Ann", AREA | {"w": 3}),
    xmp("Ann").replace(b'stArea:h="0.3"', b'stArea:h="tall"'),
    xmp("Ann")[:-60] + b"</x:xmpmeta>",
    b"<x:xmpmeta>" + b"<!DOCTYPE a [<!ENTITY b 'bbbb'>]>" + xmp("Ann") + b"</x:xmpmeta>",
    b"",
])  # fmt: skip
def test_what_is_not_a_named_face_is_not_read(packet: bytes) -> None:
    assert read_named_regions(jpeg(stored_picture(), packet=packet)) == ()


def test_damaged_pictures_have_no_regions() -> None:
    assert read_named_regions(b"") == read_named_regions(b"text", xmp("Ann")) == ()
    photo = jpeg(stored_picture(), 6, xmp("Ann"))
    assert [read_named_regions(photo[:size], xmp("Ann")) for size in (3, 20, 30, len(photo) // 2)] == [()] * 4
