"""Verification sets in insightface's `.bin` form: a pickle of encoded pictures, two per pair, and of labels."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import MAX_BYTES
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.sources.pickle_spans import PickledArray, PickleError, PickleSpans, Span
from faceclr_cli.core.sources.positional_read import read_at
from faceclr_cli.core.text import display_path

SUFFIX = ".bin"


@dataclass(frozen=True, slots=True)
class _Content:
    """The parsed file: the place of each picture, and the label of each pair."""

    pictures: Sequence[Span]
    same: NDArray[np.bool_]


class InsightfaceBin:
    """An open `.bin` file. A context manager.

    The file is parsed without Python's unpickler, which would execute code that the file names. Pictures stay in the
    file until they are read.

    Attributes:
        same: True for genuine pairs. Shape: (pairs,).

    Args:
        path: The file.

    Raises:
        DataError: The file cannot be read, is damaged, or is not a verification set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and not path.is_file():  # Opening a pipe would block.
            raise DataError(f"{display_path(path)}: cannot be read ({Reason.NOT_A_FILE.value})")
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
        try:
            self._content = self._parse()
        except PickleError as error:
            self._file.close()
            raise DataError(f"{display_path(path)}: not a .bin file of pairs ({display_path(str(error))})") from error
        except DataError:
            self._file.close()
            raise
        self.same = self._content.same

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._content.pictures)

    def picture(self, number: int) -> bytes:
        """Reads an encoded picture. Pair `n` consists of pictures `2 * n` and `2 * n + 1`. Thread-safe.

        Raises:
            DataError: The file has been truncated, or the picture is damaged.
        """
        origin = f"{display_path(self._path)}: {number}"
        span = self._content.pictures[number]
        data = read_at(self._file, span.start, span.length)
        if len(data) < span.length:
            raise DataError(f"{origin}: cannot be read (the end is missing)")
        try:
            return data.decode("utf-8").encode("latin-1") if span.is_escaped else data
        except UnicodeError:
            raise DataError(f"{origin}: cannot be read (its bytes are not escaped correctly)") from None

    def read(self, name: str) -> bytes:
        """Reads the picture with a name of `picture_name`, as `Archive.read` reads a member.

        Raises:
            DataError: As for `picture`.
        """
        return self.picture(int(name))

    def content_hashes(self) -> list[str]:
        """Returns the SHA-256 of each picture; an empty string for damaged pictures."""
        hashes = []
        for number in range(len(self)):
            try:
                hashes.append(hashlib.sha256(self.picture(number)).hexdigest())
            except DataError:
                hashes.append("")
        return hashes

    def _parse(self) -> _Content:
        found = PickleSpans(self._file, os.fstat(self._file.fileno()).st_size).parse()
        match found:
            case (list() as pictures, list() | PickledArray() as labels):
                spans = [_require_picture(picture) for picture in pictures]
                same = self._labels(labels)
            case _:
                raise PickleError("not a list of pictures and a list of labels")
        if not len(same) or len(spans) != 2 * len(same):
            raise PickleError(f"{len(spans)} pictures and {len(same)} labels; each label needs two pictures")
        return _Content(spans, same)

    def _labels(self, labels: list[object] | PickledArray) -> NDArray[np.bool_]:
        if isinstance(labels, PickledArray):
            if not labels.is_bool or labels.data is None:
                raise PickleError("the labels are not bools")
            data = read_at(self._file, labels.data.start, labels.data.length)
            return np.asarray(np.frombuffer(data, np.uint8) == 1, np.bool_)
        if not all(isinstance(label, bool) for label in labels):
            raise PickleError("a label is not a bool")
        return np.array(labels, np.bool_)


def picture_name(number: int) -> str:
    """Returns a name for a picture in a `.bin` file, since the file itself contains no names."""
    return f"{number:06d}"


def _require_picture(picture: object) -> Span:
    span = picture.data if isinstance(picture, PickledArray) and not picture.is_bool else picture
    if not isinstance(span, Span) or span.is_text:
        raise PickleError("a picture is neither bytes nor an array of 8-bit integers")
    if not 0 < span.length <= MAX_BYTES:
        raise PickleError(f"a picture has {span.length:,} bytes; 1 to {MAX_BYTES:,} are allowed")
    return span


def write_bin(path: Path, pairs: Iterable[tuple[bytes, bytes, bool]]) -> None:
    """Writes a `.bin` file atomically: a pickle of protocol 3, which insightface reads.

    Args:
        path: The file.
        pairs: The encoded pictures of each pair, and True for a genuine pair.

    Raises:
        DataError: The file cannot be written.
    """
    labels = bytearray()
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write(b"\x80\x03](")
            for one, other, same in pairs:
                for picture in (one, other):
                    file.write(b"B" + struct.pack("<I", len(picture)) + picture)
                labels += b"\x88" if same else b"\x89"
            file.write(b"e](" + labels + b"e\x86.")
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be written ({error.strerror or error})") from error
