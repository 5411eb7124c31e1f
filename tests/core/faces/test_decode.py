from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from faceclr_cli.core.errors import DataError, UnreadableImageError
from faceclr_cli.core.faces.decode import BadPictureError, read_photo
from faceclr_cli.core.faces.decoder_noise import NOISE
from faceclr_cli.core.faces.headers import read_header
from faceclr_cli.core.faces.reasons import Reason


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Asymmetric, so that every orientation differs, and smooth, so that lossy formats preserve it."""
    y, x = np.mgrid[0:60, 0:90].astype(np.float32)
    return Image.fromarray(np.dstack([x * 2.5, y * 4, 255 - x - y]).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def difference(image: NDArray[np.uint8], other: Image.Image) -> float:
    return float(np.abs(image.astype(int) - np.asarray(other.convert("RGB"), int)).mean())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_colors_are_rgb(picture: Image.Image, kind: str) -> None:
    image = read_photo(encoded(picture, kind))
    assert image.shape == (60, 90, 3)
    assert image.dtype == np.uint8
    assert difference(image, picture) < 4


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("1", "PNG")]
)
def test_every_kind_of_pixel_becomes_rgb(picture: Image.Image, mode: str, kind: str) -> None:
    stored = picture.convert(mode)
    assert difference(read_photo(encoded(stored, kind)), stored) < 8


def test_sixteen_bits_become_eight(picture: Image.Image) -> None:
    _, packed = cv2.imencode(".png", np.asarray(picture)[:, :, ::-1].astype(np.uint16) * 257)
    assert difference(read_photo(packed.tobytes()), picture) < 1


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Returns the upright form of a picture that is stored with this EXIF orientation."""
    ways = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return picture if orientation == 1 else picture.transpose(ways[orientation])


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_orientation_is_applied(picture: Image.Image, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, kind, exif=exif, quality=95)  # Pillow writes it to the properties of an AVIF, not to EXIF
    assert (b"Exif" in data) == (kind == "JPEG")
    assert difference(read_photo(data), upright(picture, orientation)) < 4


def test_exif_does_not_turn_an_avif_once_more(picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = exif[0x0128] = 6
    data = encoded(picture, "AVIF", exif=exif, quality=95)
    # Converters leave a copy of the camera's orientation in EXIF, where Pillow's file has the unit of resolution.
    unit, orientation = (struct.pack(">HHIH", tag, 3, 1, 6) for tag in (0x0128, 0x0112))
    assert data.count(unit) == 1
    assert difference(read_photo(data.replace(unit, orientation)), upright(picture, 6)) < 4


def test_damaged_exif_is_tolerated(picture: Image.Image) -> None:
    junk = b"Exif\0\0" + bytes(range(40, 90))
    data = encoded(picture, "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk + data[2:]
    assert read_photo(data).shape == (60, 90, 3)


def reason_of(data: bytes) -> Reason:
    with pytest.raises(UnreadableImageError) as caught:
        read_photo(data, "holiday.jpg")
    assert isinstance(caught.value, BadPictureError)
    assert str(caught.value).startswith("holiday.jpg: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    return caught.value.reason


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_truncated_pictures_are_refused(picture: Image.Image, kind: str, share: float) -> None:
    data = encoded(picture, kind)
    assert reason_of(data[: int(len(data) * share)]) is Reason.TRUNCATED


def test_a_progressive_jpeg_without_its_last_byte_is_truncated(picture: Image.Image) -> None:
    data = encoded(picture, "JPEG", progressive=True)
    assert read_photo(data).shape == (60, 90, 3)
    assert reason_of(data[:-1]) is Reason.TRUNCATED


def test_a_whole_thumbnail_does_not_hide_a_truncated_picture(picture: Image.Image) -> None:
    thumbnail = encoded(picture.resize((30, 20)), "JPEG")
    data = encoded(picture, "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert read_photo(data).shape == (60, 90, 3)
    assert reason_of(data[: len(data) - 200]) is Reason.TRUNCATED


def test_what_follows_a_jpeg_is_ignored(picture: Image.Image) -> None:
    assert read_photo(encoded(picture, "JPEG") + b"maker's own data").shape == (60, 90, 3)


def test_files_that_are_not_pictures(picture: Image.Image) -> None:
    assert reason_of(b"") is Reason.EMPTY
    assert reason_of(b"This is not a picture.\n") is Reason.NOT_A_PICTURE
    assert reason_of(b"%PDF-1.7 ...") is Reason.NOT_A_PICTURE
    damaged = bytearray(encoded(picture, "PNG"))
    damaged[len(damaged) // 2] ^= 0xFF
    assert reason_of(bytes(damaged)) is Reason.DAMAGED


@pytest.mark.parametrize("brand", ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1"])
def test_heic_of_any_brand_without_its_decoder_says_what_to_install(
    brand: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    data = b"\0\0\0\x18ftyp" + brand.encode() + b"\0\0\0\0mif1heic" + bytes(100)
    assert reason_of(data) is Reason.UNSUPPORTED
    with pytest.raises(BadPictureError) as caught:
        read_photo(data, "phone.heic")
    assert str(caught.value) == (
        "phone.heic: HEIC needs pi-heif, which is not installed; run: pip install 'faceclr[heif]'"
    )


@pytest.mark.parametrize("brand", ["avci", "vvic", "mif1"])
def test_heif_of_another_codec_is_a_format_that_is_not_supported(brand: str) -> None:
    assert reason_of(b"\0\0\0\x18ftyp" + brand.encode() + b"\0\0\0\0mif1avci" + bytes(100)) is Reason.UNSUPPORTED


def test_brands_tell_avif_and_films_from_heic(picture: Image.Image) -> None:
    data = encoded(picture, "AVIF")
    assert data[4:12] == b"ftypavif" and b"avif" in data[16:32]
    assert difference(read_photo(data.replace(b"ftypavif", b"ftypmif1", 1)), picture) < 8
    assert reason_of(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100)) is Reason.NOT_A_PICTURE


def test_jpeg_xl_is_a_format_that_is_not_supported() -> None:
    assert reason_of(b"\xff\x0a" + bytes(100)) is Reason.UNSUPPORTED
    assert reason_of(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100)) is Reason.UNSUPPORTED


def test_bigtiff_is_read(picture: Image.Image) -> None:
    data = encoded(picture, "TIFF", big_tiff=True)
    assert data.startswith(b"II+\0")
    assert difference(read_photo(data), picture) == 0
    header = read_header(data)
    assert header is not None
    assert (header.width, header.height, header.flaw) == (90, 60, None)
    for length in range(1, len(data), len(data) // 40):
        with pytest.raises(BadPictureError):
            read_photo(data[:length])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_of_floats_is_a_format_that_is_not_supported(picture: Image.Image, channels: int) -> None:
    values = np.asarray(picture, np.float32)[:, :, :channels] / 255
    _, packed = cv2.imencode(".tif", values)
    assert reason_of(packed.tobytes()) is Reason.UNSUPPORTED
    with pytest.raises(BadPictureError, match="floating-point TIFF cannot be decoded here; convert it to JPEG"):
        read_photo(packed.tobytes())


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [30_000, 40_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    assert reason_of(png(side, side)) is Reason.TOO_LARGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM"])
def test_the_size_of_every_format_is_known_before_decoding(picture: Image.Image, kind: str) -> None:
    header = read_header(encoded(picture, kind))
    assert header is not None
    assert (header.width, header.height, header.flaw) == (90, 60, None)


def test_any_prefix_of_any_format_is_an_ordinary_error(picture: Image.Image) -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM"):
        data = encoded(picture.resize((12, 8)), kind)
        assert read_photo(data).shape == (8, 12, 3)
        lengths = range(0, len(data) - 1, max(1, len(data) // 60))
        refused = 0
        for length in lengths:
            try:
                # Some formats end in bytes that nothing depends on, so that a prefix may still be whole.
                assert read_photo(data[:length]).shape == (8, 12, 3)
            except BadPictureError:
                refused += 1
        assert refused > len(lengths) / 2, kind


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nobody\.jpg: no such file"):
        read_photo(tmp_path / "nobody.jpg")
    with pytest.raises(DataError, match="cannot be read"):
        read_photo(tmp_path)


def test_names_cannot_break_a_message(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"new\nline \xff.jpg")
    path.write_bytes(b"text")
    with pytest.raises(UnreadableImageError) as caught:
        read_photo(path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_decoding_prints_nothing(tmp_path: Path, picture: Image.Image) -> None:
    data = encoded(picture, "PNG")
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "half.jpg").write_bytes(encoded(picture, "JPEG")[:500])
    (tmp_path / "half.tif").write_bytes(encoded(picture, "TIFF")[:5000])
    (tmp_path / "bomb.png").write_bytes(png(40_000, 40_000))
    code = (
        "import sys; from pathlib import Path; from faceclr_cli.core.faces.decode import *\n"
        "for name in sys.argv[1:]:\n    try: read_photo(Path(name))\n    except UnreadableImageError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *tmp_path.iterdir()], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def noisy(picture: Image.Image) -> dict[str, bytes]:
    """Valid pictures about which libpng and libjpeg print a line."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    jpeg = encoded(picture, "JPEG")
    return {
        "gray.png": encoded(picture.convert("L"), "PNG", icc_profile=profile),
        "extra.jpg": jpeg[:-2] + b"\0\x11\x22\x33" * 4 + jpeg[-2:],
    }


def test_commands_suppress_decoder_messages_about_valid_pictures(tmp_path: Path, picture: Image.Image) -> None:
    for name, data in noisy(picture).items():
        (tmp_path / name).write_bytes(data)
    decode = "from pathlib import Path; from faceclr_cli.core.faces.decode import read_photo\n"
    decode += "for name in sys.argv[1:]: read_photo(Path(name))\n"
    ours = "from faceclr_cli.commands import streams; from faceclr_cli.core.workers.process import claim_process\n"
    ours += "claim_process(); streams.set_up(); sys.stderr.write('before ')\n"
    after = "print('after', file=sys.stderr); os.write(2, b'of another library')\n"
    said = []
    for code in (decode, ours + decode + after):
        done = subprocess.run(
            [sys.executable, "-c", "import os, sys\n" + code, *tmp_path.iterdir()], capture_output=True, text=True
        )
        assert done.returncode == 0
        said.append(done.stderr)
    assert "libpng" in said[0] and "JPEG" in said[0]  # in a program that imports faceclr, nothing is redirected
    assert said[1] == "before after\nof another library"


def test_threads_leave_the_log_level_of_opencv_as_they_found_it(picture: Image.Image) -> None:
    data = encoded(picture.resize((30, 20)), "PNG")
    levels = cv2.utils.logging
    warnings = 3
    before = levels.setLogLevel(warnings)
    try:
        # Two that overlap, so that the first to enter is the first to leave.
        first, second = NOISE, NOISE
        first.__enter__()
        second.__enter__()
        assert levels.getLogLevel() == 0
        first.__exit__(None, None, None)
        assert levels.getLogLevel() == 0
        second.__exit__(None, None, None)
        assert levels.getLogLevel() == warnings
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read_photo, [data] * 400))
        assert levels.getLogLevel() == warnings
    finally:
        levels.setLogLevel(before)
