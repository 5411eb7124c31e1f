from __future__ import annotations

import shutil
import struct
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.identification.identify import identify
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.orientation import find_orientation, to_stored
from faceclr_cli.core.sources.xmp_regions import Region, add_regions

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
DIM = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"

DIGIKAM = """<?xml version="1.0" encoding="UTF-8"?>
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <!-- kept -->
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:a="http://ns.adobe.com/xmp/sType/Area#"
    xmlns:stArea="urn:something-else">
   <dc:subject><rdf:Bag><rdf:li>summer &amp; sea</rdf:li></rdf:Bag></dc:subject>
   <r:Regions rdf:parseType="Resource">
    <r:RegionList><rdf:Bag>
      <rdf:li><rdf:Description r:Name="Ann Ray" r:Type="Face"><r:Area a:x="0.25" a:y="0.5" a:w="0.2" a:h="0.4"
        a:unit="normalized"/></rdf:Description></rdf:li>
      <rdf:li rdf:parseType="Resource"><r:Type>Face</r:Type><r:Area rdf:parseType="Resource"><a:x>0.75</a:x>
        <a:y>0.5</a:y><a:w>0.2</a:w><a:h>0.4</a:h></r:Area></rdf:li>
    </rdf:Bag></r:RegionList>
   </r:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def _regions(content: bytes) -> list[tuple[str | None, tuple[float, ...]]]:
    """Reads regions with ElementTree, in both forms of RDF."""
    found = []
    for item in ElementTree.fromstring(content).iter(f"{RDF}li"):
        areas = list(item.iter(f"{MWG}Area"))
        if not areas:
            continue
        values = [areas[0].get(f"{AREA}{name}") or areas[0].findtext(f"{AREA}{name}") for name in "xywh"]
        names = [node.get(f"{MWG}Name") or node.findtext(f"{MWG}Name") for node in item.iter()]
        found.append((next(filter(None, names), None), tuple(float(value or "nan") for value in values)))
    return found


def test_other_content_and_named_faces_of_a_file_are_kept() -> None:
    regions = [
        Region(name="wrong", box=(0.15, 0.3, 0.2, 0.4)),  # the user called this face Ann Ray
        Region(name="bob", box=(0.66, 0.31, 0.2, 0.4)),  # this one has no name yet
        Region(name='cleo "<&>', box=(0.4, 0.0, 0.1, 0.2)),
    ]
    content = add_regions(DIGIKAM.encode(), regions, (640, 480))
    assert _regions(content) == [
        ("Ann Ray", (0.25, 0.5, 0.2, 0.4)),
        ("bob", (0.75, 0.5, 0.2, 0.4)),
        ('cleo "<&>', (0.45, 0.1, 0.1, 0.2)),
    ]
    subjects = ElementTree.fromstring(content).iter("{http://purl.org/dc/elements/1.1/}subject")
    assert ["".join(subject.itertext()) for subject in subjects] == ["summer & sea"]
    for kept in (b"<!-- kept -->", b"XMP Core 4.4.0-Exiv2", b'xpacket end="w"', b"urn:something-else"):
        assert kept in content
    assert add_regions(content, regions, (640, 480)) == content


def test_a_new_file_has_the_regions_and_the_size_to_which_they_apply() -> None:
    content = add_regions(None, [Region(name="Zoë\x07", box=(0.1, 0.2, 0.3, 0.4))], (640, 480))
    assert _regions(content) == [("Zoë\ufffd", (0.25, 0.4, 0.3, 0.4))]
    size = next(ElementTree.fromstring(content).iter(f"{MWG}AppliedToDimensions"))
    assert [size.get(f"{DIM}{name}") for name in ("w", "h", "unit")] == ["640", "480", "pixel"]
    more = add_regions(content, [Region(name="bob", box=(0.6, 0.2, 0.3, 0.4))], (640, 480))
    assert [name for name, _ in _regions(more)] == ["Zoë\ufffd", "bob"]
    assert more.count(b"AppliedToDimensions") == 1


@pytest.mark.parametrize("content", [b"", b"not xml", b"<a/>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
def test_files_that_are_not_xmp_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|rdf:RDF|document type"):
        add_regions(content, [Region(name="ann", box=(0, 0, 1, 1))], (10, 10))


def _with_exif(stored: np.ndarray, orientation: int) -> bytes:
    data = cv2.imencode(".jpg", stored)[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def _turned(orientation: int) -> bytes:
    """Returns a JPEG with an EXIF orientation and a white spot."""
    rng = np.random.default_rng(1)
    stored = cv2.resize(rng.integers(0, 256, (6, 9, 3), np.uint8), (270, 180), interpolation=cv2.INTER_NEAREST)
    stored[30:60, 200:240] = 255
    return _with_exif(stored, orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_apply_to_the_stored_picture(orientation: int) -> None:
    data = _turned(orientation)
    assert find_orientation(data) == (orientation, (270, 180))
    # The white spot in the upright picture, as OpenCV rotates it, corresponds to the region in the stored picture.
    upright = decode_picture(data, "picture")
    rows, columns = np.nonzero(upright.min(axis=2) > 245)
    height, width = upright.shape[:2]
    left, top = columns.min() / width, rows.min() / height
    box = (left, top, (columns.max() + 1) / width - left, (rows.max() + 1) / height - top)
    expected = (200 / 270, 30 / 180, 40 / 270, 30 / 180)
    assert to_stored(box, orientation) == pytest.approx(expected, abs=0.02)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for person, name in ((1, "ann"), (2, "bob")):
        (tmp_path / "gallery" / name).mkdir(parents=True)
        for picture in (1, 2):
            image = draw_photo(invent_person(person), picture).image
            cv2.imwrite(str(tmp_path / "gallery" / name / f"{picture}.jpg"), image[..., ::-1])
    (tmp_path / "photos").mkdir()
    shutil.copy(tmp_path / "gallery" / "ann" / "1.jpg", tmp_path / "photos" / "a.jpg")
    shutil.copy(tmp_path / "gallery" / "bob" / "1.jpg", tmp_path / "photos" / "b.jpg")
    cv2.imwrite(str(tmp_path / "photos" / "stranger.png"), draw_photo(invent_person(3), 1).image[..., ::-1])
    return tmp_path


class Heard(Silent):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


def _identify(album: Path, source: str = "photos", **options: object) -> tuple[dict[str, tuple], list[str]]:
    heard = Heard()
    given = {"photos": album / source, "gallery": album / "gallery", "threshold": 0.9, "xmp": True} | options
    return {found.photo: found.box for found in identify(IdentifyConfig(**given), heard)}, heard.notices


def test_sidecars_are_written_beside_photographs_and_say_where_the_named_faces_are(album: Path) -> None:
    before = {path.name: path.read_bytes() for path in (album / "photos").iterdir()}
    (album / "photos" / "b.xmp").write_text(DIGIKAM.replace("Ann Ray", ""), encoding="utf-8")
    boxes, notices = _identify(album)
    assert "wrote 2 XMP files" in notices
    added = {path.name for path in (album / "photos").iterdir()} - before.keys()
    assert added == {"a.jpg.xmp", "b.xmp"}
    assert {name: (album / "photos" / name).read_bytes() for name in before} == before
    height, width = cv2.imread(str(album / "photos" / "a.jpg")).shape[:2]
    ((name, found),) = _regions((album / "photos" / "a.jpg.xmp").read_bytes())
    left, top, across, down = boxes["a.jpg"]
    expected = ((left + across / 2) / width, (top + down / 2) / height, across / width, down / height)
    assert name == "ann"
    assert found == pytest.approx(expected, abs=1e-5)
    assert "bob" in [name for name, _ in _regions((album / "photos" / "b.xmp").read_bytes())]
    _, notices = _identify(album)
    assert "wrote 0 XMP files" in notices


def test_names_are_read_by_cluster_where_identify_wrote_them_however_a_photograph_is_stored(album: Path) -> None:
    """Ann on the left and Bob on the right, in photographs that are stored in each orientation."""
    shown = [draw_photo(invent_person(person), 1).image[..., ::-1] for person in (1, 2)]
    height = min(len(image) for image in shown)
    upright = np.concatenate([cv2.resize(image, (height, height)) for image in shown], axis=1)
    gallery = [cv2.resize(image, (height, height)) for image in shown]
    for name, image in zip(("ann", "bob"), gallery, strict=True):
        cv2.imwrite(str(album / "gallery" / name / "3.png"), image)
    half, right = np.flipud(np.fliplr(upright)), np.rot90(upright, -1)
    stored = [upright, np.fliplr(upright), half, np.flipud(upright)]
    stored += [upright.swapaxes(0, 1), np.rot90(upright), half.swapaxes(0, 1), right]
    (album / "turned").mkdir()
    for orientation, image in enumerate(stored, start=1):
        photo = _with_exif(np.ascontiguousarray(image), orientation)
        (album / "turned" / f"{orientation}.jpg").write_bytes(photo)
        # The photograph that a viewer shows is the upright one.
        assert np.abs(decode_picture(photo, "photo").astype(int) - upright[..., ::-1]).mean() < 8
    _identify(album, "turned", threshold=0.7)
    found = cluster(ClusterConfig(source=album / "turned", threshold=1.0), Silent())
    names = [(face.path, face.name) for face in sorted(found.faces, key=lambda face: (face.path, face.box or ()))]
    assert names == [(f"{number}.jpg", name) for number in range(1, 9) for name in ("ann", "bob")]


def test_numbers_of_groups_are_not_names_of_people(album: Path) -> None:
    cluster(ClusterConfig(source=album / "gallery", out=album / "groups", threshold=0.7), Silent())
    (group,) = {path.parent for path in (album / "groups").glob("[0-9]*/*") if path.name.startswith("1")} - {
        path.parent for path in (album / "groups").glob("0001/*")
    }
    group.rename(album / "groups" / "bob & co")
    _, notices = _identify(album, gallery=album / "groups", threshold=0.7)
    (written,) = (album / "photos").glob("*.xmp")
    assert [name for name, _ in _regions(written.read_bytes())] == ["bob & co"]
    assert "wrote 1 XMP file; 1 face of unnamed groups left out" in notices
    # A person of any other gallery may be called by a number.
    (album / "gallery/ann").rename(album / "gallery/0007")
    _identify(album)
    assert len(list((album / "photos").glob("*.xmp"))) == 2


def test_a_damaged_sidecar_is_left_alone(album: Path) -> None:
    (album / "photos" / "a.jpg.xmp").write_text("half a fi")
    _, notices = _identify(album)
    assert (album / "photos" / "a.jpg.xmp").read_text() == "half a fi"
    assert any("a.jpg.xmp: was not changed, because it is not XMP" in text for text in notices)
    assert "wrote 1 XMP file" in notices


def test_photographs_with_one_stem_have_files_of_their_own(album: Path) -> None:
    image = draw_photo(invent_person(2), 1).image
    cv2.imwrite(str(album / "photos" / "a.png"), image[..., ::-1])
    (album / "photos" / "a.xmp").write_text(DIGIKAM, encoding="utf-8")
    _identify(album)
    assert (album / "photos" / "a.xmp").read_text(encoding="utf-8") == DIGIKAM
    assert [name for name, _ in _regions((album / "photos" / "a.jpg.xmp").read_bytes())] == ["ann"]


def test_archives_have_no_sidecars(album: Path) -> None:
    shutil.make_archive(str(album / "photos"), "zip", album / "photos")
    with pytest.raises(ConfigError, match=r"photos\.zip is an archive"):
        _identify(album, "photos.zip")
