"""Removal of people from folders of prepared faces and from splits."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import atomic_path, exclusive, read_json, write_json
from faceclr_cli.core.datasets.packed_faces import forget_packed
from faceclr_cli.core.datasets.splitting.split import PAIRS, summarize_part
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.face_folder import DESCRIPTION, SPLIT, UNNAMED, is_face_folder, open_faces
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger
from faceclr_cli.core.text import canonical
from faceclr_cli.core.upkeep.holdings import Count


class FacesHolding:
    """A folder of prepared faces: pictures, ledger, description, and cache of decoded faces.

    Attributes:
        links: Number of remaining hard links of each removed picture, by device and inode.
    """

    kind = "faces"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.links: dict[tuple[int, int], int] = {}
        self._traces: set[str] = set()

    def people(self) -> set[str]:
        """The people with a folder or a row in the ledger."""
        people = {canonical(folder.name) for folder in self._folders()}
        if self._ledger.is_file():
            with Ledger.open_to_read(self._ledger) as ledger:
                people |= set(map(canonical, ledger.spellings()))
        return people

    def count(self, identity: str) -> Count:
        """Counts pictures in folders and in the ledger, and digests of removed pictures in the bytes of the ledger."""
        theirs = {path.relative_to(self.path).as_posix() for path in self._pictures(identity)}
        if self._ledger.is_file():
            with Ledger.open_to_read(self._ledger) as ledger:
                for row in ledger.rows():
                    if row.identity is not None and canonical(row.identity) == identity:
                        theirs |= {*row.crops} or {row.path}
            content = self._ledger.read_bytes() if self._traces else b""
            theirs |= {digest for digest in self._traces if digest.encode() in content}
        faces = open_faces(self.path).identities if self._has_faces() else ()
        return Count(len(theirs), len(faces) - faces.count(identity))

    def remove(self, identity: str) -> None:
        """Removes the person's folders last, so that an interrupted removal can be continued."""
        with exclusive(self.path):
            if self._ledger.is_file():
                with Ledger.open(self._ledger, {}) as ledger:
                    self._traces |= ledger.forget(identity)
            self._describe(identity)
            for path in self._pictures(identity):
                status = path.lstat()
                self.links[status.st_dev, status.st_ino] = status.st_nlink - 1
            forget_packed()
            for folder in self._folders():
                if canonical(folder.name) == identity:
                    shutil.rmtree(folder)
            if not self._has_faces():
                (self.path / DESCRIPTION).unlink()

    @property
    def _ledger(self) -> Path:
        return self.path / LEDGER

    def _has_faces(self) -> bool:
        try:
            return is_face_folder(self.path) and len(open_faces(self.path)) > 0
        except DataError:
            return False

    def _folders(self) -> list[Path]:
        folders = (child for child in self.path.iterdir() if child.is_dir() and not child.is_symlink())
        return sorted(folder for folder in folders if not folder.name.startswith(".") and folder.name != UNNAMED)

    def _pictures(self, identity: str) -> Iterator[Path]:
        for folder in self._folders():
            if canonical(folder.name) == identity:
                yield from (path for path in sorted(folder.rglob("*")) if not path.is_dir())

    def _describe(self, identity: str) -> None:
        """Updates the description of the folder for the removal of a person."""
        content = read_json(self.path / DESCRIPTION)
        states = content.get("states")
        if isinstance(states, dict) and self._ledger.is_file():
            with Ledger.open_to_read(self._ledger) as ledger:
                counts = {state.value: count for state, count in ledger.counts().items()}
                content["states"] = {**dict.fromkeys(states, 0), **counts}
                content["reasons"] = {reason.value: count for reason, count in ledger.reasons().items()}
        if self._has_faces():
            faces = open_faces(self.path)
            rows = [(path, name) for path, name in zip(faces.paths, faces.identities, strict=True) if name != identity]
            summary = asdict(summarize_part([path for path, _ in rows], [name for _, name in rows]))
            content |= {name: value for name, value in summary.items() if name in content}
        write_json(self.path / DESCRIPTION, content)


class SplitHolding:
    """A split apart from its parts: the list of pairs, and the counts and audit findings in `split.json`."""

    kind = "split"

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def parts(self) -> list[Path]:
        """The parts, which are folders of prepared faces."""
        return sorted(child for child in self.path.iterdir() if is_face_folder(child))

    def people(self) -> set[str]:
        """The people in pairs and findings."""
        pairs = {canonical(_person(cell)) for row in self._pairs() for cell in row[:2]}
        return pairs | {name for text in _strings(self._audit()) for name in _named_in(text)}

    def count(self, identity: str) -> Count:
        """Counts pairs and findings."""
        pairs = self._pairs()
        theirs = [row for row in pairs if _is_pair_of(row, identity)]
        findings = [text for text in _strings(self._audit()) if identity in _named_in(text)]
        return Count(len(theirs) + len(findings), len(pairs) - len(theirs))

    def remove(self, identity: str) -> None:
        """Rewrites the pairs and `split.json`."""
        with exclusive(self.path):
            for name in (PAIRS, SPLIT):
                for left in self.path.glob(f".*.{name}"):
                    left.unlink(missing_ok=True)  # Left behind by a killed run.
            kept = [row for row in self._pairs() if not _is_pair_of(row, identity)]
            if (self.path / PAIRS).is_file():
                self._write_pairs(kept)
            content = read_json(self.path / SPLIT)
            for part, about in content.get("parts", {}).items():
                if is_face_folder(self.path / part):
                    faces = open_faces(self.path / part)
                    about |= asdict(summarize_part(faces.paths, faces.identities))
                else:
                    about |= asdict(summarize_part([], []))
            write_json(self.path / SPLIT, content | {"pairs": len(kept), "audit": _without(self._audit(), identity)})

    def _write_pairs(self, rows: list[list[str]]) -> None:
        heading = self._rows()[:1]
        with (
            atomic_path(self.path / PAIRS) as temporary,
            open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows(heading + rows)

    def _pairs(self) -> list[list[str]]:
        return self._rows()[1:]

    def _rows(self) -> list[list[str]]:
        """Returns the lines of the list of pairs, with the heading first."""
        path = self.path / PAIRS
        if not path.is_file():
            return []
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return list(csv.reader(file))

    def _audit(self) -> Any:
        return read_json(self.path / SPLIT).get("audit")


def _person(path: str) -> str:
    return path.split("/", 1)[0]


def _is_pair_of(row: list[str], identity: str) -> bool:
    return any(canonical(_person(cell)) == identity for cell in row[:2])


def _named_in(text: str) -> set[str]:
    """Returns the person in a finding, which is a name or the path of a picture in a part of the split."""
    parts = canonical(text).split("/")
    return {parts[1]} if len(parts) > 2 else {parts[0]} if len(parts) == 1 else set()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _without(value: Any, identity: str) -> Any:
    """Returns a JSON value without the list items that contain a person."""
    if isinstance(value, dict):
        return {name: _without(part, identity) for name, part in value.items()}
    if isinstance(value, list):
        return [
            _without(part, identity)
            for part in value
            if not any(identity in _named_in(text) for text in _strings(part))
        ]
    return value
