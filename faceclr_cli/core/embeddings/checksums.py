"""Checksums of the blocks of a store, appended to its HDF5 content.

HDF5 trusts its input: a flipped bit can make it loop forever, exhaust memory or crash. Stores with checksums are
therefore read through `CheckedFile`, which verifies each block before HDF5 reads it, and reads only the blocks needed.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

BLOCK_BYTES = 1 << 18
"""Bytes of a block, small enough for reading single columns of large stores."""

_MAGIC = b"faceclr-crc32\0\0\0"
_END = struct.Struct("<16sQI")
"""Trailer of a store: magic, length of the HDF5 content, and CRC-32 of the checksum table and that length."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checksums:
    """Checksums of a file.

    Attributes:
        length: Length of the HDF5 content in bytes.
        blocks: CRC-32 of each block. Shape: (blocks,).
    """

    length: int
    blocks: NDArray[np.uint32]


def append_checksums(path: Path) -> None:
    """Appends the checksums of a finished HDF5 file, beyond the end that HDF5 reads.

    If another program changes the file, HDF5 truncates it to its content on closing, which removes the checksums.
    """
    with open(path, "r+b", buffering=0) as file:
        blocks, length = list[int](), 0
        while block := file.read(BLOCK_BYTES):
            blocks.append(zlib.crc32(block))
            length += len(block)
        table = np.array(blocks, "<u4").tobytes()
        file.write(table + _END.pack(_MAGIC, length, _table_checksum(table, length)))


def read_checksums(descriptor: int) -> Checksums | None:
    """Reads the checksums of an open file. Returns None if there are none, or the length of the file has changed."""
    size = os.fstat(descriptor).st_size
    with io.FileIO(descriptor, closefd=False) as file:
        return _read_checksums(file, size)


def _read_checksums(file: io.FileIO, size: int) -> Checksums | None:
    file.seek(max(0, size - _END.size))
    end = file.read(_END.size)
    if len(end) < _END.size or not end.startswith(_MAGIC):
        return None
    _, length, checksum = _END.unpack(end)
    table_bytes = 4 * -(-length // BLOCK_BYTES)
    if size != length + table_bytes + _END.size:
        return None
    file.seek(length)
    table = file.read(table_bytes)
    if _table_checksum(table, length) != checksum:
        return None
    return Checksums(length=length, blocks=np.frombuffer(table, "<u4"))


def _table_checksum(table: bytes, length: int) -> int:
    return zlib.crc32(table + length.to_bytes(8, "little"))


class CheckedFile:
    """A file object for h5py that verifies each block before returning data from it.

    Args:
        descriptor: The open file, which is not closed.
        checksums: Checksums of the file.
        path: Path of the file, for errors.
    """

    def __init__(self, descriptor: int, checksums: Checksums, path: Path) -> None:
        # Not `os.preadv`, which only Linux and recent versions of macOS have.
        self._file = io.FileIO(descriptor, closefd=False)
        self._checksums, self._path = checksums, path
        self._verified = np.zeros(len(checksums.blocks), bool)
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.IOBase.seek`. The end is that of the HDF5 content."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._checksums.length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._position

    def read(self, size: int) -> bytes:
        """See `io.RawIOBase.read`.

        Raises:
            DataError: A block does not match its checksum.
        """
        data = bytearray(max(0, min(size, self._checksums.length - self._position)))
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """See `io.RawIOBase.readinto`.

        Raises:
            DataError: A block does not match its checksum.
        """
        view = memoryview(buffer).cast("B")
        start = self._position
        stop = min(start + len(view), self._checksums.length)
        for block in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            first, last = block * BLOCK_BYTES, min((block + 1) * BLOCK_BYTES, self._checksums.length)
            low, high = max(first, start), min(last, stop)
            wanted = view[low - start : high - start]
            if self._verified[block] or high - low == last - first:
                self._fill(wanted, low)
                self._check(block, wanted)
            else:
                whole = memoryview(bytearray(last - first))
                self._fill(whole, first)
                self._check(block, whole)
                wanted[:] = whole[low - first : high - first]
        self._position = max(start, stop)
        return max(0, stop - start)

    def check_all(self) -> None:
        """Verifies all blocks.

        Raises:
            DataError: A block does not match its checksum.
        """
        buffer = bytearray(BLOCK_BYTES)
        self.seek(0)
        while self.readinto(buffer):
            pass

    def _fill(self, view: memoryview, offset: int) -> None:
        self._file.seek(offset)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])
            if not count:
                raise DataError(f"{display_path(self._path)}: was truncated while it was read")
            done += count

    def _check(self, block: int, content: memoryview) -> None:
        if self._verified[block]:
            return
        if zlib.crc32(content) != self._checksums.blocks[block]:
            raise DataError(
                f"{display_path(self._path)}: damaged: the bytes from {block * BLOCK_BYTES:,} on are not those that "
                "faceclr wrote; restore it from a backup, or remove it and embed again"
            )
        self._verified[block] = True
