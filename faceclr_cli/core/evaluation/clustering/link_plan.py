"""The place of each link in a folder of groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.evaluation.clustering.folder_corrections import Corrected, group_folder_of
from faceclr_cli.core.evaluation.clustering.group_memory import GroupMemory, RememberedFace
from faceclr_cli.core.faces.face_folder import UNNAMED

NO_FACE = f"{UNNAMED}/no-face"
"""Inside the folder of single faces, which is not read as a person."""


def plan_links(
    faces: Sequence[RememberedFace],
    numbers: NDArray[np.int64],
    matches: NDArray[np.int64],
    memory: GroupMemory,
    before: Corrected | None,
    faceless: Sequence[str],
) -> GroupMemory:
    """Decides where the link of each face belongs. A link that is already in the right place is not moved.

    A link has the name of its picture. The number of the face is appended if the photograph has several faces, and a
    counter if the name is already taken in any folder: the name identifies a link after the user has moved it.

    Args:
        faces: The faces of this run.
        numbers: The number of each face's group, or -1. Shape: (faces,).
        matches: The place of each face in the memory, or -1. Shape: (faces,).
        memory: The groups, and the faces that were known before.
        before: The folder as the user left it, or None if there is none.
        faceless: Pictures without a face.

    Returns:
        The memory for this run: first the faces of this run, then those whose pictures no longer exist. Links to be
        made or moved are marked as `moving`.
    """
    names = _FreeNames(before, memory)
    counts, seen = Counter(face.path for face in faces), Counter[str]()
    planned = []
    for face, number, match in zip(faces, numbers.tolist(), matches.tolist(), strict=True):
        seen[face.path] += 1
        known = memory.faces[match] if match >= 0 else None
        place = before.places[match] if before is not None and match >= 0 else None
        face = replace(face, group=None if number < 0 else number, apart=() if known is None else known.apart)
        if known is not None and known.removed:
            planned.append(replace(face, removed=True, link=place))
            continue
        group = None if face.group is None else memory.groups[face.group]
        home = UNNAMED if group is None else group.home
        wanted = ("", False) if group is None else (group.folder, group.ignored)
        if place is not None and group_folder_of(place) == wanted:
            planned.append(replace(face, link=place))
            continue
        suffix = f"-face{seen[face.path]}" if counts[face.path] > 1 and place is None else ""
        link = names.take(home, face.path, suffix) if place is None else names.move(home, place)
        planned.append(replace(face, link=link, moving=True, was=place))
    gone = set(range(len(memory.faces))) - set(matches.tolist())
    left = [memory.faces[place] for place in sorted(gone)]
    used = {face.group for face in (*planned, *left)} | {n for n, group in memory.groups.items() if group.is_fixed}
    links: Mapping[str, str | None] = {
        path: memory.faceless[path] if path in memory.faceless else names.take(NO_FACE, path, "") for path in faceless
    }
    return replace(
        memory,
        groups={number: group for number, group in memory.groups.items() if number in used},
        faces=(*planned, *left),
        faceless={**memory.faceless, **links},
    )


class _FreeNames:
    """Unique names of links."""

    def __init__(self, before: Corrected | None, memory: GroupMemory) -> None:
        paths = {face.link for face in memory.faces} | set(before.taken if before is not None else ())
        self._paths = {path.lower() for path in paths if path is not None}
        self._names = {PurePosixPath(path).name for path in self._paths}

    def take(self, folder: str, path: str, suffix: str) -> str:
        name, copy = PurePosixPath(PurePosixPath(path).name), 1
        target = f"{name.stem}{suffix}{name.suffix}"
        while target.lower() in self._names:
            copy += 1
            target = f"{name.stem}{suffix}-{copy}{name.suffix}"
        self._names.add(target.lower())
        return f"{folder}/{target}"

    def move(self, folder: str, place: str) -> str:
        """Returns the same name in another folder, unless the user has put another file there."""
        target = f"{folder}/{PurePosixPath(place).name}"
        return self.take(folder, place, "") if target.lower() in self._paths else target
