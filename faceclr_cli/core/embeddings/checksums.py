"""Checksums of a store's blocks, which stand behind its HDF5 content.

HDF5 trusts what it reads: one flipped bit can make it run forever, fill the memory or crash. So what faceclr wrote is
read through `CheckedFile`, which compares each block before HDF5 sees it, and reads no block that is not needed.
"""

from __future__ import annotations

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
"""Bytes that share a checksum, except at the end: few enough for a column of a large store to be read alone."""

_MAGIC = b"faceclr-crc32\0\0\0"
_END = struct.Struct("<16sQI")
"""The last bytes of a store: the magic, the length of the HDF5 content, and the CRC-32 of the table and that length."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checksums:
    """What the blocks of a file were when it was written.

    Attributes:
        length: Bytes of the HDF5 content.
        blocks: CRC-32 of each block. Shape: (blocks,).
    """

    length: int
    blocks: NDArray[np.uint32]


def append_checksums(path: Path) -> None:
    """Writes the checksums of a finished HDF5 file behind its content, where HDF5 does not look.

    A program that opens the file to change it cuts them off: HDF5 truncates a file to its content when it closes it.
    """
    with open(path, "r+b", buffering=0) as file:
        blocks, length = list[int](), 0
        while block := file.read(BLOCK_BYTES):
            blocks.append(zlib.crc32(block))
            length += len(block)
        table = np.array(blocks, "<u4").tobytes()
        file.write(table + _END.pack(_MAGIC, length, _own_checksum(table, length)))


def read_checksums(descriptor: int) -> Checksums | None:
    """Reads the checksums of an open file. None if it has none, or has changed in length since it got them."""
    size = os.fstat(descriptor).st_size
    end = os.pread(descriptor, _END.size, max(0, size - _END.size))
    if len(end) < _END.size or not end.startswith(_MAGIC):
        return None
    _, length, checksum = _END.unpack(end)
    table_bytes = 4 * -(-length // BLOCK_BYTES)
    if size != length + table_bytes + _END.size:
        return None
    table = os.pread(descriptor, table_bytes, length)
    if _own_checksum(table, length) != checksum:
        return None
    return Checksums(length=length, blocks=np.frombuffer(table, "<u4"))


def _own_checksum(table: bytes, length: int) -> int:
    return zlib.crc32(table + length.to_bytes(8, "little"))


class CheckedFile:
    """A file for h5py whose blocks are compared with their checksums before anything of them is handed out.

    Args:
        descriptor: The open file, which stays open.
        checksums: Its checksums.
        path: Names it in errors.
    """

    def __init__(self, descriptor: int, checksums: Checksums, path: Path) -> None:
        self._descriptor, self._checksums, self._path = descriptor, checksums, path
        self._sound = np.zeros(len(checksums.blocks), bool)
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; the end is that of the HDF5 content."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._checksums.length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """As of any file."""
        return self._position

    def read(self, size: int) -> bytes:
        """As of any file.

        Raises:
            DataError: A block is not what was written.
        """
        data = bytearray(max(0, min(size, self._checksums.length - self._position)))
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """As of any file.

        Raises:
            DataError: A block is not what was written.
        """
        view = memoryview(buffer).cast("B")
        start = self._position
        stop = min(start + len(view), self._checksums.length)
        for block in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            first, last = block * BLOCK_BYTES, min((block + 1) * BLOCK_BYTES, self._checksums.length)
            low, high = max(first, start), min(last, stop)
            wanted = view[low - start : high - start]
            if self._sound[block] or high - low == last - first:
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
        """Compares every block.

        Raises:
            DataError: One is not what was written.
        """
        buffer = bytearray(BLOCK_BYTES)
        self.seek(0)
        while self.readinto(buffer):
            pass

    def _fill(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            count = os.preadv(self._descriptor, [view[done:]], offset + done)
            if not count:
                raise DataError(f"{display_path(self._path)}: became shorter while it was read")
            done += count

    def _check(self, block: int, content: memoryview) -> None:
        if self._sound[block]:
            return
        if zlib.crc32(content) != self._checksums.blocks[block]:
            raise DataError(
                f"{display_path(self._path)}: damaged: bytes {block * BLOCK_BYTES:,} and following are not "
                "what faceclr "
                "wrote; restore it from a backup, or remove it and embed again"
            )
        self._sound[block] = True
