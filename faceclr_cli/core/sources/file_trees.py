"""The files of a folder or an archive, classified by their names."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import read_bytes
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.films.film_file import is_film
from faceclr_cli.core.sources.archive import Archive, Member
from faceclr_cli.core.sources.containers import is_container
from faceclr_cli.core.sources.output_folders import MARKS
from faceclr_cli.core.text import display_path, is_file_name

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif"}
)
"""Suffixes of files that are treated as photos. HEIC without its decoder is reported, not ignored."""

_COMPANIONS = frozenset(
    {
        ".txt",
        ".text",
        ".md",
        ".rst",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".log",
    }
    | {".html", ".htm", ".pdf", ".xmp", ".aae", ".mat", ".npy", ".npz", ".pkl", ".db", ".lnk", ".url", ".py", ".sh"}
    | {".m", ".ipynb", ".vtt", ".srt", ".md5", ".sha1", ".sha256", ".pts", ".h5", ".sqlite"}
)
"""Suffixes of files that usually accompany photos, such as lists and notes."""

_TEXTS = frozenset({"readme", "license", "copying", "makefile", "changelog", "sha256sums", "md5sums"})
"""Names of files without a suffix that are not photos either."""

_SERVICE_FOLDERS = frozenset(
    {"@eadir", "@tmp", "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "@__thumb", "$recycle.bin"}
    | {"recycler", "system volume information", "lost+found", "files_trashbin", "files_versions", "trash"}
    | {"thumbnails", "thumbs", "_thumbs", "_thumbnails"}
)
"""Folders in which storage systems and photo managers keep thumbnails and deleted files, in lower case."""

_LISTS = (".txt", ".csv")
"""Suffixes of files that may be identity lists."""

_MOST_KINDS = 4
"""Maximum number of file or folder kinds that a notice lists."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The contents of a folder or an archive. All names are relative to it, with forward slashes.

    Attributes:
        root: The folder or archive.
        pictures: Sorted names of files with an image suffix, or that of a film if films are wanted; including pipes,
            devices and broken links in a folder.
        unsafe: Sorted names of archive members with an image suffix that must not be read.
        texts: Names of regular files that end in `.txt` or `.csv`.
        members: Members of an archive by name; empty for a folder.
        notices: Notices for the user, one sentence each.
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
        """Reads one of the files.

        Raises:
            DataError: The file is missing or cannot be read.
        """
        return read_file(self.root / name) if self.archive is None else self.archive.read(name)


@contextmanager
def open_tree(root: Path, *, films: bool = False) -> Iterator[Tree]:
    """Lists a folder or an archive, without hidden files and without folders for thumbnails and deleted files.

    Folders below it that faceclr wrote, such as prepared faces, are skipped too. A folder that is reached a second time
    through a symbolic link is listed once.

    Args:
        root: The folder or archive.
        films: True to list the films of a folder with its pictures.

    Raises:
        DataError: The archive cannot be read.
    """
    if root.is_dir() and not is_container(root):
        yield _list_folder(root, films=films)
        return
    with Archive(root) as archive:
        yield _list_archive(root, archive)


def is_picture(name: str) -> bool:
    """Returns True if a file name has an image suffix."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_companion(name: str) -> bool:
    """Returns True for names of files that often accompany pictures: text, tables, checksums."""
    stem, suffix = os.path.splitext(name.rpartition("/")[2])
    return suffix.lower() in _COMPANIONS or (not suffix and stem.lower() in _TEXTS)


def service_folder(name: str) -> str | None:
    """Returns the outermost folder for thumbnails or deleted files on a path, such as `Ann/@eaDir`, or None."""
    parts = name.split("/")[:-1]
    depth = next((depth for depth, part in enumerate(parts, start=1) if part.lower() in _SERVICE_FOLDERS), None)
    return None if depth is None else "/".join(parts[:depth])


def count_suffixes(names: Iterable[str]) -> str:
    """Counts files by suffix, for a message: `12 .cr3, 1 .jxl, 3 without a suffix`."""
    suffixes = Counter(os.path.splitext(name.rpartition("/")[2])[1].lower() for name in names)
    return _join_counts(
        [(count, display_path(suffix) or "without a suffix") for suffix, count in suffixes.most_common()]
    )


def read_file(path: Path) -> bytes:
    """Reads a regular file. Pipes and devices are refused because reading them may block forever.

    Raises:
        DataError: The file is missing, is not a regular file, or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{display_path(path)}: {Reason.NOT_A_FILE.value}")
    return read_bytes(path)


def leads_out(name: str) -> bool:
    """Returns True if an untrusted path may not be below its folder: absolute, with `..`, empty, or not a path here."""
    path = PurePosixPath(name)
    return not path.parts or path.is_absolute() or ".." in path.parts or not all(map(is_file_name, path.parts))


def _list_folder(root: Path, *, films: bool) -> Tree:
    pictures: list[str] = []
    texts: list[str] = []
    others: list[str] = []
    services: list[str] = []
    outputs: list[str] = []
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
            notices.append(f"{display_path(root / folder)}: skipped, cannot be listed ({error.strerror})")
            continue
        if folder and not MARKS.isdisjoint(entry.name for entry in entries):
            outputs.append(folder)
            continue
        real: list[str] = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            is_real = entry.is_dir(follow_symlinks=False)
            if is_real or (entry.is_symlink() and _kind(entry) == stat.S_IFDIR):
                if entry.name.lower() in _SERVICE_FOLDERS:
                    services.append(name)
                elif is_real:
                    real.append(name)
                else:
                    waiting.append(name)  # after all real folders, so that a folder keeps its own name
            elif is_picture(name) or (films and is_film(name)):
                pictures.append(name)
            elif not is_companion(name):
                others.append(name)
            elif name.lower().endswith(_LISTS) and _kind(entry) == stat.S_IFREG:
                texts.append(name)
        waiting.extendleft(reversed(real))
    return Tree(
        root=root,
        pictures=tuple(sorted(pictures)),
        texts=frozenset(texts),
        notices=(*notices, *_skip_notices(root, services, others, outputs)),
    )


def _kind(entry: os.DirEntry[str]) -> int | None:
    """Returns the file type of an entry or of its link's target; None for a broken or circular link."""
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return None


def _list_archive(root: Path, archive: Archive) -> Tree:
    visible = {member.name: member for member in archive.members() if not _is_hidden(member.name)}
    outputs = _output_folders([member.name for member in archive.members()], [*filter(is_picture, visible)])
    inside = tuple(f"{folder}/" for folder in outputs)
    visible = {name: member for name, member in visible.items() if not name.startswith(inside)}
    members = {name: member for name, member in visible.items() if service_folder(name) is None}
    pictures = sorted(name for name in members if is_picture(name))
    services = {service_folder(name) or "" for name in visible.keys() - members.keys() if is_picture(name)}
    others = [name for name in members if not is_picture(name) and not is_companion(name)]
    notices = [] if archive.flaw is None else [f"{display_path(root)}: {archive.flaw}"]
    if archive.repeated:
        notices.append(
            f"{display_path(root)}: {archive.repeated} of its files have the same name as a later one, which replaces "
            "them"
        )
    return Tree(
        root=root,
        pictures=tuple(name for name in pictures if members[name].refused is not Reason.UNSAFE),
        unsafe=tuple(name for name in pictures if members[name].refused is Reason.UNSAFE),
        texts=frozenset(name for name in members if name.lower().endswith(_LISTS) and members[name].refused is None),
        members=members,
        notices=(*notices, *_skip_notices(root, services, others, outputs)),
        archive=archive,
    )


def _output_folders(names: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """Returns the outermost folders of an archive that faceclr wrote, but not those that contain all its pictures."""
    folders = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in MARKS}
    chosen: list[str] = []
    for folder in sorted(folders - {""}):
        is_within = any(folder.startswith(f"{other}/") for other in chosen)
        if not is_within and not all(name.startswith(f"{folder}/") for name in pictures):
            chosen.append(folder)
    return chosen


def _skip_notices(root: Path, services: Iterable[str], others: Sequence[str], outputs: Sequence[str] = ()) -> list[str]:
    """Describes the files and folders that are skipped."""
    notices = []
    if outputs:
        noun, one = ("folder", "it") if len(outputs) == 1 else ("folders", "one")
        named = ", ".join(map(display_path, outputs[:_MOST_KINDS]))
        more = f" and {len(outputs) - _MOST_KINDS} more" if len(outputs) > _MOST_KINDS else ""
        text = f"{display_path(root)}: skipped {len(outputs)} {noun} that faceclr wrote: {named}{more}"
        # A part of an archive cannot be passed.
        notices.append(f"{text}; pass {one} by itself to read it" if root.is_dir() else text)
    names = Counter(folder.rpartition("/")[2] for folder in services)
    if names:
        listed = _join_counts([(count, display_path(name)) for name, count in names.most_common()])
        notices.append(f"{display_path(root)}: skipped folders for thumbnails or deleted files: {listed}")
    if films := [name for name in others if is_film(name)]:
        others = [name for name in others if not is_film(name)]
        noun = "film" if len(films) == 1 else "films"
        notices.append(
            f"{display_path(root)}: skipped {len(films)} {noun}: {count_suffixes(films)}; faceclr prepare and faceclr "
            "identify read films"
        )
    if others:
        noun = "file" if len(others) == 1 else "files"
        notices.append(
            f"{display_path(root)}: skipped {len(others)} {noun} without an image suffix: {count_suffixes(others)}"
        )
    return notices


def _join_counts(kinds: Sequence[tuple[int, str]]) -> str:
    named = [f"{count} {kind}" for count, kind in kinds[:_MOST_KINDS]]
    rest = sum(count for count, _ in kinds[_MOST_KINDS:])
    return ", ".join([*named, f"{rest} others"] if rest else named)


def _is_hidden(name: str) -> bool:
    # ".." is not a hidden name; it is refused as unsafe.
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
