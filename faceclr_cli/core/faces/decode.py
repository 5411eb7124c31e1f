"""Decoding of picture files to upright RGB arrays."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError, UnreadableImageError
from faceclr_cli.core.faces import heif
from faceclr_cli.core.faces.decoder_noise import NOISE
from faceclr_cli.core.faces.headers import Header, read_header
from faceclr_cli.core.faces.heif_decoder import decode_heic, has_heif_decoder
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.text import display_path

MAX_PIXELS = 2**27
"""Maximum picture size (134 megapixels). Decoding takes 400 MB of memory, and for a PNG briefly twice as much."""
MAX_BYTES = 2**29
"""Maximum file size. Larger files are refused without reading them completely."""


class BadPictureError(UnreadableImageError):
    """A picture that cannot be decoded.

    Attributes:
        reason: The reason.
    """

    def __init__(self, origin: Path | str, reason: Reason, detail: str) -> None:
        super().__init__(f"{display_path(origin)}: {detail}")
        self.reason = reason


def read_photo(photo: Path | bytes | bytearray | memoryview, origin: Path | str = "picture") -> NDArray[np.uint8]:
    """Decodes a photo: JPEG, PNG, WebP, TIFF, BMP, PNM, HEIC with the extra `heif`, and other formats of this OpenCV.

    These are GIF, AVIF and JPEG 2000.

    Gray, palette, CMYK, 16-bit and transparent pictures are converted to 8-bit RGB, and the EXIF orientation is
    applied. Of an animation, the first frame is decoded.

    Args:
        photo: A file, or the content of one.
        origin: Name of the picture in errors if it is not a file.

    Returns:
        RGB, 0-255. Shape: (height, width, 3).

    Raises:
        DataError: The file is missing or cannot be read.
        UnreadableImageError: The picture is empty, truncated, damaged or too large, or not a picture.

    Examples:
        >>> read_photo(b"P5 2 1 255 " + bytes([0, 200]))  # a gray picture of two pixels
        array([[[  0,   0,   0],
                [200, 200, 200]]], dtype=uint8)
        >>> read_photo(b"letters", origin="upload 7")
        Traceback (most recent call last):
            ...
        faceclr_cli.core.faces.decode.BadPictureError: upload 7: not a picture (not JPEG, PNG, ...
    """
    if isinstance(photo, Path):
        return decode_picture(read_bytes(photo), photo)
    return decode_picture(bytes(photo), origin)


def read_bytes(path: Path) -> bytes:
    """Reads a file, up to just over `MAX_BYTES`.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            # Ask for no more than the file contains, because `read` allocates what it is asked for.
            return file.read((min(about.st_size, MAX_BYTES) if stat.S_ISREG(about.st_mode) else MAX_BYTES) + 1)
    except FileNotFoundError:
        raise DataError(f"{display_path(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error


def decode_picture(data: bytes, origin: Path | str) -> NDArray[np.uint8]:
    """Decodes the content of a file; see `read_photo`.

    Raises:
        BadPictureError: The picture is empty, truncated, damaged or too large, or not a picture.
    """
    return Picture(data, origin).pixels()


class Picture:
    """A picture whose header has been read, to be decoded at full size or at a fraction of it.

    Attributes:
        header: Format and size.

    Args:
        data: Content of the file.
        origin: Name of the picture in errors.

    Raises:
        BadPictureError: The header shows that the picture is empty, truncated, damaged or too large, or not a picture.
    """

    def __init__(self, data: bytes, origin: Path | str) -> None:
        self._data, self._origin = data, origin
        self.header = _checked_header(data, origin)

    def shrink_to(self, side: int) -> int:
        """Returns the largest reduction factor for `pixels` that keeps the long side at `side` pixels or more.

        Only JPEGs can be decoded at 1/2, 1/4 and 1/8 of their size, which is much faster.
        """
        if self.header.kind != "JPEG":
            return 1
        longest = max(self.header.width, self.header.height)
        return next((factor for factor in (8, 4, 2) if longest >= factor * side), 1)

    def pixels(self, shrink: int = 1) -> NDArray[np.uint8]:
        """Decodes the picture.

        Args:
            shrink: Reduction factor: 1, or for a JPEG also 2, 4 or 8.

        Returns:
            RGB, 0-255, upright. Shape: (height, width, 3), each side divided by `shrink` and rounded up.

        Raises:
            BadPictureError: The picture is damaged.
        """
        if self.header.kind == "HEIC":
            image = decode_heic(self._data, MAX_PIXELS)
            if image is None:
                raise self._damaged()
            return image
        transform = self._transform()
        # The orientation in the container takes precedence: a copy in EXIF must not be applied in addition.
        flags = _FLAGS[shrink] if transform is None else _FLAGS[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
        image = _imdecode(self._data, flags)
        if image is None:
            raise self._damaged()
        return image if transform is None else _apply(image, transform)

    def _transform(self) -> heif.Transform | None:
        if self.header.kind != "AVIF":
            return None
        try:
            return heif.transform(self._data)
        except (struct.error, IndexError):
            raise self._damaged() from None

    def _damaged(self) -> BadPictureError:
        return BadPictureError(self._origin, Reason.DAMAGED, f"damaged {self.header.kind}, cannot be decoded")


_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def _checked_header(data: bytes, origin: Path | str) -> Header:
    if not data:
        raise BadPictureError(origin, Reason.EMPTY, "the file is empty")
    if len(data) > MAX_BYTES:
        raise BadPictureError(origin, Reason.TOO_LARGE, f"the file is larger than {MAX_BYTES >> 20} MiB")
    header = read_header(data)
    if header is None:
        raise BadPictureError(origin, Reason.NOT_A_PICTURE, "not a picture (not JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF)")
    if header.kind == "HEIC" and not has_heif_decoder():
        raise BadPictureError(
            origin, Reason.UNSUPPORTED, "HEIC needs pi-heif, which is not installed; run: pip install 'faceclr[heif]'"
        )
    if header.width * header.height > MAX_PIXELS:
        size = f"{header.width} x {header.height} pixels"
        raise BadPictureError(
            origin, Reason.TOO_LARGE, f"the picture is too large ({size}, at most {MAX_PIXELS // 10**6} megapixels)"
        )
    if header.flaw is Reason.UNSUPPORTED:
        raise BadPictureError(origin, Reason.UNSUPPORTED, f"{header.kind} cannot be decoded here; convert it to JPEG")
    if header.flaw is Reason.TRUNCATED:
        raise BadPictureError(origin, Reason.TRUNCATED, f"truncated {header.kind}, the end is missing")
    if header.flaw:
        raise BadPictureError(origin, Reason.DAMAGED, f"damaged {header.kind}, cannot be decoded")
    return header


def _apply(image: NDArray[np.uint8], transform: heif.Transform) -> NDArray[np.uint8]:
    turned = np.rot90(image, transform.quarter_turns)
    if transform.mirror is not None:
        turned = turned[:, ::-1] if transform.mirror == "left-right" else turned[::-1]
    return np.ascontiguousarray(turned)


def _imdecode(data: bytes, flags: int) -> NDArray[np.uint8] | None:
    with NOISE:
        try:
            image = cast("NDArray[np.uint8] | None", cv2.imdecode(np.frombuffer(data, np.uint8), flags))
        except (cv2.error, MemoryError):
            return None
    # Convert in place: a copy of a large picture would double the memory. (IMREAD_COLOR_RGB needs OpenCV 4.11.)
    return None if image is None else cast("NDArray[np.uint8]", cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image))
