"""`faceclr clean --apply`: a folder of prepared faces with the proposals applied, made of hard links."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import atomic_path, digest_file, read_json, stamp, write_json
from faceclr_cli.core.configs.clean import CleanConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.datasets.input_discovery import find_prepared_folders, no_faces_error
from faceclr_cli.core.datasets.splitting.split import summarize_part
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.face_folder import DESCRIPTION, UNNAMED, FaceFolder
from faceclr_cli.core.text import canonical, display_path
from faceclr_cli.core.upkeep.proposals import Proposal, read_proposals, write_csv_rows

CHANGES = "changes.csv"
"""The ledger in a cleaned folder: the outcome of each face that was moved or left out."""

CHANGE_COLUMNS = ("source", "face", "what", "odds", "other")


@dataclass(frozen=True, kw_only=True)
class CleanedFolder:
    """The result of `clean --apply`.

    Attributes:
        out: The new folder.
        source: The faces that were cleaned.
        faces: Number of faces in the new folder.
        people: Number of people in it.
        moved: Number of faces that have another name than before.
        removed: Number of faces that were left out.
        was_there: True if the folder existed already with the same faces, so that nothing was done.
    """

    out: Path
    source: Path
    faces: int
    people: int
    moved: int
    removed: int
    was_there: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self) | {"out": str(self.out), "source": str(self.source)}


@dataclass(frozen=True)
class _Fate:
    """The new owner of a face, None if unnamed; whether it is left out; and the last proposal that changed it."""

    owner: str | None
    is_removed: bool = False
    why: Proposal | None = None


def apply_proposals(config: CleanConfig, reporter: Reporter) -> CleanedFolder:
    """Applies proposals by linking faces to a new folder. The source is not changed, so removing the folder undoes all.

    If a face has several proposals, removing it has precedence over moving it. Proposals about a person apply after
    those about single faces, to all faces that have the name by then.

    Raises:
        ConfigError: No faces were given, or the output exists and is not the same folder.
        DataError: The faces or the proposals cannot be read, the proposals do not fit the faces or contradict each
            other, no faces would be left, or the output cannot be written.
    """
    if config.faces is None:
        raise no_faces_error("clean", find_prepared_folders(Path()))
    if config.apply is None:
        raise ConfigError("no proposals were given; write --apply FILE.csv")
    proposals = read_proposals(config.apply)
    faces = open_face_set(config.faces)
    out = config.out or Path(f"{set_name(config.faces)}-clean")
    digests = {"digest": _digest(faces), "proposals_digest": digest_file(config.apply)}
    if out.exists():
        return _existing_folder(out, digests, faces, reporter)
    if out.resolve().is_relative_to(config.faces.resolve()):
        raise ConfigError(f"{display_path(out)}: is inside the folder of faces; choose another -o")
    fates = _decide(faces, proposals, display_path(config.apply))
    if all(fate.is_removed for fate in fates):
        raise DataError(f"{display_path(config.apply)}: removes all faces; keep some of them")
    try:
        with atomic_path(out) as folder:
            return _write(config, faces, fates, digests, folder, out, reporter)
    except OSError as error:
        raise DataError(
            f"{display_path(error.filename or out)}: cannot be written ({error.strerror or error})"
        ) from error


def set_name(faces: Path) -> str:
    """Returns the name of a set of faces for default outputs: that of its folder or file without its suffix."""
    return (faces.stem if faces.is_file() else Path(os.path.abspath(faces)).name) or "faces"


def _decide(faces: FaceFolder, proposals: Sequence[tuple[int, Proposal]], origin: str) -> list[_Fate]:
    """Decides the fate of each face.

    Raises:
        DataError: A proposal names an unknown face or person, or proposals contradict each other.
    """
    paths, people = set(faces.paths), set(faces.people)
    of_face, of_person = dict[str, Proposal](), dict[str, Proposal]()
    for line, each in proposals:
        if each.action == "keep":
            continue
        known, key = (of_person, canonical(each.face)) if each.is_person else (of_face, each.face)
        if key not in (people if each.is_person else paths):
            raise DataError(f"{origin}:{line}: {display_path(each.face)} is not in {display_path(faces.root)}")
        before = known.get(key)
        if before is not None and before.action == each.action == "move" and before.other != each.other:
            raise DataError(
                f"{origin}:{line}: {display_path(each.face)} is moved to both {display_path(before.other)} and "
                f"{display_path(each.other)}; remove one of these lines"
            )
        if before is None or each.action == "remove":
            known[key] = each
    return [
        _fate(owner, of_face.get(path), of_person, origin)
        for path, owner in zip(faces.paths, faces.identities, strict=True)
    ]


def _fate(owner: str | None, of_face: Proposal | None, of_person: Mapping[str, Proposal], origin: str) -> _Fate:
    why, seen = None, set[str]()
    if of_face is not None:
        if of_face.action == "remove":
            return _Fate(owner, is_removed=True, why=of_face)
        owner, why = canonical(of_face.other), of_face
    while owner is not None and owner in of_person:
        if owner in seen:
            raise DataError(f"{origin}: moves {display_path(owner)} in a circle; remove one of these lines")
        seen.add(owner)
        why = of_person[owner]
        if why.action == "remove":
            return _Fate(owner, is_removed=True, why=why)
        owner = canonical(why.other)
    return _Fate(owner, why=why)


def _write(
    config: CleanConfig,
    faces: FaceFolder,
    fates: Sequence[_Fate],
    digests: Mapping[str, str],
    folder: Path,
    out: Path,
    reporter: Reporter,
) -> CleanedFolder:
    targets = _targets(faces, fates)
    for place in track(range(len(faces)), reporter, "linking faces", total=len(faces), unit="faces"):
        target = targets[place]
        if target is not None:
            _link(faces, place, folder / target)
    changes = [place for place, target in enumerate(targets) if target != faces.paths[place]]
    write_csv_rows(
        folder / CHANGES, CHANGE_COLUMNS, (_change(faces.paths[at], targets[at], fates[at].why) for at in changes)
    )
    kept = [(target, fate.owner) for target, fate in zip(targets, fates, strict=True) if target is not None]
    summary = summarize_part([path for path, _ in kept], [owner for _, owner in kept])
    removed = len(faces) - len(kept)
    moved = len(changes) - removed
    about = {
        "fingerprint": faces.fingerprint.to_json(),
        **digests,
        **asdict(summary),
        "moved": moved,
        "removed": removed,
    }
    write_json(folder / DESCRIPTION, {**stamp("faces", to_json(config)), **about})
    return CleanedFolder(
        out=out, source=faces.root, faces=len(kept), people=summary.people, moved=moved, removed=removed
    )


def _change(source: str, target: str | None, why: Proposal | None) -> tuple[str, ...]:
    what, odds, other = ("", "", "") if why is None else why.cells[1:4]
    return (source, target or "", what, odds, other)


def _targets(faces: FaceFolder, fates: Sequence[_Fate]) -> list[str | None]:
    """Returns the path of each face in the new folder, None if it is left out. Faces that stay keep their names."""
    folder_of = dict[str | None, str]()
    for path, name in zip(faces.paths, faces.identities, strict=True):
        folder_of.setdefault(name, path.split("/", 1)[0])
    stays = [not fate.is_removed and fate.owner == name for fate, name in zip(fates, faces.identities, strict=True)]
    targets: list[str | None] = [path if stay else None for path, stay in zip(faces.paths, stays, strict=True)]
    taken = {path.casefold() for path in targets if path is not None}
    for place, fate in enumerate(fates):
        if stays[place] or fate.is_removed:
            continue
        folder = folder_of.get(fate.owner, UNNAMED if fate.owner is None else fate.owner)
        stem, suffix = os.path.splitext(faces.paths[place].rsplit("/", 1)[1])
        names = (f"{folder}/{stem}{f'-{number}' * (number > 1)}{suffix}" for number in range(1, len(fates) + 2))
        target = next(name for name in names if name.casefold() not in taken)
        taken.add(target.casefold())
        targets[place] = target
    return targets


def _link(faces: FaceFolder, place: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if faces.container is not None:
        target.write_bytes(faces.read(place))
        return
    source = faces.root / faces.paths[place]
    try:
        os.link(source, target)
    except OSError:
        # Another file system, a file system without links, or too many links.
        shutil.copyfile(source, target)


def _digest(faces: FaceFolder) -> str:
    """Returns a digest of the fingerprint and of the names and sizes of all faces."""
    state = hashlib.sha256(repr(faces.fingerprint).encode())
    for place, path in enumerate(faces.paths):
        state.update(b"%s\0%d\0" % (os.fsencode(path), faces.stamp(place)[0]))
    return state.hexdigest()


def _existing_folder(out: Path, digests: Mapping[str, str], faces: FaceFolder, reporter: Reporter) -> CleanedFolder:
    advice = "choose another -o, or remove it"
    if not (out / CHANGES).is_file() or not (out / DESCRIPTION).is_file():
        raise ConfigError(f"{display_path(out)}: exists and was not made by faceclr clean --apply; {advice}")
    content = read_json(out / DESCRIPTION)
    for name, what in (("digest", "other faces, or they have changed since"), ("proposals_digest", "other proposals")):
        if content.get(name) != digests[name]:
            raise ConfigError(f"{display_path(out)}: was made from {what}; {advice}")
    reporter.report(Notice(text=f"{display_path(out)} already contains these faces; nothing to do"))
    try:
        counts = {name: int(content[name]) for name in ("faces", "people", "moved", "removed")}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{display_path(out / DESCRIPTION)}: damaged or of another version; {advice}") from error
    return CleanedFolder(out=out, source=faces.root, was_there=True, **counts)
