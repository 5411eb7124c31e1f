"""HEIC, the format of phones, decoded by the extra `heif`."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.events import Event, Notice
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.decode import BadPictureError, read_photo
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.faces.headers import read_header
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.preparing.prepare import PrepareResult
from faceclr_cli.core.preparing.prepare import prepare as run

pytest.importorskip("pi_heif")
pillow_heif = pytest.importorskip("pillow_heif", reason="writes HEIC")
if not pillow_heif.libheif_info()["HEIF"]:
    pytest.skip("this pillow-heif has no encoder", allow_module_level=True)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    # HEVC stores even sizes.
    return Image.fromarray(draw_photo(invent_person(1), seed=1).image).crop((0, 0, 260, 290))


def heic(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(picture).save(file, quality=95, **options)
    return file.getvalue()


def difference(image: np.ndarray, picture: Image.Image) -> float:
    wanted = np.asarray(picture.convert("RGB"))
    assert image.shape == wanted.shape
    assert image.dtype == np.uint8
    return float(np.abs(image.astype(int) - wanted).mean())


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_heic_is_read(photo: Image.Image, mode: str) -> None:
    assert difference(read_photo(heic(photo.convert(mode))), photo.convert(mode)) < 3


def test_heic_of_ten_bits_is_read(photo: Image.Image) -> None:
    deep = np.asarray(photo, np.uint16) * 257
    file = io.BytesIO()
    pillow_heif.encode("RGB;16", photo.size, deep.tobytes(), file, quality=95)
    assert difference(read_photo(file.getvalue()), photo) < 3


UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@pytest.mark.parametrize("orientation", list(UPRIGHT))
def test_heic_is_upright(photo: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = heic(photo, exif=exif.tobytes())  # The container gets the orientation.
    assert b"irot" in data or b"imir" in data
    assert difference(read_photo(data), photo.transpose(UPRIGHT[orientation])) < 3


def test_a_heic_gives_the_crop_of_the_same_png(photo: Image.Image) -> None:
    png = io.BytesIO()
    photo.save(png, "PNG")
    cropper = PhotoCropper(default_fingerprint())
    one, other = (cropper.crop_data(data)[0].crop for data in (png.getvalue(), heic(photo)))
    assert np.abs(one.astype(int) - other).mean() < 6  # The detector sees slightly different pixels.


def test_the_size_is_known_before_decoding(photo: Image.Image) -> None:
    header = read_header(heic(photo))
    assert header is not None
    assert (header.kind, header.width, header.height, header.flaw) == ("HEIC", *photo.size, None)


def reason_of(data: bytes) -> Reason | None:
    try:
        read_photo(data)
    except BadPictureError as error:
        return error.reason
    return None


@pytest.mark.parametrize("brand", ["heic", "mif1", "heis", "hevx", "msf1"])
def test_a_container_of_another_structure_is_not_supported(brand: str) -> None:
    noise = np.random.default_rng(0).bytes(3000)
    data = b"\0\0\0\x1cftyp" + brand.encode() + b"\0\0\0\0mif1heic" + brand.encode() + noise
    assert reason_of(data) is Reason.UNSUPPORTED


def test_damaged_heic_is_an_ordinary_error(photo: Image.Image) -> None:
    data = heic(photo.resize((96, 96)))
    lengths = range(20, len(data), max(1, len(data) // 60))
    assert {reason_of(data[:length]) for length in lengths} <= {Reason.TRUNCATED, Reason.DAMAGED}
    assert reason_of(data[:-1]) is Reason.TRUNCATED
    random = np.random.default_rng(0)
    for _ in range(60):
        mutated = bytearray(data)
        for place in random.integers(12, len(data), 4):
            mutated[place] = random.integers(256)
        assert reason_of(bytes(mutated)) in (None, *Reason)


def _with_size(data: bytes, width: int, height: int) -> bytes:
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


def test_a_picture_that_claims_to_be_large_is_refused(photo: Image.Image) -> None:
    assert reason_of(_with_size(heic(photo), 30_000, 30_000)) is Reason.TOO_LARGE


_READ = """
import resource, sys
from pathlib import Path
from faceclr_cli.core.faces.decode import BadPictureError, read_photo
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(read_photo(Path(sys.argv[1])).shape)
except BadPictureError as error:
    print(error.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) >> 10)
"""


def test_memory_is_bounded_even_if_the_header_lies(tmp_path: Path) -> None:
    width, height = 4000, 3000
    data = heic(Image.new("RGB", (width, height), "gray"), enc_params={"preset": "ultrafast"})
    (tmp_path / "large.heic").write_bytes(data)
    (tmp_path / "lies.heic").write_bytes(_with_size(data, 64, 64))
    for name, says in (("large", f"({height}, {width}, 3)"), ("lies", "damaged")):
        done = subprocess.run(
            [sys.executable, "-c", _READ, tmp_path / f"{name}.heic"], capture_output=True, text=True, check=True
        )
        said, mebibytes = done.stdout.splitlines()
        assert said == says
        assert int(mebibytes) < 32 + 4 * width * height * 3 / 2**20


class Heard:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


def test_prepare_reads_what_a_phone_wrote(photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos" / "ann").mkdir(parents=True)
    photo.save(tmp_path / "photos" / "ann" / "1.png")
    (tmp_path / "photos" / "ann" / "2.HEIC").write_bytes(heic(photo))
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    heard, options = Heard(), {"source": tmp_path / "photos", "out": tmp_path / "faces", "workers": 1}
    result = run(PrepareConfig(**options), heard)
    assert isinstance(result, PrepareResult)
    assert (result.faces, result.reasons) == (1, {"format not supported": 1})
    text = "1 HEIC picture cannot be read; run: pip install 'faceclr[heif]', then add --retry failed"
    assert heard.notices[-1] == text
    monkeypatch.undo()
    again = run(PrepareConfig(**options, retry="failed"), heard)
    assert isinstance(again, PrepareResult)
    assert (again.faces, again.processed, heard.notices.count(text)) == (2, 1, 1)
    assert open_faces(again.out).fingerprint == default_fingerprint()
