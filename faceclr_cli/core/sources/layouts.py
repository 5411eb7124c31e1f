"""Which photographs a source holds, and who is in them."""

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
from faceclr_cli.core.sources import layout_signs as signs
from faceclr_cli.core.sources.archive import Archive, is_archive
from faceclr_cli.core.sources.file_trees import Tree, by_suffix, is_companion, open_tree, read_file, service_folder
from faceclr_cli.core.sources.folder_levels import Division, by_folder
from faceclr_cli.core.sources.identities import by_file, by_parent, is_lfw, part_by_folder
from faceclr_cli.core.sources.lists import find_listed, read_identities, read_parts, read_paths
from faceclr_cli.core.text import display_path

Layout = Literal["identities", "celeba", "list", "lfw", "flat"]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photograph of a source.

    Attributes:
        path: The file, or the archive that it is in.
        identity: The name of its person, or None where nobody knows.
        name: Its path relative to the source, with forward slashes: unique, and the same on any machine. In an archive
            the member's name, and from standard input the path as it was given.
        part: `train`, `val` or `test` where the source divides its photographs itself.
        member: Its name in the archive, if it is in one.
        position: Its rank in the archive; reading in this order is cheapest.
        size: Bytes, where an archive's directory says so.
        refused: Why it must not even be opened.
    """

    path: Path
    identity: str | None
    name: str
    part: str | None = None
    member: str | None = None
    position: int = 0
    size: int | None = None
    refused: Reason | None = None


@dataclass(frozen=True)
class Remark:
    """What the user should hear of a source: one sentence.

    Attributes:
        text: What is so.
        advice: What to do where that is not as it was meant, by options of `find_photos`.
    """

    text: str
    advice: str | None = None


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The photographs of a source, ordered by name.

    Attributes:
        layout: How people are told apart; `flat` also for a single file.
        photos: All of them.
        remarks: What the user should hear.
        is_complete: Whether these are all that there are. A list on standard input may be a part of them.
    """

    layout: Layout
    photos: tuple[Photo, ...]
    remarks: tuple[Remark, ...] = ()
    is_complete: bool = True

    @property
    def notices(self) -> tuple[str, ...]:
        """The remarks, for a command with the options `--layout` and `--depth`."""
        return tuple(f"{remark.text}; {remark.advice}" if remark.advice else remark.text for remark in self.remarks)

    @property
    def plain_notices(self) -> tuple[str, ...]:
        """The remarks for a command without these options, which does without people where there are none."""
        return tuple(remark.text for remark in self.remarks if remark.advice is None or self.layout != "flat")


def find_photos(
    source: Path, layout: Layout | Literal["auto"] = "auto", *, null: bool = False, depth: int | None = None
) -> Photos:
    """Lists the photographs of a folder or of a zip or tar archive, those that a list names, or a single file as it is.

    - `identities`: a folder for each person, anywhere on the way to the picture; see `levels.by_folder`.
    - `celeba`: `img_align_celeba/` or `img_celeba/` beside `identity_CelebA.txt`.
    - `list`: pictures anywhere below `identities.txt` or the like, with lines of 'file identity'.
    - `lfw`: `<person>_0001.jpg`.
    - `flat`: pictures of nobody knows whom.

    Hidden files, other files than pictures, folders for thumbnails and deleted files (`@eaDir`, `#recycle`), and
    folders that a symbolic link leads to a second time are left out.

    Args:
        source: A folder, an archive, a list of the layout `list`, a picture, or `-` for paths on standard input.
        layout: `auto` looks which it is.
        null: Whether paths on standard input end with NUL.
        depth: Which folder on the way to a picture is its person's, where that is known; 1 is the first.

    Raises:
        DataError: There is no such source, it holds no pictures, it is a split, or its list of identities is malformed.
        ConfigError: The source is not laid out as said.
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
        with open_tree(source) as tree:
            return _from_tree(tree, layout, depth)
    if source.is_file() and (layout in ("celeba", "list") or (layout == "auto" and signs.is_list(source.name))):
        root = signs.root_of(source)
        with open_tree(root) as tree:
            return _from_list(tree, layout, source.relative_to(root).as_posix())
    return Photos(layout="flat", photos=(Photo(path=source, identity=None, name=source.name),))


@contextmanager
def describe_layout(source: Path) -> Iterator[Callable[[str], bytes]]:
    """Gives a function from the names of photographs, as `find_photos` called them, to their content.

    It raises a DataError for one that is gone or cannot be read.

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
        raise ConfigError(f"standard input: paths alone have no layout {layout}; try --layout identities, lfw or flat")
    paths, left_out = _files_of(paths)
    identities: list[str | None] = [None] * len(paths)
    if layout == "identities":
        # A path may be relative, and then the name of its folder is not in it.
        identities = by_parent([os.path.normpath(Path.cwd() / path) for path in paths])
    elif layout == "lfw":
        identities = by_file(paths)
    photos = (
        Photo(path=Path(path), identity=identity, name=path) for path, identity in zip(paths, identities, strict=True)
    )
    unnamed = Remark(
        "a list of paths does not say who is who", "--layout identities takes each picture's folder as its person"
    )
    return Photos(
        layout="flat" if layout == "auto" else layout,
        photos=tuple(photos),
        remarks=(*map(Remark, left_out), *([unnamed] if layout == "auto" else ())),
        is_complete=False,
    )


def _files_of(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The paths of a list that may be photographs, sorted, and what is to be said of the others and of these."""
    folders = {path for path in paths if Path(path).is_dir()}
    companions = {path for path in paths if is_companion(path)} - folders
    files = sorted(set(paths) - folders - companions)
    notices = []
    if folders:
        notices.append(
            f"{len(folders)} of the paths are folders, such as {display_path(min(folders))}, and left out; "
            "list the files "
            "in them (find -type f), or give one folder as PHOTOS"
        )
    if companions:
        notices.append(
            f"{len(companions)} of the paths are not named like pictures and left out: {by_suffix(companions)}"
        )
    services = [path for path in files if service_folder(path) is not None]
    if services:
        notices.append(
            f"{len(services)} of the paths are in folders that are for thumbnails or deleted files, such as "
            f"{display_path(services[0])}; they are taken, as the list names them"
        )
    if not files:
        raise DataError(f"standard input: the list of paths names no pictures; {'; '.join(notices)}")
    return files, notices


def _from_tree(tree: Tree, layout: Layout | Literal["auto"], depth: int | None) -> Photos:
    if not tree.pictures and not tree.unsafe:
        kind = "folder" if tree.archive is None else "archive"
        left_out = "".join(f"; {notice.removeprefix(f'{display_path(tree.root)}: ')}" for notice in tree.notices)
        raise DataError(
            f"{display_path(tree.root)}: no pictures in this {kind} (looked for .jpg, .png, .webp and the "
            f"like){left_out}"
        )
    found = (_look(tree) if depth is None else "identities") if layout == "auto" else layout
    if found in ("celeba", "list"):
        return _from_list(tree, found, signs.require_celeba(tree) if found == "celeba" else signs.require_list(tree))
    people: Sequence[str | None] = [None] * len(tree.pictures)
    remarks = []
    if found == "identities":
        division = by_folder(_to_divide(tree), depth)
        if not any(division.people) and depth is not None:
            raise ConfigError(
                f"{display_path(tree.root)}: --depth {depth}: there are no folders so deep that hold pictures"
            )
        if layout == "auto" and depth is None and division.is_doubtful:
            found = "flat"
        else:
            people = division.people
        remarks = _doubts(division, is_flat=found == "flat", is_certain=depth is not None)
    elif found == "lfw":
        people = by_file(tree.pictures)
        if tree.pictures and not any(people):
            raise ConfigError(f"{display_path(tree.root)}: no picture is called like LFW's, such as Ann_Lee_0001.jpg")
    if layout == "auto" and found == "flat" and signs.wrapper(tree):
        remarks.append(
            Remark(
                f"{display_path(signs.wrapper(tree))} is not taken for a person, as the archive has that name too",
                "--layout identities does so",
            )
        )
    who = dict(zip(tree.pictures, people, strict=True))
    parts = _parts(tree, who)
    if found == "flat":
        parts |= _listed_parts(tree, tree.pictures, "")
    return _gather(tree, found, who, parts, remarks)


def _doubts(division: Division, *, is_flat: bool, is_certain: bool) -> list[Remark]:
    """What is not plain about the folders of people, in words."""
    if is_flat:
        example = display_path(division.names[division.depth - 1][0])
        return [
            Remark(
                f"folders such as {example} are not called like people, so it is not known who is in the pictures",
                "--depth N takes those at depth N for people",
            )
        ]
    remarks = []
    if division.rivals and not is_certain:
        chosen, *others = [
            f"depth {depth} ({len(division.names[depth - 1])} folders, such as "
            f"{display_path(division.names[depth - 1][0])})"
            for depth in (division.depth, *division.rivals)
        ]
        remarks.append(
            Remark(
                f"the folders at {chosen} are taken for people, not those at {' or '.join(others)}",
                "--depth N says which are people",
            )
        )
    if division.above:
        lie = "1 picture lies" if len(division.above) == 1 else f"{len(division.above)} pictures lie"
        example = display_path(division.above[0])
        remarks.append(Remark(f"{lie} above the folders of people, such as {example}: it is not known who is in them"))
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
        raise DataError(
            f"{display_path(tree.root / listing)}: none of the {len(listed)} pictures that it lists is here"
        )
    notices = []
    if found.absent:
        notices.append(f"{found.absent} of the {len(listed)} pictures that {display_path(name)} lists are not here")
    if found.unclear:
        notices.append(
            f"{found.unclear} of the names in {display_path(name)} fit several pictures each; add their folders"
        )
    who = {picture: found.words.get(picture) for picture in names}
    return _gather(
        tree, layout, who, _parts(tree, who) | _listed_parts(tree, names, folder), list(map(Remark, notices))
    )


def _listed_parts(tree: Tree, names: Sequence[str], folder: str) -> dict[str, str]:
    """The parts that CelebA's list names, if it is here."""
    listing = signs.celeba_parts(tree)
    if listing is None:
        return {}
    return find_listed(read_parts(tree.read(listing), display_path(tree.root / listing)), names, folder).words


def _look(tree: Tree) -> Layout:
    """Which layout it is, by the most telling sign."""
    if signs.identity_lists(tree):
        return "celeba" if signs.celeba_pictures(tree) and signs.celeba_list(tree) else "list"
    if signs.celeba_pictures(tree):
        return "celeba"  # without its list, which is then asked for
    if tree.pictures and is_lfw(tree.pictures):
        return "lfw"
    around = len(signs.wrapper(tree))
    return "identities" if any("/" in name[around:] for name in tree.pictures) else "flat"


def _to_divide(tree: Tree) -> Sequence[str]:
    """The names of the pictures, from where folders of people begin."""
    around = len(signs.wrapper(tree))
    inside = [name[around:] for name in tree.pictures]
    for names in (inside, tree.pictures):
        if not names or any("/" in name for name in names):
            return names
    raise ConfigError(f"{display_path(tree.root)}: holds no folders of people; try --layout flat")


def _parts(tree: Tree, who: Mapping[str, str | None]) -> dict[str, str]:
    parts = {}
    for top in {0, len(signs.own_folder(tree))}:
        for name, identity in who.items():
            part = part_by_folder(name[top:], identity)
            if part is not None:
                parts[name] = part
    return parts


def _gather(
    tree: Tree, layout: Layout, who: Mapping[str, str | None], parts: Mapping[str, str], remarks: Sequence[Remark]
) -> Photos:
    if tree.archive is None:
        photos = [Photo(path=tree.root / name, identity=who[name], name=name, part=parts.get(name)) for name in who]
    else:
        names = sorted([*who, *tree.unsafe])
        photos = [_in_archive(tree, name, who.get(name), parts.get(name)) for name in names]
    return Photos(layout=layout, photos=tuple(photos), remarks=(*map(Remark, tree.notices), *remarks))


def _in_archive(tree: Tree, name: str, identity: str | None, part: str | None) -> Photo:
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
