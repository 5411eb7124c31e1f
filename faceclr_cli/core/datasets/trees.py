"""What files a folder or an archive holds, by their names."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.archive import Archive, Member
from faceclr_cli.core.faces.decode import read_bytes
from faceclr_cli.core.faces.reasons import Reason, shown

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif"}
)
"""Files in folders that count as photographs, in lower case. HEIC does so that nobody misses it silently."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A folder or an archive. All names are relative to it, with forward slashes.

    Attributes:
        root: Which.
        pictures: What is named like a picture, sorted; also pipes, devices and broken links of a folder.
        unsafe: Members of an archive that are named like pictures and must not be read, sorted.
        texts: Regular files that are named `.txt`.
        members: By name, of an archive; of a folder nothing.
        notices: What the user should hear: one sentence each.
        archive: The open archive, or None for a folder.
    """

    root: Path
    pictures: tuple[str, ...]
    unsafe: tuple[str, ...] = ()
    texts: frozenset[str]
    members: Mapping[str, Member] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    archive: Archive | None = None

    def read(self, name: str) -> bytes:
        """The content of one of its files.

        Raises:
            DataError: It is missing or cannot be read.
        """
        return read_file(self.root / name) if self.archive is None else self.archive.read(name)


@contextmanager
def open_tree(root: Path) -> Iterator[Tree]:
    """Lists a folder or an archive. Hidden files are left out.

    In a folder, so are folders that a symbolic link leads to a second time.

    Raises:
        DataError: The archive cannot be read.
    """
    if root.is_dir():
        yield _folder(root)
        return
    with Archive(root) as archive:
        yield _archived(root, archive)


def is_picture(name: str) -> bool:
    """Whether a file is named like a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def read_file(path: Path) -> bytes:
    """Reads a file, but no pipe or device, for which a reader may wait for ever.

    Raises:
        DataError: It is missing or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{shown(path)}: {Reason.NOT_A_FILE.value}")
    return read_bytes(path)


def leads_out(name: str) -> bool:
    """Whether a path that somebody else wrote is none below a folder: absolute, through `..`, or no path at all."""
    path = PurePosixPath(name)
    return not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name


def _folder(root: Path) -> Tree:
    pictures: list[str] = []
    texts: list[str] = []
    notices: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting: deque[str] = deque([""])
    while waiting:
        folder = waiting.popleft()
        try:
            about = os.stat(root / folder)
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            notices.append(f"{shown(root / folder)}: left out, cannot be listed ({error.strerror})")
            continue
        real: list[str] = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                real.append(name)
            elif entry.is_symlink() and _kind(entry) == stat.S_IFDIR:
                waiting.append(name)  # behind all real folders, so that a folder goes by its own name
            elif is_picture(name):
                pictures.append(name)
            elif name.lower().endswith(".txt") and _kind(entry) == stat.S_IFREG:
                texts.append(name)
        waiting.extendleft(reversed(real))
    return Tree(root=root, pictures=tuple(sorted(pictures)), texts=frozenset(texts), notices=tuple(notices))


def _kind(entry: os.DirEntry[str]) -> int | None:
    """What it is, or what its link leads to; None for links that lead nowhere or to themselves."""
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return None


def _archived(root: Path, archive: Archive) -> Tree:
    members = {member.name: member for member in archive.members() if not _is_hidden(member.name)}
    pictures = sorted(name for name in members if is_picture(name))
    return Tree(
        root=root,
        pictures=tuple(name for name in pictures if members[name].refused is not Reason.UNSAFE),
        unsafe=tuple(name for name in pictures if members[name].refused is Reason.UNSAFE),
        texts=frozenset(name for name in members if name.lower().endswith(".txt") and members[name].refused is None),
        members=members,
        notices=() if archive.flaw is None else (f"{shown(root)}: {archive.flaw}",),
        archive=archive,
    )


def _is_hidden(name: str) -> bool:
    # Two dots lead out of the archive, which is another matter.
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
