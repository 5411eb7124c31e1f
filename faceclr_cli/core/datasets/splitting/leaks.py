"""Leaks between the parts of a split: excluded people, and pictures that are in two parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.datasets.splitting.duplicates import Duplicate, find_duplicates
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.sources.person_names import name_key, read_names
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The findings of the search for leaks between the parts.

    Attributes:
        near_duplicates: Pictures of one part that are also in a later part.
        dropped: Part and path of the pictures left out for this reason, such as `train/Ann/1.jpg`.
        unreadable: Number of pictures that could not be compared.
        kept_out: People removed by the list of `exclude`.
        names_unmatched: Number of names in this list that match no person; None without a list.
        unassigned: Number of pictures without an official part.
        people_in_two_parts: People with pictures in more than one official part; None for other splits.
    """

    near_duplicates: tuple[Duplicate, ...] = ()
    dropped: tuple[str, ...] = ()
    unreadable: int = 0
    kept_out: tuple[str, ...] = ()
    names_unmatched: int | None = None
    unassigned: int = 0
    people_in_two_parts: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Audit:
        """Reads the output of `to_json`.

        Raises:
            TypeError: The content is from another version.
        """
        sequences = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
        pairs = tuple(Duplicate(**pair) for pair in content.get("near_duplicates", ()))
        return cls(**{**content, **sequences, "near_duplicates": pairs})


def exclude_people(faces: FaceFolder, listing: Path) -> tuple[FaceFolder, Audit]:
    """Removes the people listed in a file; see `person_names.read_names`.

    Raises:
        DataError: The file cannot be read or is malformed, or no people would be left.
    """
    named = {name_key(name) for name in read_names(listing)}
    spelled = {name: name_key(name) for name in faces.people}
    out = tuple(name for name, key in spelled.items() if key in named)
    rest = [
        (path, name)
        for path, name in zip(faces.paths, faces.identities, strict=True)
        if spelled.get(name or "") not in named
    ]
    if not rest:
        raise DataError(
            f"{display_path(listing)}: lists everyone in {display_path(faces.root)}, so no faces are left to split"
        )
    left = replace(faces, paths=tuple(path for path, _ in rest), identities=tuple(name for _, name in rest))
    return left, Audit(kept_out=out, names_unmatched=len(named - set(spelled.values())))


def audit(
    faces: FaceFolder, parts: Mapping[str, Sequence[str]], before: Audit, reporter: Reporter, *, official: bool
) -> Audit:
    """Searches for pictures and people in two parts and reports warnings.

    Args:
        faces: The faces that were split.
        parts: The paths of each part, earlier parts first.
        before: Earlier findings.
        reporter: Receives the progress and warnings.
        official: True if the parts are the official ones of the source.
    """
    identity_of = dict(zip(faces.paths, faces.identities, strict=True))
    findings = find_duplicates(faces.read_path, parts, identity_of, reporter)
    result = replace(before, near_duplicates=findings.pairs, unreadable=findings.unreadable)
    if findings.unreadable:
        text = f"{findings.unreadable} faces cannot be read and were not compared between the parts"
        reporter.report(Notice(text=text, level="warning"))
    if official:
        unassigned = len(faces) - sum(map(len, parts.values()))
        members = ({identity_of[path] for path in paths} for paths in parts.values())
        seen = Counter(name for people in members for name in people if name is not None)
        both = tuple(sorted(name for name, count in seen.items() if count > 1))
        result = replace(result, unassigned=unassigned, people_in_two_parts=both)
        if unassigned:
            text = f"{unassigned} of {len(faces)} faces have no official part and are left out"
            reporter.report(Notice(text=text, level="warning"))
        if both:
            text = f"{len(both)} people are in more than one official part"
            reporter.report(Notice(text=text, level="warning"))
    return result


def drop_duplicates(parts: Mapping[str, Sequence[str]], found: Audit) -> tuple[dict[str, list[str]], Audit]:
    """Leaves out the picture in the earlier part of every pair, so that no pair remains."""
    dropped = {pair.earlier for pair in found.near_duplicates}
    left = {part: [path for path in paths if f"{part}/{path}" not in dropped] for part, paths in parts.items()}
    return left, replace(found, dropped=tuple(sorted(dropped)))
