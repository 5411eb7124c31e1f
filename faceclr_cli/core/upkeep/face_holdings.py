"""What folders of prepared faces and splits hold of a person, and how they let go of it."""

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
    """A folder of prepared faces: the pictures, the ledger, the description, and the cache of decoded faces.

    Attributes:
        links: How many other names each picture had that was removed, by device and inode.
    """

    kind = "faces"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.links: dict[tuple[int, int], int] = {}
        self._traces: set[str] = set()

    def people(self) -> set[str]:
        """All people with a folder or a row of the ledger."""
        people = {canonical(folder.name) for folder in self._folders()}
        if self._ledger.is_file():
            with Ledger.open_to_read(self._ledger) as ledger:
                people |= set(map(canonical, ledger.spellings()))
        return people

    def count(self, identity: str) -> Count:
        """Counts pictures, those that only the ledger knows, and digests of theirs that are left in its bytes."""
        theirs = {path.relative_to(self.path).as_posix() for path in self._pictures(identity)}
        if self._ledger.is_file():
            with Ledger.open_to_read(self._ledger) as ledger:
                for row in ledger.rows():
                    if row.identity is not None and canonical(row.identity) == identity:
                        theirs |= {*row.outputs} or {row.path}
            content = self._ledger.read_bytes() if self._traces else b""
            theirs |= {digest for digest in self._traces if digest.encode() in content}
        faces = open_faces(self.path).identities if self._has_faces() else ()
        return Count(len(theirs), len(faces) - faces.count(identity))

    def remove(self, identity: str) -> None:
        """Removes the person's folders last: as long as they are there, the removal can be taken up again."""
        with exclusive(self.path):
            if self._ledger.is_file():
                with Ledger.open(self._ledger, {}) as ledger:
                    self._traces |= ledger.forget(identity)
            self._describe(identity)
            for path in self._pictures(identity):
                status = path.lstat()
                self.links[status.st_dev, status.st_ino] = status.st_nlink - 1
            forget_packed(self.path)
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
        """Those of people."""
        folders = (child for child in self.path.iterdir() if child.is_dir() and not child.is_symlink())
        return sorted(folder for folder in folders if not folder.name.startswith(".") and folder.name != UNNAMED)

    def _pictures(self, identity: str) -> Iterator[Path]:
        for folder in self._folders():
            if canonical(folder.name) == identity:
                yield from (path for path in sorted(folder.rglob("*")) if not path.is_dir())

    def _describe(self, identity: str) -> None:
        """Makes the folder's description say what it will be without a person."""
        said = read_json(self.path / DESCRIPTION)
        states = said.get("states")
        if isinstance(states, dict) and self._ledger.is_file():
            with Ledger.open_to_read(self._ledger) as ledger:
                counts = {state.value: count for state, count in ledger.counts().items()}
                said["states"] = {**dict.fromkeys(states, 0), **counts}
                said["reasons"] = {reason.value: count for reason, count in ledger.reasons().items()}
        if self._has_faces():
            faces = open_faces(self.path)
            rows = [(path, name) for path, name in zip(faces.paths, faces.identities, strict=True) if name != identity]
            summary = asdict(summarize_part([path for path, _ in rows], [name for _, name in rows]))
            said |= {name: value for name, value in summary.items() if name in said}
        write_json(self.path / DESCRIPTION, said)


class SplitHolding:
    """What a split says of its parts: the list of pairs, and the counts and findings of `split.json`."""

    kind = "split"

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def parts(self) -> list[Path]:
        """Its parts, which are folders of prepared faces."""
        return sorted(child for child in self.path.iterdir() if is_face_folder(child))

    def people(self) -> set[str]:
        """All people whom a pair or a finding names."""
        pairs = {canonical(_person(cell)) for row in self._pairs() for cell in row[:2]}
        return pairs | {name for text in _texts(self._audit()) for name in _named_in(text)}

    def count(self, identity: str) -> Count:
        """Counts pairs and findings."""
        pairs = self._pairs()
        theirs = [row for row in pairs if _is_pair_of(row, identity)]
        findings = [text for text in _texts(self._audit()) if identity in _named_in(text)]
        return Count(len(theirs) + len(findings), len(pairs) - len(theirs))

    def remove(self, identity: str) -> None:
        """Writes the pairs and `split.json` anew."""
        with exclusive(self.path):
            for name in (PAIRS, SPLIT):
                for left in self.path.glob(f".*.{name}"):
                    left.unlink(missing_ok=True)  # Half-written, by a run that was killed.
            kept = [row for row in self._pairs() if not _is_pair_of(row, identity)]
            if (self.path / PAIRS).is_file():
                self._write_pairs(kept)
            said = read_json(self.path / SPLIT)
            for part, about in said.get("parts", {}).items():
                if is_face_folder(self.path / part):
                    faces = open_faces(self.path / part)
                    about |= asdict(summarize_part(faces.paths, faces.identities))
                else:
                    about |= asdict(summarize_part([], []))
            write_json(self.path / SPLIT, said | {"pairs": len(kept), "audit": _without(self._audit(), identity)})

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
        """The lines of the list of pairs, the heading first."""
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
    """Whom a text of the findings names: it is a name, or the path of a picture, which begins with its part."""
    parts = canonical(text).split("/")
    return {parts[1]} if len(parts) > 2 else {parts[0]} if len(parts) == 1 else set()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _without(value: Any, identity: str) -> Any:
    """JSON without the list items that name a person."""
    if isinstance(value, dict):
        return {name: _without(part, identity) for name, part in value.items()}
    if isinstance(value, list):
        return [
            _without(part, identity) for part in value if not any(identity in _named_in(text) for text in _texts(part))
        ]
    return value
