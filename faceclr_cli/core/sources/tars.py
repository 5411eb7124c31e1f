"""Tar archives, as they are or compressed, on top of the standard library's reader but wary of odd ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from faceclr_cli.core.faces.decode import MAX_BYTES

BLOCK = tarfile.BLOCKSIZE
"""How much of a file's start tells what it is, in bytes."""

# What the standard library's readers give up with on headers and data that somebody made to be odd.
BROKEN = (
    *(OSError, EOFError, ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError, struct.error),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


class Tar:
    """An open tar.

    Attributes:
        flaw: After `entries`, why they ended early, in words, or None.

    Args:
        file: The file, at its start.
        head: Its first `BLOCK` bytes.
    """

    def __init__(self, file: IO[bytes], head: bytes) -> None:
        self._file = _decompressed(file, head)
        self.flaw: str | None = None
        self.seek, self.tell = self._file.seek, self._file.tell

    def entries(self) -> Iterator[tarfile.TarInfo]:
        """The entries up to the end, or to where the archive is damaged.

        Raises:
            Exception: One of `BROKEN`, where there is not even a first entry.
        """
        end = 0
        try:
            tar = tarfile.TarFile(fileobj=self)  # type: ignore[arg-type]
            while (entry := tar.next()) is not None:
                # A negative size would lead back, round and round.
                if tar.offset <= end:
                    raise tarfile.ReadError("bad size")
                end = tar.offset
                tar.members.clear()  # type: ignore[attr-defined]
                yield entry
            # tarfile takes a damaged header for the end. At the true end there is nothing, or zeros.
            self.seek(end)
            if self.read(BLOCK).strip(b"\0"):
                raise tarfile.ReadError("bad header")
        except BROKEN as error:
            if end == 0:
                raise
            self.flaw = f"damaged or cut off: what comes after its first {end} bytes is lost ({words(error)})"

    def read(self, size: int) -> bytes:
        """Reads on. No header makes it read more at once than a member may have."""
        if not 0 <= size <= MAX_BYTES + 1:
            raise tarfile.ReadError("bad size")
        return self._file.read(size)

    def content(self, start: int, size: int) -> bytes:
        """The bytes of a plain member, up to just over `MAX_BYTES`."""
        self.seek(start)
        return self.read(min(size, MAX_BYTES + 1))


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar. Very old ones can't be told."""
    return head[257:262] == b"ustar"


def is_compressed(head: bytes) -> bool:
    """Whether a file that begins so may be a compressed tar."""
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"))


def words(error: BaseException) -> str:
    """What an exception says, on one line."""
    return (str(error) or type(error).__name__).partition("\n")[0]


def _decompressed(file: IO[bytes], head: bytes) -> IO[bytes]:
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if is_compressed(head) else file
