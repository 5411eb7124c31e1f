"""`faceclr forget`: a person is removed from stores and prepared faces, and looked for afterwards."""

from __future__ import annotations

import difflib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import exclusive, read_json, write_json
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.datasets.folder import DESCRIPTION, NOBODY, is_face_folder, open_faces
from faceclr_cli.core.datasets.packed import forget_packed
from faceclr_cli.core.datasets.split import PAIRS, SPLIT
from faceclr_cli.core.embeddings import columns
from faceclr_cli.core.embeddings.columns import BLOCK, read_texts
from faceclr_cli.core.embeddings.gallery_cache import forget_galleries
from faceclr_cli.core.embeddings.parts import making_parts
from faceclr_cli.core.embeddings.store import new_store, open_store
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.ledger import LEDGER, Ledger
from faceclr_cli.core.faces.reasons import shown

Inode = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What became of one store or folder.

    Attributes:
        path: Which.
        kind: `embeddings` or `faces`.
        removed: Rows or pictures of the person.
        left: Those that were found when it was read again; with `dry_run`, all.
        others: Rows or pictures of everybody else.
    """

    path: str
    kind: str
    removed: int
    left: int
    others: int


@dataclass(frozen=True, kw_only=True)
class ForgetResult:
    """What was removed.

    Attributes:
        identity: Who.
        rows: For each store and folder, parts of splits included.
        linked: Pictures that have another hard link, in a folder that was not given.
        dry_run: Whether nothing was really removed.
    """

    identity: str
    rows: tuple[Forgotten, ...]
    linked: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def run(config: ForgetConfig, reporter: Reporter) -> ForgetResult:
    """Removes a person from stores and folders of faces, and reads each again to see that nothing is left.

    Stores are written anew without the person; of folders the pictures go, and what the ledger, the pairs of a split
    and the cache of decoded faces hold of them. The cache of galleries is emptied.

    Raises:
        DataError: A path is no store and no folder of faces, none of them knows the person, something could not be
            removed, or was found again afterwards.
        LockedError: Another run writes there.
    """
    stores, folders = _sorted(config.paths)
    known = [_people_of_store(path) for path in stores] + [_people_of_folder(path) for path in folders]
    if not any(config.identity in people for people in known):
        raise _unknown(config.identity, set().union(*known))
    rows, links = list[Forgotten](), Counter[Inode]()
    for path in stores:
        rows.append(_forget_rows(path, config))
    for path in folders:
        rows.append(_forget_pictures(path, config, links))
    for path in config.paths:
        if (path / SPLIT).is_file() and not config.dry_run:
            _forget_in_split(path, config.identity)
    if not config.dry_run:
        forget_galleries()
    left = [row.path for row in rows if row.left and not config.dry_run]
    if left:
        raise DataError(
            f"{shown(left[0])}: {shown(config.identity)} is still there; try again when nobody writes to it"
        )
    linked = sum(count > 0 for count in links.values())
    _advise(linked, bool(folders), reporter)
    return ForgetResult(identity=config.identity, rows=tuple(rows), linked=linked, dry_run=config.dry_run)


def _sorted(paths: tuple[Path, ...]) -> tuple[list[Path], list[Path]]:
    """The stores, and the folders of faces; a split is those of its parts."""
    stores, folders = list[Path](), list[Path]()
    for path in paths:
        if path.is_file():
            with open_store(path):
                stores.append(path)
        elif is_face_folder(path):
            folders.append(path)
        elif (path / SPLIT).is_file():
            folders += sorted(child for child in path.iterdir() if is_face_folder(child))
        else:
            state = "neither a store nor prepared faces nor a split" if path.exists() else "no such file or folder"
            raise DataError(f"{shown(path)}: {state}")
    return stores, folders


def _people_of_store(path: Path) -> set[str]:
    with open_store(path) as store:
        return set(read_texts(store.file["identity"])) - {""}


def _people_of_folder(path: Path) -> set[str]:
    return {child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")} - {NOBODY}


def _unknown(identity: str, people: set[str]) -> DataError:
    near = difflib.get_close_matches(identity, people, n=1)
    hint = f"; did you mean {shown(near[0])}?" if near else ""
    return DataError(f"nobody there is called {shown(identity)}{hint}")


def _rows_of(path: Path, identity: str) -> tuple[NDArray[np.bool_], int]:
    """Which rows of a store are a person's, and how many."""
    with open_store(path) as store:
        theirs = np.array([name == identity for name in read_texts(store.file["identity"])], bool)
    return theirs, int(theirs.sum())


def _forget_rows(path: Path, config: ForgetConfig) -> Forgotten:
    with making_parts(path) as parts:
        theirs, removed = _rows_of(path, config.identity)
        left, others = removed, len(theirs) - removed
        if not config.dry_run:
            if not others:
                path.unlink()
            elif removed or any(parts.folder.iterdir()):
                _write_without(path, np.flatnonzero(~theirs))
            # Those of a store in parts are in the one file now; those of a stopped run are made again.
            parts.discard()
            left = _rows_of(path, config.identity)[1] if path.exists() else 0
    return Forgotten(path=str(path), kind="embeddings", removed=removed, left=left, others=others)


def _write_without(path: Path, keep: NDArray[np.int_]) -> None:
    """Writes a store anew with some of its rows: in place, HDF5 would leave what was there."""
    with open_store(path) as store, new_store(path, store.origin) as file:
        columns.create(file, replace(store.shape, rows=len(keep)))
        for start in range(0, len(keep), BLOCK):
            columns.put(file, start, store.rows(keep[start : start + BLOCK]))


def _forget_pictures(folder: Path, config: ForgetConfig, links: Counter[Inode]) -> Forgotten:
    """Removes a person's pictures; `links` counts the names that each of them has left."""
    identity, traces = config.identity, set[str]()
    with exclusive(folder):
        theirs = list(_pictures(folder, identity))
        if not config.dry_run:
            for path in theirs:
                status = path.stat()
                inode = status.st_dev, status.st_ino
                links[inode] = status.st_nlink - 1
            shutil.rmtree(folder / identity, ignore_errors=True)
            if (folder / LEDGER).is_file():
                with Ledger.open(folder / LEDGER, {}) as ledger:
                    traces = ledger.forget(identity)
            forget_packed(folder)
            _count_again(folder)
    noted = not config.dry_run and _is_noted(folder / LEDGER, identity, traces)
    left = len(list(_pictures(folder, identity))) + noted
    others = len(open_faces(folder)) - left if (folder / DESCRIPTION).exists() else 0
    return Forgotten(path=str(folder), kind="faces", removed=len(theirs), left=left, others=others)


def _pictures(folder: Path, identity: str) -> Iterator[Path]:
    if identity in _people_of_folder(folder):
        yield from (path for path in sorted((folder / identity).rglob("*")) if path.is_file())


def _count_again(folder: Path) -> None:
    """Brings the folder's description up to date, or removes it with the last face."""
    try:
        faces = open_faces(folder)
    except DataError:
        (folder / DESCRIPTION).unlink()
        return
    said = read_json(folder / DESCRIPTION)
    states = said.get("states")
    if isinstance(states, dict) and (folder / LEDGER).is_file():
        with Ledger.open_to_read(folder / LEDGER) as ledger:
            said["states"] = {**dict.fromkeys(states, 0), **{state.value: n for state, n in ledger.counts().items()}}
            said["reasons"] = {reason.value: count for reason, count in ledger.reasons().items()}
    if "faces" in said:
        said |= {"faces": len(faces), "people": len(faces.people)}
    write_json(folder / DESCRIPTION, said)


def _is_noted(path: Path, identity: str, traces: set[str]) -> bool:
    """Whether a ledger still has a row of a person, or anywhere in its bytes a digest that only their rows had."""
    if not path.is_file():
        return False
    with Ledger.open_to_read(path) as ledger:
        if ledger.knows(identity):
            return True
    content = path.read_bytes()
    return any(digest.encode() in content for digest in traces)


def _forget_in_split(split: Path, identity: str) -> None:
    """Takes a person out of a split's pairs, counts and findings."""
    prefix = f"{identity}/"
    pairs = split / PAIRS
    if pairs.is_file():
        lines = pairs.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
        kept = [line for line in lines if not any(cell.strip('"').startswith(prefix) for cell in line.split(","))]
        temporary = split / f".{os.getpid()}.{PAIRS}"
        temporary.write_text("".join(kept), encoding="utf-8", errors="surrogateescape")
        os.replace(temporary, pairs)
    said = read_json(split / SPLIT)
    for part, about in said.get("parts", {}).items():
        if is_face_folder(split / part):
            faces = open_faces(split / part)
            about |= {"faces": len(faces), "people": len(faces.people)}
    if pairs.is_file():
        said["pairs"] = len(kept) - 1
    said["audit"] = _without(said.get("audit"), prefix)
    write_json(split / SPLIT, said)


def _without(value: Any, prefix: str) -> Any:
    """JSON without the list items in which a person's pictures are named."""
    if isinstance(value, dict):
        return {name: _without(part, prefix) for name, part in value.items()}
    if isinstance(value, list):
        return [_without(part, prefix) for part in value if not _names(part, prefix)]
    return value


def _names(value: Any, prefix: str) -> bool:
    if isinstance(value, str):
        return prefix in value or value == prefix[:-1]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_names(part, prefix) for part in parts)


def _advise(linked: int, folders: bool, reporter: Reporter) -> None:
    if linked:
        text = f"{linked} of the pictures are linked in another folder too, perhaps a split; forget them there as well"
        reporter.report(Notice(text=text, level="warning"))
    if folders:
        text = (
            "photographs that faces were made of are not touched, and would make them again; an encoder keeps what it "
            "learned from them until it is trained anew"
        )
        reporter.report(Notice(text=text))
