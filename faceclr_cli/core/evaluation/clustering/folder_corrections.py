"""Corrections that the user made in a folder of groups: moved and deleted links, and renamed folders."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.evaluation.clustering.group_memory import (
    IGNORED,
    GroupMemory,
    RememberedFace,
    RememberedGroup,
)
from faceclr_cli.core.faces.face_folder import UNNAMED
from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.wording import count


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """The memory after the corrections.

    Attributes:
        memory: The groups and faces.
        places: Current path of the link of each face of the memory, relative to the folder; None if it has none.
        folders: New names of folders that were renamed or merged, by their old names.
        taken: Paths of all files in the folder.
        summary: The corrections in words, such as `2 faces moved`.
    """

    memory: GroupMemory
    places: tuple[str | None, ...]
    folders: Mapping[str, str]
    taken: frozenset[str]
    summary: tuple[str, ...]


def read_corrections(out: Path, memory: GroupMemory) -> Corrected:
    """Compares a folder of groups with its memory, and interprets the differences as decisions of the user.

    - A folder with another name: the group has this name.
    - All faces of a group in the folder of another group: the groups are one person.
    - A face in another folder: it belongs there, and not to its former group.
    - A deleted link, or one moved to `_`: the face does not belong to its former group.
    - A deleted folder, or one moved to `_/ignored`: the group is ignored.
    - A deleted link in `_`, or one moved to `_/ignored`: the face is not grouped again.

    Args:
        out: The folder.
        memory: Its memory.
    """
    files = frozenset(_files(out))
    places = _locate(out, memory.faces, files)
    return _Interpreter(memory, places, files).corrected()


def adopt_folder(out: Path) -> GroupMemory:
    """Reads a folder that the user made, with a sub-folder of pictures for each person, as if faceclr had written it.

    Pictures outside of sub-folders and in `_` are ignored.
    """
    groups: dict[str, RememberedGroup] = {}
    faces = []
    for path in _files(out):
        folder, _ = group_folder_of(path)
        if folder:
            number = len(groups) + 1
            group = groups.setdefault(folder, RememberedGroup(number=number, folder=folder, confirmed=True))
            digest = digest_file(out / path)
            faces.append(RememberedFace(path=path, photo=path, sha256=digest, box=None, group=group.number, link=path))
    return GroupMemory(
        groups={group.number: group for group in groups.values()}, faces=tuple(faces), highest=len(groups)
    )


def _files(out: Path) -> Iterator[str]:
    for folder, subfolders, names in os.walk(out):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        inside = Path(folder).relative_to(out).as_posix()
        for name in sorted(names):
            if not name.startswith(".") and is_picture(name):
                yield name if inside == "." else f"{inside}/{name}"


def _locate(out: Path, faces: Sequence[RememberedFace], files: frozenset[str]) -> tuple[str | None, ...]:
    """Finds the link of each face: at its place, else by its name, else by its content if the user renamed it."""
    places: list[str | None] = []
    for face in faces:
        expected = (face.link, face.was) if face.moving else (face.link,)
        places.append(next((path for path in expected if path in files), None))
    free = files - set(places)
    by_name = {PurePosixPath(path).name.lower(): path for path in sorted(free, reverse=True)}
    for number, face in enumerate(faces):
        if places[number] is None and face.link is not None:
            places[number] = by_name.pop(PurePosixPath(face.link).name.lower(), None)
    lost = [number for number, face in enumerate(faces) if places[number] is None and face.link is not None]
    unknown = sorted(free - set(places))
    if not lost or not unknown:
        return tuple(places)
    found: dict[str, list[str]] = defaultdict(list)
    for path in unknown:
        found[digest_file(out / path)].append(path)
    shared = Counter(faces[number].sha256 for number in lost)
    for number in lost:
        # The content of a photograph does not distinguish its faces.
        if shared[faces[number].sha256] == 1 and found[faces[number].sha256]:
            places[number] = found[faces[number].sha256][0]
    return tuple(places)


def group_folder_of(path: str) -> tuple[str, bool]:
    """Returns the group folder of a link, empty for single faces; and True if it is ignored."""
    folder = str(PurePosixPath(path).parent)
    if folder == IGNORED or folder.startswith(f"{IGNORED}/"):
        return folder[len(IGNORED) + 1 :], True
    return ("" if folder in (".", UNNAMED) or folder.startswith(f"{UNNAMED}/") else folder), False


class _Interpreter:
    """Interprets the places of links. Groups are changed first, then single faces."""

    def __init__(self, memory: GroupMemory, places: tuple[str | None, ...], files: frozenset[str]) -> None:
        self._memory, self._places, self._files = memory, places, files
        self._groups = dict(memory.groups)
        self._highest = memory.highest
        self._merged: dict[int, int] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def corrected(self) -> Corrected:
        members = defaultdict[int, list[int]](list)
        for row, face in enumerate(self._memory.faces):
            if face.group is not None and face.link is not None:
                members[face.group].append(row)
        for number, rows in members.items():
            if not any(self._is_untouched(row) for row in rows):
                self._interpret_group(number, [self._places[row] for row in rows])
        faces = tuple(self._face(row) for row in range(len(self._places)))
        folders = {g.folder: self._groups[self._merged.get(n, n)].folder for n, g in self._memory.groups.items()}
        memory = GroupMemory(
            groups={number: group for number, group in self._groups.items() if number not in self._merged},
            faces=faces,
            faceless={p: link if link in self._files else None for p, link in self._memory.faceless.items()},
            highest=self._highest,
        )
        folders = {old: new for old, new in folders.items() if old != new}
        return Corrected(
            memory=memory.renamed(folders),
            places=self._places,
            folders=folders,
            taken=self._files,
            summary=tuple(f"{count(number, what)} {done}" for (what, done), number in self._counts.items()),
        )

    def _is_untouched(self, row: int) -> bool:
        """Returns True if the link is where a run put it, or would have put it if the run had not been killed."""
        face, place = self._memory.faces[row], self._places[row]
        return place in ((face.link, face.was) if face.moving else (face.link,))

    def _interpret_group(self, number: int, places: Sequence[str | None]) -> None:
        """Renames, merges or ignores a group whose folder is empty or gone."""
        group = self._groups[number]
        targets = Counter(group_folder_of(place) for place in places if place is not None)
        if not targets:
            if not group.ignored:
                self._groups[number] = replace(group, ignored=True)
                self._counts["group", "ignored"] += 1
            return
        folder, ignored = max(targets, key=lambda target: (bool(target[0]), targets[target]))
        if not folder:
            return  # The user took out all faces.
        other = self._find_group(folder)
        if other is not None and other.number != number:
            self._merged = {n: other.number if into == number else into for n, into in self._merged.items()}
            self._merged[number] = other.number
            self._groups[other.number] = replace(other, confirmed=True, ignored=ignored)
            self._counts["group", "merged"] += 1
            return
        self._groups[number] = replace(group, folder=folder, ignored=ignored)
        done = "renamed" if ignored == group.ignored else "ignored" if ignored else "no longer ignored"
        self._counts["group", done] += 1

    def _face(self, row: int) -> RememberedFace:
        face, place = self._memory.faces[row], self._places[row]
        former = face.group
        if former is not None:
            face = replace(face, group=self._merged.get(former, former))
        if face.link is None or self._is_untouched(row):
            return face
        own = None if face.group is None else self._groups[face.group]
        if place is None:
            if former is not None and own is not None and own.ignored:
                # The user deleted the folder: of a group, to ignore it; of an ignored group, to hide it.
                return replace(face, removed=True, link=None) if self._memory.groups[former].ignored else face
            return self._taken_out(face, own)
        folder, ignored = group_folder_of(place)
        if own is not None and (folder, ignored) == (own.folder, own.ignored):
            return replace(face, link=place)
        if folder:
            return self._moved(face, own, folder, ignored=ignored)
        if ignored:
            self._counts["face", "ignored"] += 1
            return replace(face, group=None, removed=True, link=place)
        return replace(face, link=place, removed=False) if own is None else self._taken_out(face, own)

    def _taken_out(self, face: RememberedFace, own: RememberedGroup | None) -> RememberedFace:
        if own is None:
            self._counts["face", "removed"] += 1
            return replace(face, removed=True, link=None)
        self._confirm(own.number)
        self._counts["face", "taken out"] += 1
        return replace(face, group=None, apart=tuple(sorted({*face.apart, own.folder})))

    def _moved(
        self, face: RememberedFace, own: RememberedGroup | None, folder: str, *, ignored: bool
    ) -> RememberedFace:
        target = self._find_group(folder)
        if target is None:
            self._highest += 1
            target = RememberedGroup(number=self._highest, folder=folder, ignored=ignored)
            self._groups[target.number] = target
        self._confirm(target.number)
        self._counts["face", "moved"] += 1
        left = set[str]()
        if own is not None:
            self._confirm(own.number)
            left = {own.folder}
        apart = tuple(sorted((set(face.apart) | left) - {folder}))
        return replace(face, group=target.number, apart=apart, removed=False)

    def _confirm(self, number: int) -> None:
        self._groups[number] = replace(self._groups[number], confirmed=True)

    def _find_group(self, folder: str) -> RememberedGroup | None:
        each = (group for number, group in self._groups.items() if number not in self._merged)
        return next((group for group in each if group.folder == folder), None)
