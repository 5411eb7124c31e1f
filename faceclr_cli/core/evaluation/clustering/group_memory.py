"""The memory of a folder of groups: the place of each face, and the user's decisions about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import atomic_path, read_json, remove_stale
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.face_folder import UNNAMED
from faceclr_cli.core.text import display_path

MEMORY = "memory.json"
IGNORED = f"{UNNAMED}/ignored"
"""Inside the folder of single faces, which is not read as a person."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class RememberedGroup:
    """A group of faces.

    Attributes:
        number: Number of the group, which is never given to another group.
        folder: Its folder, relative to the folder of groups: the number, or the name that the user gave.
        confirmed: True if the user changed the group, and therefore has seen it: its faces stay together.
        ignored: True if the user ignores this person.
        apart: Folders of groups that show other people, according to the user.
    """

    number: int
    folder: str
    confirmed: bool = False
    ignored: bool = False
    apart: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """True if the folder has a name instead of the number."""
        return not (self.folder.isdecimal() and int(self.folder) == self.number)

    @property
    def is_fixed(self) -> bool:
        """True if runs never change the faces of the group."""
        return self.confirmed or self.ignored or self.is_named

    @property
    def home(self) -> str:
        """The folder that holds the links."""
        return f"{IGNORED}/{self.folder}" if self.ignored else self.folder


@dataclass(frozen=True, kw_only=True)
class RememberedFace:
    """A face and its place.

    Attributes:
        path: Path of the picture, relative to the folder that was grouped.
        photo: The photograph that a prepared crop was cut from, or the same as `path`.
        sha256: SHA-256 of the picture.
        box: x, y, width and height in pixels of the photograph, or None if unknown.
        group: Number of its group, or None for a single face.
        link: Its link, relative to the folder of groups, or None if it has none.
        apart: Folders of groups that the user took the face out of.
        removed: True if the user deleted the link of the single face: it is not grouped again.
        moving: True while a run moves the link from `was` to `link`.
        was: The former link, or None if it had none.
    """

    path: str
    photo: str
    sha256: str
    box: Box | None
    group: int | None
    link: str | None
    apart: tuple[str, ...] = ()
    removed: bool = False
    moving: bool = False
    was: str | None = None


@dataclass(frozen=True, kw_only=True)
class GroupMemory:
    """The content of `memory.json`.

    Attributes:
        groups: The groups, by number.
        faces: The faces.
        faceless: Links of pictures without a face, by the path of the picture; None if the user deleted it.
        highest: The highest number that was ever given to a group.
    """

    groups: Mapping[int, RememberedGroup] = field(default_factory=dict)
    faces: tuple[RememberedFace, ...] = ()
    faceless: Mapping[str, str | None] = field(default_factory=dict)
    highest: int = 0

    def by_folder(self) -> dict[str, RememberedGroup]:
        """The groups by folder."""
        return {group.folder: group for group in self.groups.values()}

    def renamed(self, folders: Mapping[str, str]) -> GroupMemory:
        """Replaces names of folders in all cannot-links."""

        def updated(apart: Sequence[str], own: str = "") -> tuple[str, ...]:
            return tuple(sorted({folders.get(name, name) for name in apart} - {own}))

        groups = {n: replace(g, apart=updated(g.apart, g.folder)) for n, g in self.groups.items()}
        faces = tuple(replace(face, apart=updated(face.apart)) for face in self.faces)
        return replace(self, groups=groups, faces=faces)


def write_memory(folder: Path, about: Mapping[str, Any], memory: GroupMemory) -> None:
    """Writes the memory atomically, with one line for each group and face.

    Args:
        folder: The folder of groups.
        about: The stamp.
        memory: The content.
    """
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in about.items()]
    lines.append(f' "highest": {memory.highest},')
    lists = {
        "groups": [_group_json(group) for _, group in sorted(memory.groups.items())],
        "faces": [_face_json(face) for face in memory.faces],
        "faceless": [{"path": path, "link": link} for path, link in memory.faceless.items()],
    }
    parts = [
        f" {json.dumps(name)}: [" + ",".join(f"\n  {json.dumps(row, ensure_ascii=False)}" for row in rows) + "\n ]"
        for name, rows in lists.items()
    ]
    text = "{\n" + "\n".join(lines) + "\n" + ",\n".join(parts) + "\n}\n"
    remove_stale(folder)
    with atomic_path(folder / MEMORY) as temporary:
        # Names are readable; bytes of file names that are not UTF-8 become escapes of JSON.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_memory(folder: Path) -> GroupMemory:
    """Reads the memory of a folder of groups.

    Raises:
        DataError: The file does not exist, or is damaged.
    """
    path = folder / MEMORY
    content = read_json(path)
    try:
        if content["kind"] != "memory":
            raise ValueError(f"its kind is {content['kind']}")
        groups = [_read_group(row) for row in content["groups"]]
        faces = tuple(_read_face(row) for row in content["faces"])
        faceless = {str(row["path"]): row["link"] for row in content["faceless"]}
        highest = max([int(content["highest"]), *(group.number for group in groups)])
        unknown = {face.group for face in faces} - {group.number for group in groups} - {None}
        if unknown or len({group.folder for group in groups}) < len(groups):
            raise ValueError("its groups and faces do not match")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{display_path(path)}: damaged: {error}") from error
    return GroupMemory(groups={g.number: g for g in groups}, faces=faces, faceless=faceless, highest=highest)


def _group_json(group: RememberedGroup) -> dict[str, Any]:
    marks = {name: True for name in ("confirmed", "ignored") if getattr(group, name)}
    apart = {"apart": list(group.apart)} if group.apart else {}
    return {"group": group.number, "folder": group.folder, **marks, **apart}


def _read_group(row: Mapping[str, Any]) -> RememberedGroup:
    return RememberedGroup(
        number=int(row["group"]),
        folder=_inside(row["folder"]),
        confirmed=bool(row.get("confirmed", False)),
        ignored=bool(row.get("ignored", False)),
        apart=tuple(map(str, row.get("apart", ()))),
    )


def _face_json(face: RememberedFace) -> dict[str, Any]:
    row: dict[str, Any] = {"path": face.path}
    row |= {"photo": face.photo} if face.photo != face.path else {}
    row |= {"sha256": face.sha256, "box": None if face.box is None else [round(side, 1) for side in face.box]}
    row |= {"group": face.group, "link": face.link}
    row |= {"apart": list(face.apart)} if face.apart else {}
    row |= {"removed": True} if face.removed else {}
    return row | ({"was": face.was} if face.moving else {})


def _read_face(row: Mapping[str, Any]) -> RememberedFace:
    box = row["box"]
    left, top, width, height = (0.0,) * 4 if box is None else map(float, box)
    return RememberedFace(
        path=str(row["path"]),
        photo=str(row.get("photo", row["path"])),
        sha256=str(row["sha256"]),
        box=None if box is None else (left, top, width, height),
        group=None if row["group"] is None else int(row["group"]),
        link=None if row["link"] is None else _inside(row["link"]),
        apart=tuple(map(str, row.get("apart", ()))),
        removed=bool(row.get("removed", False)),
        moving="was" in row,
        was=None if row.get("was") is None else _inside(row["was"]),
    )


def _inside(path: object) -> str:
    """Checks that a path that will be written to is inside the folder."""
    text = str(path)
    if text.startswith("/") or ".." in text.split("/") or "\0" in text or not text:
        raise ValueError(f"{display_path(text)} is outside the folder")
    return text
