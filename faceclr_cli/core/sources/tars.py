"""Tar archives, plain or compressed: the standard library's reader with checks for malformed archives."""

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
"""Number of bytes at the start of a file that identify its type."""

# Exceptions that the standard library's readers raise for malformed headers and data.
READ_ERRORS = (
    *(OSError, EOFError, ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError, struct.error),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


class Tar:
    """An open tar archive.

    Attributes:
        flaw: After `entries`, why the iteration ended early, or None.

    Args:
        file: The file, positioned at its start.
        head: Its first `BLOCK` bytes.
    """

    def __init__(self, file: IO[bytes], head: bytes) -> None:
        self._file = _decompress(file, head)
        self.flaw: str | None = None
        self.seek, self.tell = self._file.seek, self._file.tell

    def entries(self) -> Iterator[tarfile.TarInfo]:
        """Yields the entries up to the end, or to the point where the archive is damaged.

        Raises:
            Exception: One of `READ_ERRORS`, if not even the first entry can be read.
        """
        end = 0
        try:
            tar = tarfile.TarFile(fileobj=self)  # type: ignore[arg-type]
            while (entry := tar.next()) is not None:
                # A negative size would lead back to earlier entries in an endless loop.
                if tar.offset <= end:
                    raise tarfile.ReadError("bad size")
                end = tar.offset
                tar.members.clear()  # type: ignore[attr-defined]
                yield entry
            # tarfile takes a damaged header for the end. At the true end there is nothing, or zero bytes.
            self.seek(end)
            if self.read(BLOCK).strip(b"\0"):
                raise tarfile.ReadError("bad header")
        except READ_ERRORS as error:
            if end == 0:
                raise
            self.flaw = f"damaged or truncated: everything after the first {end} bytes is lost ({error_text(error)})"

    def read(self, size: int) -> bytes:
        """Reads the next bytes. A forged header cannot make it read more than the size limit of a member.

        Raises:
            tarfile.ReadError: The size is negative or exceeds the limit.
        """
        if not 0 <= size <= MAX_BYTES + 1:
            raise tarfile.ReadError("bad size")
        return self._file.read(size)

    def content(self, start: int, size: int) -> bytes:
        """Reads a regular member, up to just over `MAX_BYTES`."""
        self.seek(start)
        return self.read(min(size, MAX_BYTES + 1))


def is_tar(head: bytes) -> bool:
    """Returns True if the head of a file is that of a tar. Tars older than POSIX.1-1988 are not recognized."""
    return head[257:262] == b"ustar"


def is_compressed(head: bytes) -> bool:
    """Returns True if the head of a file is that of a gzip, bzip2 or xz file, which may be a tar."""
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"))


def error_text(error: BaseException) -> str:
    """Returns the first line of an exception's message, or the exception's type if there is no message."""
    return (str(error) or type(error).__name__).partition("\n")[0]


def _decompress(file: IO[bytes], head: bytes) -> IO[bytes]:
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if is_compressed(head) else file
