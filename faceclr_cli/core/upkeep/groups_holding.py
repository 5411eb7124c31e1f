"""Removal of people from groups of `cluster -o`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import atomic_path, exclusive, read_json, write_json
from faceclr_cli.core.datasets.splitting.split import summarize_part
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.clustering.group_memory import (
    MEMORY,
    GroupMemory,
    RememberedFace,
    read_memory,
    write_memory,
)
from faceclr_cli.core.evaluation.clustering.review import PAGE, SHEET
from faceclr_cli.core.evaluation.clustering.review_questions import QUESTIONS
from faceclr_cli.core.faces.face_folder import DESCRIPTION as FACES
from faceclr_cli.core.sources.folder_levels import find_person_folders
from faceclr_cli.core.sources.identities import people_by_file
from faceclr_cli.core.text import canonical, display_path
from faceclr_cli.core.upkeep.holdings import Count

GROUPS, GROUPED = "cluster.json", "faces.jsonl"


@dataclass(frozen=True)
class _Entry:
    """A picture of a group.

    Attributes:
        path: The path of the picture, whose folders may be the name of a person.
        group: The name of the group's folder, if it has one.
        link: The link to the picture, or None.
    """

    path: str
    group: str | None
    link: str | None


class GroupsHolding:
    """Groups of `cluster -o`: links to pictures, a line for each face, and the memory.

    A picture belongs to a person if its path contains the name, or if the user gave the name to its group.
    """

    kind = "groups"

    def __init__(self, path: Path) -> None:
        self.path = path

    def people(self) -> set[str]:
        """The people in the paths of the pictures, and the names of groups."""
        return set().union(*self._owners(self._entries(self._rows(), self._memory)).values())

    def count(self, identity: str) -> Count:
        """Counts faces, and central pictures of groups that no longer belong to a face."""
        entries = self._entries(self._rows(), self._memory)
        owners = self._owners(entries)
        theirs = sum(identity in owners[entry] for entry in entries)
        return Count(theirs, len(entries) - theirs)

    def remove(self, identity: str) -> None:
        """Removes the links first and the lines with their paths last, so that it can be continued.

        Raises:
            DataError: An earlier version without links wrote the groups.
        """
        with exclusive(self.path):
            rows, memory, content = self._rows(), self._memory, read_json(self.path / GROUPS)
            entries = self._entries(rows, memory)
            owners = self._owners(entries)
            theirs = {entry for entry in entries if identity in owners[entry]}
            # The rows are the first entries.
            kept = [row for row, entry in zip(rows, entries, strict=False) if entry not in theirs]
            if any("link" not in row for row, entry in zip(rows, entries, strict=False) if entry in theirs):
                raise DataError(
                    f"{display_path(self.path / GROUPED)}: written by an earlier version without links; remove the "
                    "folder and run cluster again"
                )
            for entry in theirs:
                if entry.link is not None:
                    (self.path / entry.link).unlink(missing_ok=True)
            if theirs:
                # Questions contain names of groups and show faces. The next run asks them again.
                for name in (QUESTIONS, SHEET, PAGE):
                    (self.path / name).unlink(missing_ok=True)
            paths = {entry.path for entry in theirs}
            if (self.path / MEMORY).is_file():
                about = {name: read_json(self.path / MEMORY)[name] for name in ("kind", "faceclr", "config")}
                write_memory(self.path, about, _memory_without(memory, identity, theirs))
            write_json(self.path / GROUPS, self._summary_without(content, kept, paths))
            if (self.path / FACES).is_file():
                self._describe(kept)
            with atomic_path(self.path / GROUPED) as temporary, open(temporary, "w", encoding="ascii") as file:
                file.writelines(json.dumps(row) + "\n" for row in kept)

    def _summary_without(
        self, content: dict[str, Any], kept: Sequence[Mapping[str, Any]], theirs: set[str]
    ) -> dict[str, Any]:
        """Returns the description without a person. If a group loses its central picture, its first one replaces it."""
        groups = []
        for group in content["groups"]:
            members = [row for row in kept if row["group"] == group["group"]]
            if members:
                first = {"central": members[0]["path"], "face": members[0]["face"]}
                groups.append(group | {"faces": len(members)} | (first if group["central"] in theirs else {}))
        singles = sum(row["group"] is None for row in kept)
        return content | {"groups": groups, "faces": len(kept), "singles": singles}

    def _describe(self, kept: Sequence[Mapping[str, Any]]) -> None:
        people = (None if row["group"] is None else str(row["group"]) for row in kept)
        summary = asdict(summarize_part([row["path"] for row in kept], people))
        write_json(self.path / FACES, read_json(self.path / FACES) | summary)

    def _rows(self) -> list[dict[str, Any]]:
        with open(self.path / GROUPED, encoding="ascii") as lines:
            return [json.loads(line) for line in lines]

    @property
    def _memory(self) -> GroupMemory:
        return read_memory(self.path) if (self.path / MEMORY).is_file() else GroupMemory()

    def _entries(self, rows: Sequence[Mapping[str, Any]], memory: GroupMemory) -> list[_Entry]:
        """Returns the faces of the rows, those that only the memory has, and central pictures without a face."""
        remembered = [_remembered_entry(memory, face) for face in memory.faces]
        by_link: dict[Any, _Entry] = {entry.link: entry for entry in remembered if entry.link is not None}
        entries = [by_link.get(row.get("link"), _Entry(str(row["path"]), None, row.get("link"))) for row in rows]
        known = set(entries)
        entries += [entry for entry in remembered if entry not in known]
        entries += [_Entry(path, None, link) for path, link in memory.faceless.items()]
        central = {str(group["central"]) for group in read_json(self.path / GROUPS).get("groups", [])}
        return entries + [_Entry(path, None, None) for path in sorted(central - {entry.path for entry in entries})]

    def _owners(self, entries: Sequence[_Entry]) -> dict[_Entry, set[str]]:
        paths = [entry.path for entry in entries]
        folders, files = find_person_folders(paths).people, people_by_file(paths)
        return {
            entry: {name for name in (folder or file, entry.group and _name(entry.group)) if name}
            for entry, folder, file in zip(entries, folders, files, strict=True)
        }


def _memory_without(memory: GroupMemory, identity: str, theirs: Set[_Entry]) -> GroupMemory:
    """Removes the faces and the name of a person."""
    groups = {n: group for n, group in memory.groups.items() if not group.is_named or _name(group.folder) != identity}
    gone = {group.folder for number, group in memory.groups.items() if number not in groups}
    paths = {entry.path for entry in theirs}

    def without(apart: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in apart if name not in gone)

    return replace(
        memory,
        groups={number: replace(group, apart=without(group.apart)) for number, group in groups.items()},
        faces=tuple(
            replace(face, apart=without(face.apart))
            for face in memory.faces
            if _remembered_entry(memory, face) not in theirs and (face.group is None or face.group in groups)
        ),
        faceless={path: link for path, link in memory.faceless.items() if path not in paths},
    )


def _remembered_entry(memory: GroupMemory, face: RememberedFace) -> _Entry:
    group = None if face.group is None else memory.groups[face.group]
    return _Entry(face.path, group.folder if group is not None and group.is_named else None, face.link)


def _name(folder: str) -> str:
    return canonical(folder.rpartition("/")[2])
