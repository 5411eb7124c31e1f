"""Valid pictures that are stored in an unusual way. All show the same face at the same place."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image
from skimage.data import coffee

from tests.faults.hostile import FORMATS, SIDE, Hostile, encoded, patched, portrait, segment, sound

TURNED = "turned"
"""Begins the names of those that EXIF says to be turned."""


def pictures() -> Iterator[Hostile]:
    """All of them."""
    face = portrait()
    for name, data in {
        **_stored(face),
        **_not_opaque(face),
        **_several(face),
        **_turned(face),
        **_odd_exif(face),
    }.items():
        yield sound(name, data)


def _stored(face: Image.Image) -> dict[str, bytes]:
    jpeg, plain_png = encoded(face, "JPEG", quality=95), encoded(face, "PNG")
    upside_down = encoded(face.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP")
    deep = np.asarray(face)[:, :, ::-1].astype(np.uint16) * 257
    return {
        "plain.jpg": jpeg,
        "PLAIN.JPG": jpeg,
        "jpeg named.png": jpeg,
        "png named.jpg": plain_png,
        "webp named.jpeg": encoded(face, "WEBP", quality=95),
        "progressive.jpg": encoded(face, "JPEG", quality=95, progressive=True),
        "restart markers.jpg": encoded(face, "JPEG", quality=95, restart_marker_rows=1),
        "4-4-4.jpg": encoded(face, "JPEG", quality=95, subsampling=0),
        "cmyk.jpg": encoded(face.convert("CMYK"), "JPEG", quality=95),
        "gray.jpg": encoded(face.convert("L"), "JPEG", quality=95),
        "16 bits.png": cv2.imencode(".png", deep)[1].tobytes(),
        "16 bits gray.png": cv2.imencode(".png", deep[:, :, 1])[1].tobytes(),
        "compressed.tiff": encoded(face, "TIFF", compression="tiff_lzw"),
        "from top to bottom.bmp": patched(upside_down, 22, (-SIDE).to_bytes(4, "little", signed=True)),
        "more behind the end.jpg": jpeg + bytes(1000) + b"PK\x03\x04" + jpeg[:3000],
        "more behind the end.png": plain_png + b"<?php echo 1 ?>",
    }


def _not_opaque(face: Image.Image) -> dict[str, bytes]:
    palette = face.quantize(200)
    return {
        "palette.png": encoded(palette, "PNG"),
        "palette with a transparent color.png": encoded(palette, "PNG", transparency=3),
        "alpha.png": encoded(face.convert("RGBA"), "PNG"),
        "gray and alpha.png": encoded(face.convert("LA"), "PNG"),
        "alpha.webp": encoded(face.convert("RGBA"), "WEBP", lossless=True),
    }


def _several(face: Image.Image) -> dict[str, bytes]:
    """The face is in the first picture, which other pictures follow."""
    others = [Image.fromarray(coffee()[:SIDE, :SIDE])] * 2
    return {
        "several pages.tif": encoded(face, "TIFF", save_all=True, append_images=others),
        "animated.gif": encoded(face, "GIF", save_all=True, append_images=others, duration=50),
        "animated.webp": encoded(face, "WEBP", save_all=True, append_images=others, duration=50, quality=95),
        "animated.png": encoded(face, "PNG", save_all=True, append_images=others, duration=50),
    }


def _turned(face: Image.Image) -> dict[str, bytes]:
    """The eight orientations of a camera, which look the same if EXIF is applied."""
    ways = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    found = {}
    for orientation, way in ways.items():
        image, exif = face if way is None else face.transpose(way), Image.Exif()
        exif[0x0112] = orientation
        for suffix, kind in FORMATS.items():
            found[f"{TURNED} {orientation}{suffix}"] = encoded(image, kind, exif=exif, quality=95)
    return found


def _odd_exif(face: Image.Image) -> dict[str, bytes]:
    jpeg = encoded(face, "JPEG", quality=95)
    blocks = {
        "exif cut off.jpg": b"II*\0\x08\0\0\0\xff\x00",
        "exif noise.jpg": bytes(range(40, 90)),
        "exif far out.jpg": b"MM\0*\xff\xff\xff\xf0",
        "exif orientation 9.jpg": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
        "exif in a circle.jpg": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    }
    return {name: jpeg[:2] + segment(0xE1, b"Exif\0\0" + block) + jpeg[2:] for name, block in blocks.items()}
