"""Grouping of faces with all known constraints, so that groups keep their numbers and names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.evaluation.clustering.face_matching import match_faces
from faceclr_cli.core.evaluation.clustering.group_memory import GroupMemory, RememberedFace, RememberedGroup
from faceclr_cli.core.evaluation.clustering.known_names import KnownNames
from faceclr_cli.core.grouping.constraints import UNKNOWN, Constraints

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownGroups:
    """The known groups and constraints of the faces of this run.

    Attributes:
        memory: The groups, with those of the known names.
        matches: The place of each face in the memory, or -1. Shape: (faces,).
        former: Number of each face's former group, or -1. Shape: (faces,).
        fixed: Number of the group that each face certainly belongs to, or -1: the faces, followed by those of the
            gallery.
        removed: True for faces that are not grouped. Shape: (faces,).
        constraints: The constraints that follow for the faces and the gallery.
    """

    memory: GroupMemory
    matches: Labels
    former: Labels
    fixed: Labels
    removed: NDArray[np.bool_]
    constraints: Constraints


def recall_groups(
    memory: GroupMemory, faces: Sequence[RememberedFace], names: KnownNames, tracks: Constraints
) -> KnownGroups:
    """Finds the faces in the memory, and derives the constraints.

    The user's decisions in the folder of groups take precedence over names from other sources, and both over the tracks
    of films.

    Args:
        memory: The groups of the last run.
        faces: The faces of this run.
        names: The names of faces that are known from other sources.
        tracks: The constraints on the faces that follow from the tracks of films.
    """
    memory = _with_names(memory, [*(name for name in names.folders if name is not None), *names.gallery_folders])
    number_of = {group.folder: group.number for group in memory.groups.values()}
    matches = match_faces(faces, memory.faces)
    count = len(faces) + len(names.gallery_folders)
    former, fixed = np.full(len(faces), UNKNOWN, np.int64), np.full(count, UNKNOWN, np.int64)
    removed = np.zeros(len(faces), bool)
    apart = defaultdict[int, set[str]](set)
    for row, place in enumerate(matches.tolist()):
        known = memory.faces[place] if place >= 0 else None
        if known is not None:
            removed[row] = known.removed and known.group is None
            apart[row] |= set(known.apart)
            former[row] = UNKNOWN if known.group is None else known.group
        name = names.folders[row]
        if former[row] != UNKNOWN and memory.groups[int(former[row])].is_fixed:
            fixed[row] = former[row]
        elif name is not None and name not in apart[row] and not removed[row]:
            fixed[row] = number_of[name]
    fixed[len(faces) :] = [number_of[name] for name in names.gallery_folders]
    certain = np.array(
        [number in memory.groups and _is_person(memory.groups[number]) for number in fixed.tolist()], bool
    )
    constraints = Constraints(
        people=np.where(certain, fixed, UNKNOWN),
        together=np.where(certain, UNKNOWN, fixed),
        tracks=_undivided_tracks(tracks.tracks, fixed, apart),
        apart=np.concatenate([_apart(memory, apart, former, fixed), tracks.apart]),
    )
    return KnownGroups(
        memory=memory, matches=matches, former=former, fixed=fixed, removed=removed, constraints=constraints
    )


def _is_person(group: RememberedGroup) -> bool:
    """Returns True if the user named or ignored the group. Two such groups are never joined."""
    return group.is_named or group.ignored


def _with_names(memory: GroupMemory, folders: Iterable[str]) -> GroupMemory:
    """Adds the groups of known names."""
    groups, highest = dict(memory.groups), memory.highest
    present = set(memory.by_folder())
    for folder in dict.fromkeys(folders):
        if folder not in present:
            highest += 1
            groups[highest] = RememberedGroup(number=highest, folder=folder, confirmed=True)
            present.add(folder)
    return replace(memory, groups=groups, highest=highest)


def _undivided_tracks(tracks: Labels, fixed: Labels, apart: Mapping[int, set[str]]) -> Labels:
    """Removes faces that the user separated from their tracks, and drops tracks whose faces are in several groups.

    Returns:
        The track of each face and of each face of the gallery, or -1.
    """
    found = np.full(len(fixed), UNKNOWN, np.int64)
    found[: len(tracks)] = tracks
    found[[row for row, folders in apart.items() if folders]] = UNKNOWN
    numbers = defaultdict[int, set[int]](set)
    for label, number in zip(found.tolist(), fixed.tolist(), strict=True):
        if UNKNOWN not in (label, number):
            numbers[label].add(number)
    return np.where(np.isin(found, [label for label, those in numbers.items() if len(those) > 1]), UNKNOWN, found)


def _apart(memory: GroupMemory, apart: dict[int, set[str]], former: Labels, fixed: Labels) -> Labels:
    """Lists the pairs of faces that the user separated."""
    members = defaultdict[str, list[int]](list)
    for row, number in enumerate(fixed.tolist()):
        # The faces of a fixed group are one block, so one face is enough.
        if number != UNKNOWN and not members[memory.groups[number].folder]:
            members[memory.groups[number].folder].append(row)
    for row, number in enumerate(former.tolist()):
        if number != UNKNOWN and not memory.groups[number].is_fixed:
            members[memory.groups[number].folder].append(row)
    pairs = [(row, other) for row, folders in apart.items() for name in folders for other in members.get(name, ())]
    for group in memory.groups.values():
        for name in group.apart:
            pairs += product(members.get(group.folder, ()), members.get(name, ()))
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def assign_numbers(known: KnownGroups, labels: Labels, min_size: int) -> tuple[Labels, GroupMemory]:
    """Assigns the number of a former group, or a new number, to each group of faces.

    Args:
        known: The groups that were known before.
        labels: The group of each face and of each face of the gallery, or -1, as grouped with the constraints.
        min_size: Minimum number of faces in a group without constraints.

    Returns:
        The number of each face's group, or -1 (shape: (faces,)), and the memory with the groups.
    """
    faces = len(known.former)
    members = defaultdict[int, list[int]](list)
    for row, label in enumerate(labels[:faces].tolist()):
        if label != UNKNOWN:
            members[label].append(row)
    owners, merged = _fixed_owners(known, labels)
    groups, highest = dict(known.memory.groups), known.memory.highest
    for number in merged:
        del groups[number]
    free = {label: rows for label, rows in members.items() if label not in owners and len(rows) >= min_size}
    owners |= _former_owners(free, known)
    digits = max(4, len(str(highest + len(free))))
    taken = {group.folder for group in groups.values()}
    for label in sorted(free, key=lambda label: (-len(free[label]), free[label][0])):
        if label not in owners:
            highest += 1
            while f"{highest:0{digits}d}" in taken:
                highest += 1
            owners[label] = highest
            groups[highest] = RememberedGroup(number=highest, folder=f"{highest:0{digits}d}")
    numbers = np.array([owners.get(label, UNKNOWN) for label in labels[:faces].tolist()], np.int64)
    # A face without an embedding is in no group of the linkage.
    certain = [merged.get(number, number) for number in known.fixed[:faces].tolist()]
    numbers = np.where(np.array(certain) == UNKNOWN, numbers, certain)
    renamed = {known.memory.groups[a].folder: known.memory.groups[b].folder for a, b in merged.items()}
    kept = [
        face if face.group is None else replace(face, group=merged.get(face.group, face.group))
        for face in known.memory.faces
    ]
    memory = replace(known.memory, groups=groups, highest=highest, faces=tuple(kept))
    return numbers, memory.renamed(renamed)


def _fixed_owners(known: KnownGroups, labels: Labels) -> tuple[dict[int, int], dict[int, int]]:
    """Finds the fixed group of each label, and the fixed groups that became part of another."""
    counts = defaultdict[int, Counter[int]](Counter)
    for label, number in zip(labels.tolist(), known.fixed.tolist(), strict=True):
        if UNKNOWN not in (label, number):
            counts[label][number] += 1
    owners, merged = dict[int, int](), dict[int, int]()
    for label, numbers in counts.items():
        groups = known.memory.groups
        owner = max(numbers, key=lambda number: (_is_person(groups[number]), numbers[number], -number))
        owners[label] = owner
        merged |= {number: owner for number in numbers if number != owner}
    return owners, merged


def _former_owners(free: dict[int, list[int]], known: KnownGroups) -> dict[int, int]:
    """Assigns to each label the former group of most of its faces; each number is assigned once."""
    overlaps = Counter(
        (label, number)
        for label, rows in free.items()
        for number in known.former[rows].tolist()
        if number != UNKNOWN and not known.memory.groups[number].is_fixed
    )
    owners, given = dict[int, int](), set[int]()
    for (label, number), _ in sorted(overlaps.items(), key=lambda item: (-item[1], item[0][1], item[0][0])):
        if label not in owners and number not in given:
            owners[label] = number
            given.add(number)
    return owners
