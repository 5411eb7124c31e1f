"""What of one part is in another: people who are to be kept out, and pictures that are in two parts."""

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
    """What was looked for between the parts, and found.

    Attributes:
        near_duplicates: Pictures of one part that a later one has too.
        dropped: Part and path of the pictures that were left out for that: `train/Ann/1.jpg`.
        unreadable: Pictures that could not be compared.
        kept_out: People that the list of `exclude` names.
        names_unmatched: Names of that list that are nobody's here; None without a list.
        unassigned: Pictures that the official division leaves out.
        people_in_two_parts: Who has pictures in more than one part; None where that is meant.
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
        """Reads what `to_json` gave.

        Raises:
            TypeError: It is not of this version.
        """
        sequences = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
        pairs = tuple(Duplicate(**pair) for pair in content.get("near_duplicates", ()))
        return cls(**{**content, **sequences, "near_duplicates": pairs})


def keep_out(faces: FaceFolder, listing: Path) -> tuple[FaceFolder, Audit]:
    """Takes the people out whom a file names; see `names.read_names`.

    Raises:
        DataError: The file cannot be read or is malformed, or nobody would be left.
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
            f"{display_path(listing)}: names everybody in {display_path(faces.root)}, so that nothing is left to divide"
        )
    left = replace(faces, paths=tuple(path for path, _ in rest), identities=tuple(name for _, name in rest))
    return left, Audit(kept_out=out, names_unmatched=len(named - set(spelled.values())))


def audit(
    faces: FaceFolder, parts: Mapping[str, Sequence[str]], before: Audit, reporter: Reporter, *, official: bool
) -> Audit:
    """Looks for what is in two parts, and says what is not as it should be.

    Args:
        faces: What was divided.
        parts: The paths of each part, the earlier part first.
        before: What is known already.
        reporter: Hears about progress, and about what could not be compared.
        official: Whether the parts are the source's own.
    """
    identity_of = dict(zip(faces.paths, faces.identities, strict=True))
    findings = find_duplicates(faces.root, parts, identity_of, reporter)
    result = replace(before, near_duplicates=findings.pairs, unreadable=findings.unreadable)
    if findings.unreadable:
        text = f"{findings.unreadable} faces cannot be read, so they were not compared between the parts"
        reporter.report(Notice(text=text, level="warning"))
    if official:
        unassigned = len(faces) - sum(map(len, parts.values()))
        members = ({identity_of[path] for path in paths} for paths in parts.values())
        seen = Counter(name for people in members for name in people if name is not None)
        both = tuple(sorted(name for name, count in seen.items() if count > 1))
        result = replace(result, unassigned=unassigned, people_in_two_parts=both)
        if unassigned:
            text = f"{unassigned} of {len(faces)} faces are left out, since no official part is known for them"
            reporter.report(Notice(text=text, level="warning"))
        if both:
            text = f"{len(both)} people are in more than one official part"
            reporter.report(Notice(text=text, level="warning"))
    return result


def drop_duplicates(parts: Mapping[str, Sequence[str]], found: Audit) -> tuple[dict[str, list[str]], Audit]:
    """Leaves the picture of the earlier part out of every pair, after which no pair is left."""
    dropped = {pair.earlier for pair in found.near_duplicates}
    left = {part: [path for path in paths if f"{part}/{path}" not in dropped] for part, paths in parts.items()}
    return left, replace(found, dropped=tuple(sorted(dropped)))
