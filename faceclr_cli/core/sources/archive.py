"""Archives of photos, read in place without extracting anything to disk: zip, tar, and containers of data sets."""

from __future__ import annotations

import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import MAX_BYTES
from faceclr_cli.core.faces.headers import read_header
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.sources.containers import Container, is_container, open_container
from faceclr_cli.core.sources.tars import BLOCK, READ_ERRORS, Tar, error_text, is_compressed, is_tar
from faceclr_cli.core.text import display_path, is_file_name

P = TypeVar("P")

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_LONGEST_NAME = 255
"""Maximum length of a file or folder name in bytes, in most file systems."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive.

    Attributes:
        name: Path with forward slashes. A leading `./` is removed, unless the path leads out of the archive.
        position: Rank in the archive. Reading members in this order is fastest.
        size: Size in bytes according to the archive's directory.
        refused: Why the member cannot be read, or None: `TOO_LARGE`; `UNSAFE` for links, devices, and paths that
            lead out of the archive; `UNREADABLE` for encrypted members and sparse members of a tar.
    """

    name: str
    position: int
    size: int
    refused: Reason | None = None


def is_archive(path: Path) -> bool:
    """Returns True if the path is a zip or tar archive or a container, or has the name of one and is not a picture."""
    if is_container(path):
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(BLOCK)
    except OSError:
        return False
    # Only the start counts: a picture may have a zip appended to it.
    if head.startswith(_ZIP_STARTS) or is_tar(head):
        return True
    return path.name.lower().endswith(_SUFFIXES) and read_header(head) is None


class Archive:
    """An open archive (zip, or tar, optionally compressed by gzip, bzip2 or xz; or a container). A context manager.

    If several members have the same name, the last one counts, as it would after extraction.

    Attributes:
        flaw: Description of the damage if only a part of the archive is readable, else None.
        repeated: Number of members that are replaced by a later member of the same name.

    Args:
        path: The archive file.

    Raises:
        DataError: The file cannot be read, or is not a supported archive.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.flaw: str | None = None
        self.repeated = 0
        self._container: Container | None = None
        self._index: Mapping[str, tuple[Member, zipfile.ZipInfo | int]]
        if is_container(path):
            self._container = open_container(path)
            self._index = self._list_container(self._container)
            return
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
        try:
            self._index = self._open()
        except READ_ERRORS as error:
            self._file.close()
            raise DataError(
                f"{display_path(path)}: not a zip or tar archive, or damaged ({display_path(error_text(error))})"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        (self._file if self._container is None else self._container).close()

    def members(self) -> list[Member]:
        """Returns the files in the archive, each name once, in archive order. Folders are omitted."""
        return sorted((member for member, _ in self._index.values()), key=lambda member: member.position)

    def read(self, name: str) -> bytes:
        """Reads a member, up to just over `MAX_BYTES`. May be called from several threads.

        Reading backward in a compressed tar decompresses the archive again from its start.

        Raises:
            DataError: The member does not exist, is refused, or cannot be read.
        """
        origin = f"{display_path(self._path)}: {display_path(name)}"
        if name not in self._index:
            raise DataError(f"{origin}: no such file in this archive")
        member, entry = self._index[name]
        if member.refused is not None:
            raise DataError(f"{origin}: {member.refused.value}")
        if self._container is not None and isinstance(entry, int):
            return self._container.read(entry)
        try:
            with self._lock:
                data = self._content(entry, member.size)
        except READ_ERRORS as error:
            raise DataError(f"{origin}: cannot be read ({display_path(error_text(error))})") from error
        if len(data) < min(member.size, MAX_BYTES + 1):
            raise DataError(f"{origin}: cannot be read (the end is missing)")
        return data

    def _open(self) -> Mapping[str, tuple[Member, zipfile.ZipInfo | int]]:
        """Maps names to members and where to read them: the entry of a zip, or the offset of the data in a tar."""
        head = self._file.read(BLOCK)
        self._file.seek(0)
        is_named_zip = self._path.name.lower().endswith(".zip")
        if head.startswith(_ZIP_STARTS) or (is_named_zip and not (is_tar(head) or is_compressed(head))):
            self._zip = zipfile.ZipFile(self._file)
            entries = ((_zip_member(info, rank), info) for rank, info in enumerate(self._zip.infolist()))
            return self._build_index((member, info) for member, info in entries if not info.is_dir())
        self._tar = Tar(self._file, head)
        places = ((_tar_member(info, rank), info) for rank, info in enumerate(self._tar.entries()))
        index = self._build_index((member, info.offset_data) for member, info in places if not info.isdir())
        self.flaw = self._tar.flaw
        return index

    def _list_container(self, container: Container) -> dict[str, tuple[Member, zipfile.ZipInfo | int]]:
        """Maps names to members and their places. Names of a container are unique and safe."""
        self.flaw = container.flaw
        members = (
            Member(
                name=container.name(place),
                position=place,
                size=container.size(place),
                refused=Reason.TOO_LARGE if container.size(place) > MAX_BYTES else None,
            )
            for place in range(len(container))
        )
        return {member.name: (member, member.position) for member in members}

    def _build_index(self, entries: Iterable[tuple[Member, P]]) -> dict[str, tuple[Member, P]]:
        index: dict[str, tuple[Member, P]] = {}
        for member, place in entries:
            self.repeated += member.name in index
            index[member.name] = (member, place)
        return index

    def _content(self, entry: zipfile.ZipInfo | int, size: int) -> bytes:
        if isinstance(entry, zipfile.ZipInfo):
            with self._zip.open(entry) as file:
                return file.read(MAX_BYTES + 1)
        return self._tar.content(entry, size)


def _zip_member(info: zipfile.ZipInfo, position: int) -> Member:
    name = info.filename
    if not info.flag_bits & 0x800 and not name.isascii():
        # zipfile decodes names without the UTF-8 flag as code page 437, but macOS writes UTF-8 without the flag.
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    is_plain = kind in (0, stat.S_IFREG) or info.is_dir()
    # Some older Windows tools write backslashes.
    is_encrypted = bool(info.flag_bits & 1)
    return _member(name.replace("\\", "/"), position, info.file_size, is_plain=is_plain, is_closed=is_encrypted)


def _tar_member(info: tarfile.TarInfo, position: int) -> Member:
    # Photos have no holes, and the map of a sparse file is one more thing that could be forged.
    return _member(info.name, position, info.size, is_plain=info.isreg(), is_closed=info.issparse())


def _member(name: str, position: int, size: int, *, is_plain: bool, is_closed: bool) -> Member:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    stays_inside = not name.startswith("/") and ".." not in parts
    has_names = all(len(os.fsencode(part)) <= _LONGEST_NAME and is_file_name(part) for part in parts)
    refused = Reason.UNREADABLE if is_closed else Reason.TOO_LARGE if size > MAX_BYTES else None
    if not (stays_inside and has_names and is_plain):
        refused = Reason.UNSAFE
    return Member(name="/".join(parts) if stays_inside else name, position=position, size=size, refused=refused)
