"""The photos of a source and the people in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.face_folder import require_no_split
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.films.film_file import Piece
from faceclr_cli.core.sources import layout_signs as signs
from faceclr_cli.core.sources.archive import Archive, is_archive
from faceclr_cli.core.sources.file_trees import Tree, count_suffixes, is_companion, open_tree, read_file, service_folder
from faceclr_cli.core.sources.folder_levels import PersonFolders, find_person_folders
from faceclr_cli.core.sources.identities import is_lfw, part_by_folder, people_by_file, people_by_parent
from faceclr_cli.core.sources.lists import find_listed, read_identities, read_parts, read_paths
from faceclr_cli.core.text import display_path

Layout = Literal["identities", "celeba", "list", "lfw", "flat"]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo of a source.

    Attributes:
        path: The file, or the archive that contains it.
        identity: The name of the person, or None if unknown.
        name: Path relative to the source, with forward slashes: unique, and the same on any machine. For an archive
            the member's name, and for standard input the path as given.
        part: `train`, `val` or `test` if the source comes with a split.
        member: Name in the archive, if any.
        position: Rank in the archive, in which reading is fastest.
        size: Size in bytes according to the archive's directory.
        refused: Why the photo must not be opened, or None.
        piece: The part of the film, if this is one.
    """

    path: Path
    identity: str | None
    name: str
    part: str | None = None
    member: str | None = None
    position: int = 0
    size: int | None = None
    refused: Reason | None = None
    piece: Piece | None = None


@dataclass(frozen=True)
class Remark:
    """A note about a source for the user: one sentence.

    Attributes:
        text: The observation.
        advice: What to do if this is not intended, in terms of the options of `find_photos`.
    """

    text: str
    advice: str | None = None


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The photos of a source, ordered by name.

    Attributes:
        layout: How people are identified; `flat` also for a single file.
        photos: All photos.
        remarks: Notes for the user.
        is_complete: False if there may be other photos, as with a list on standard input.
    """

    layout: Layout
    photos: tuple[Photo, ...]
    remarks: tuple[Remark, ...] = ()
    is_complete: bool = True

    @property
    def notices(self) -> tuple[str, ...]:
        """The remarks, for a command that has the options `--layout` and `--depth`."""
        return tuple(f"{remark.text}; {remark.advice}" if remark.advice else remark.text for remark in self.remarks)

    @property
    def plain_notices(self) -> tuple[str, ...]:
        """The remarks, for a command that lacks these options and does not need identities."""
        return tuple(remark.text for remark in self.remarks if remark.advice is None or self.layout != "flat")


def find_photos(
    source: Path,
    layout: Layout | Literal["auto"] = "auto",
    *,
    null: bool = False,
    depth: int | None = None,
    lenient: bool = False,
    films: bool = False,
) -> Photos:
    """Lists the photos of a folder, a zip or tar archive, a list of files, or a single file.

    Layouts:

    - `identities`: one folder per person, at any depth; see `find_person_folders`.
    - `celeba`: `img_align_celeba/` or `img_celeba/` beside `identity_CelebA.txt`.
    - `list`: pictures anywhere below `identities.txt` or a similar file with lines of 'file identity'.
    - `lfw`: `<person>_0001.jpg`.
    - `flat`: pictures without identities.

    Skipped are hidden files, other files, folders for thumbnails and deleted files, folders that faceclr wrote, and
    folders that a symbolic link reaches a second time.

    Args:
        source: A folder, an archive, an identity list, a picture, or `-` for paths on standard input.
        layout: The layout; `auto` detects it.
        null: True if paths on standard input end with NUL.
        depth: The depth of the folders that are people, if known; 1 is the outermost.
        lenient: True if `auto` lists pictures without identities when there is not exactly one identity list.
        films: True to list the films of a folder with its pictures.

    Raises:
        DataError: The source does not exist, has no pictures, or is a split, or its identity list is malformed.
        ConfigError: The source does not have the given layout.
    """
    if source == STANDARD_INPUT:
        return _from_paths(read_paths(sys.stdin.buffer.read(), null=null), layout)
    try:
        source.stat()
    except FileNotFoundError:
        raise DataError(f"{display_path(source)}: no such file or folder") from None
    except OSError as error:
        raise DataError(f"{display_path(source)}: cannot be read ({error.strerror})") from error
    if source.is_dir():
        require_no_split(source)
    if source.is_dir() or is_archive(source):
        with open_tree(source, films=films) as tree:
            return _from_tree(tree, layout, depth, lenient=lenient)
    if source.is_file() and (layout in ("celeba", "list") or (layout == "auto" and signs.is_list(source.name))):
        root = signs.root_of(source)
        with open_tree(root) as tree:
            return _from_list(tree, layout, source.relative_to(root).as_posix())
    return Photos(layout="flat", photos=(Photo(path=source, identity=None, name=source.name),))


@contextmanager
def photo_reader(source: Path) -> Iterator[Callable[[str], bytes]]:
    """Opens a source and yields a function that reads the content of a photo by its `Photo.name`.

    The function raises a DataError if the photo is missing or cannot be read.

    Args:
        source: As for `find_photos`.
    """
    if is_archive(source):
        with Archive(source) as archive:
            yield archive.read
        return

    def read(name: str) -> bytes:
        if source == STANDARD_INPUT:
            return read_file(Path(name))
        if source.is_dir():
            return read_file(source / name)
        return read_file(source if name == source.name else signs.root_of(source) / name)

    yield read


def _from_paths(paths: Sequence[str], layout: Layout | Literal["auto"]) -> Photos:
    if not paths:
        raise DataError("standard input: the list of paths is empty")
    if layout in ("celeba", "list"):
        raise ConfigError(
            f"standard input: --layout {layout} does not apply to a list of paths; use identities, lfw or flat"
        )
    paths, left_out = _select_files(paths)
    identities: list[str | None] = [None] * len(paths)
    if layout == "identities":
        # For a relative path, the parent folder may be the working directory.
        identities = people_by_parent([os.path.normpath(Path.cwd() / path) for path in paths])
    elif layout == "lfw":
        identities = people_by_file(paths)
    photos = (
        Photo(path=Path(path), identity=identity, name=path) for path, identity in zip(paths, identities, strict=True)
    )
    unnamed = Remark("a list of paths does not identify people", "use --layout identities if each folder is one person")
    return Photos(
        layout="flat" if layout == "auto" else layout,
        photos=tuple(photos),
        remarks=(*map(Remark, left_out), *([unnamed] if layout == "auto" else ())),
        is_complete=False,
    )


def _select_files(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the sorted paths that may be photos, and notices about the paths."""
    folders = {path for path in paths if Path(path).is_dir()}
    companions = {path for path in paths if is_companion(path)} - folders
    files = sorted(set(paths) - folders - companions)
    notices = []
    if folders:
        notices.append(
            f"skipped {len(folders)} of the paths: folders, such as {display_path(min(folders))}; list the files in "
            "them (find -type f), or pass one folder as PHOTOS"
        )
    if companions:
        notices.append(f"skipped {len(companions)} of the paths without an image suffix: {count_suffixes(companions)}")
    services = [path for path in files if service_folder(path) is not None]
    if services:
        notices.append(
            f"{len(services)} of the paths are in folders for thumbnails or deleted files, such as "
            f"{display_path(services[0])}; they are included because the list names them"
        )
    if not files:
        raise DataError(f"standard input: the list of paths contains no pictures; {'; '.join(notices)}")
    return files, notices


def _from_tree(tree: Tree, layout: Layout | Literal["auto"], depth: int | None, *, lenient: bool) -> Photos:
    if not tree.pictures and not tree.unsafe:
        kind = "folder" if tree.archive is None else "archive"
        rest = "".join(f"; {notice.removeprefix(f'{display_path(tree.root)}: ')}" for notice in tree.notices)
        raise DataError(
            f"{display_path(tree.root)}: no pictures in this {kind} (looked for .jpg, .png, .webp and the like){rest}"
        )
    found = (_detect_layout(tree) if depth is None else "identities") if layout == "auto" else layout
    remarks = []
    if found in ("celeba", "list"):
        is_celeba = found == "celeba"
        problem = signs.list_problem(tree, celeba=is_celeba) if lenient and layout == "auto" else None
        if problem is None:
            return _from_list(tree, found, signs.require_celeba(tree) if is_celeba else signs.require_list(tree))
        found, remarks = "flat", [Remark(f"{problem}, so the pictures have no identities")]
    people: Sequence[str | None] = [None] * len(tree.pictures)
    if found == "identities":
        folders = find_person_folders(_names_for_folders(tree), depth)
        if not any(folders.people) and depth is not None:
            raise ConfigError(f"{display_path(tree.root)}: --depth {depth}: no folder at this depth contains pictures")
        if layout == "auto" and depth is None and folders.is_doubtful:
            found = "flat"
        else:
            people = folders.people
        remarks = _folder_remarks(folders, is_flat=found == "flat", is_certain=depth is not None)
    elif found == "lfw":
        people = people_by_file(tree.pictures)
        if tree.pictures and not any(people):
            raise ConfigError(
                f"{display_path(tree.root)}: no picture is named as in LFW, for example Ann_Lee_0001.jpg; "
                "choose another --layout"
            )
    if layout == "auto" and found == "flat" and signs.wrapper(tree):
        remarks.append(
            Remark(
                f"{display_path(signs.wrapper(tree))} has the name of the archive and is not treated as a person",
                "use --layout identities if it is one",
            )
        )
    identities = dict(zip(tree.pictures, people, strict=True))
    parts = _parts(tree, identities) | (_listed_parts(tree, tree.pictures, "") if found == "flat" else {})
    return _build_photos(tree, found, identities, parts, remarks)


def _folder_remarks(folders: PersonFolders, *, is_flat: bool, is_certain: bool) -> list[Remark]:
    if is_flat:
        example = display_path(folders.names[folders.depth - 1][0])
        return [
            Remark(
                f"folders such as {example} are not named like people, so the pictures have no identities",
                "use --depth N if the folders at depth N are people",
            )
        ]
    remarks = []
    if folders.rivals and not is_certain:
        chosen, *others = [
            f"depth {depth} ({len(folders.names[depth - 1])} folders, such as "
            f"{display_path(folders.names[depth - 1][0])})"
            for depth in (folders.depth, *folders.rivals)
        ]
        remarks.append(
            Remark(
                f"the folders at {chosen} are treated as people, not those at {' or '.join(others)}",
                "use --depth N to choose another depth",
            )
        )
    if folders.above:
        count = len(folders.above)
        subject = "1 picture" if count == 1 else f"{count} pictures"
        have = "has" if count == 1 else "have"
        example = display_path(folders.above[0])
        remarks.append(Remark(f"{subject} above the folders of people {have} no identity: {example}"))
    return remarks


def _from_list(tree: Tree, layout: Layout | Literal["auto"], listing: str) -> Photos:
    name = PurePosixPath(listing).name
    if layout == "auto":
        layout = "celeba" if signs.celeba_pictures(tree) and name == signs.CELEBA_LIST else "list"
    if layout == "celeba":
        folder = signs.require_celeba_pictures(tree)
    else:
        above = signs.root_of(PurePosixPath(listing)).as_posix()
        folder = "" if above == "." else f"{above}/"
    names = [picture for picture in tree.pictures if picture.startswith(folder)]
    if not names:
        raise DataError(f"{display_path(tree.root / folder)}: no pictures in this folder")
    listed = read_identities(tree.read(listing), display_path(tree.root / listing))
    found = find_listed(listed, names, folder)
    if not found.words:
        raise DataError(f"{display_path(tree.root / listing)}: none of the {len(listed)} listed pictures was found")
    notices = []
    if found.absent:
        notices.append(f"{found.absent} of the {len(listed)} pictures listed in {display_path(name)} were not found")
    if found.unclear:
        notices.append(
            f"{found.unclear} of the names in {display_path(name)} match several pictures each; add their folders"
        )
    identities = {picture: found.words.get(picture) for picture in names}
    return _build_photos(
        tree,
        layout,
        identities,
        _parts(tree, identities) | _listed_parts(tree, names, folder),
        list(map(Remark, notices)),
    )


def _listed_parts(tree: Tree, names: Sequence[str], folder: str) -> dict[str, str]:
    listing = signs.celeba_parts(tree)
    if listing is None:
        return {}
    return find_listed(read_parts(tree.read(listing), display_path(tree.root / listing)), names, folder).words


def _detect_layout(tree: Tree) -> Layout:
    """Detects the layout by the strongest sign."""
    if signs.identity_lists(tree):
        return "celeba" if signs.celeba_pictures(tree) and signs.celeba_list(tree) else "list"
    if signs.celeba_pictures(tree):
        return "celeba"  # the missing list is reported later
    if tree.pictures and is_lfw(tree.pictures):
        return "lfw"
    around = len(signs.wrapper(tree))
    return "identities" if any("/" in name[around:] for name in tree.pictures) else "flat"


def _names_for_folders(tree: Tree) -> Sequence[str]:
    around = len(signs.wrapper(tree))
    inside = [name[around:] for name in tree.pictures]
    for names in (inside, tree.pictures):
        if not names or any("/" in name for name in names):
            return names
    raise ConfigError(f"{display_path(tree.root)}: contains no folders of people; use --layout flat")


def _parts(tree: Tree, identities: Mapping[str, str | None]) -> dict[str, str]:
    parts = {}
    for top in {0, len(signs.single_folder(tree))}:
        for name, identity in identities.items():
            part = part_by_folder(name[top:], identity)
            if part is not None:
                parts[name] = part
    return parts


def _build_photos(
    tree: Tree,
    layout: Layout,
    identities: Mapping[str, str | None],
    parts: Mapping[str, str],
    remarks: Sequence[Remark],
) -> Photos:
    if tree.archive is None:
        photos = [
            Photo(path=tree.root / name, identity=identities[name], name=name, part=parts.get(name))
            for name in identities
        ]
    else:
        names = sorted([*identities, *tree.unsafe])
        photos = [_archive_photo(tree, name, identities.get(name), parts.get(name)) for name in names]
    return Photos(layout=layout, photos=tuple(photos), remarks=(*map(Remark, tree.notices), *remarks))


def _archive_photo(tree: Tree, name: str, identity: str | None, part: str | None) -> Photo:
    member = tree.members[name]
    return Photo(
        path=tree.root,
        identity=identity,
        name=name,
        part=part,
        member=name,
        position=member.position,
        size=member.size,
        refused=member.refused,
    )
