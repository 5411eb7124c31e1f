"""The engine of `prepare`: a list of photographs becomes crops and rows of the ledger, and only what is new is done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter

import cv2

from faceclr_cli.core.errors import DataError, NoFaceError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.crop import AlignedFace, PhotoCropper
from faceclr_cli.core.faces.decode import MAX_BYTES, BadPictureError, decode
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.ledger import Ledger, Row, State
from faceclr_cli.core.faces.pool import map_ordered
from faceclr_cli.core.faces.reasons import PASSING, Reason

_PART = ".part"
_WORTH_A_PROCESS = 16
"""Photographs for which starting one more process pays."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One photograph to make a crop of.

    Attributes:
        source: The file.
        path: What the ledger calls it.
        identity: Its person, or None where nobody knows.
        output: Where the crop goes, relative to the output folder, with forward slashes.
    """

    source: Path
    path: str
    identity: str | None
    output: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the crops of a folder are made."""

    out: Path
    fingerprint: Fingerprint
    min_score: float
    quality: int


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What one run of the engine did."""

    processed: int
    removed: int
    seconds: float


def make_faces(
    work: Sequence[Work], recipe: Recipe, ledger: Ledger, reporter: Reporter, workers: int | None = None
) -> Effort:
    """Brings an output folder and its ledger up to date with a list of photographs.

    What the ledger has as it is now (same size and date of change, crop in its place) is left alone.
    Crops of photographs that are gone or changed are removed first, so that whenever the run ends,
    a crop has a row or will be written again with the same bytes.

    Args:
        work: All photographs, each path and each output once.
        recipe: How crops are made.
        ledger: The open ledger of the output folder.
        reporter: Told of every photograph.
        workers: Processes; None for one per core.

    Raises:
        DataError: A crop cannot be written, for instance because the disk is full.
        ModelError: The recipe asks for what is not here.
    """
    _cropper(recipe.fingerprint, recipe.min_score)  # a missing model shows here, not in every worker
    todo, removed = _clear(work, recipe.out, ledger)
    if removed:
        reporter.report(Notice(text=f"{removed} photos are gone from the source; their faces were removed"))
    limit = -(-len(todo) // _WORTH_A_PROCESS)
    workers = max(1, min(workers or _cores(), limit))
    begun = perf_counter()
    make = partial(make_face, recipe)
    try:
        with closing(map_ordered(make, todo, workers, _crashed)) as rows:
            for row in track(rows, reporter, "detecting faces", total=len(todo), unit="photos"):
                ledger.add(row)
    except OSError as error:
        raise DataError(
            f"{recipe.out}: a face cannot be written ({error.strerror or error}); "
            "the same command continues from here once that is mended"
        ) from error
    return Effort(processed=len(todo), removed=removed, seconds=perf_counter() - begun)


def make_face(recipe: Recipe, work: Work) -> Row:
    """Makes the crop of one photograph and says what became of it.

    Raises:
        OSError: The crop cannot be written.
    """
    row = Row(path=work.path, identity=work.identity, state=State.FAILED)
    try:
        with open(work.source, "rb") as file:
            about = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return replace(row, reason=Reason.MISSING)
    except OSError:
        return replace(row, reason=Reason.UNREADABLE)
    row = replace(row, size=about.st_size, mtime_ns=about.st_mtime_ns, sha256=hashlib.sha256(data).hexdigest(), faces=0)
    try:
        image = decode(data, work.source)
        aligned = _cropper(recipe.fingerprint, recipe.min_score).crop(image, work.source)
    except BadPictureError as error:
        return replace(row, reason=error.reason, faces=None)
    except NoFaceError:
        return replace(row, state=State.SKIPPED, reason=Reason.NO_FACE)
    except (cv2.error, MemoryError):
        return replace(row, reason=Reason.CRASHED, faces=None)
    _write(aligned, recipe, work.output)
    face = aligned.face
    return replace(
        row,
        state=State.DONE,
        output=work.output,
        faces=aligned.faces_found,
        box=json.dumps([round(side, 2) for side in face.box]),
        landmarks=json.dumps([[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks]),
        score=round(face.score, 4),
    )


def _cores() -> int:
    # Only Linux knows which cores this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _cropper(fingerprint: Fingerprint, min_score: float) -> PhotoCropper:
    return PhotoCropper(fingerprint, min_score=min_score)


def _crashed(work: Work) -> Row:
    return Row(path=work.path, identity=work.identity, state=State.FAILED, reason=Reason.CRASHED)


def _write(aligned: AlignedFace, recipe: Recipe, output: str) -> None:
    crop = cv2.cvtColor(aligned.crop, cv2.COLOR_RGB2BGR)
    fine, packed = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, recipe.quality])
    if not fine:
        raise OSError(f"OpenCV cannot encode {output}")
    target = recipe.out / output
    # A short name of its own, since the target's may be as long as names can be.
    part = target.parent / f".{os.getpid()}{_PART}"
    try:
        part.write_bytes(packed.data)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(packed.data)
    os.replace(part, target)


def _clear(work: Sequence[Work], out: Path, ledger: Ledger) -> tuple[list[Work], int]:
    """Removes what is out of date, and says what is to do and how many photographs are gone."""
    present = _present(out)
    known = {row.path: row for row in ledger.rows()}
    todo = [item for item in work if not _is_current(item, known.get(item.path), present)]
    redone = {item.path for item in todo}
    gone = known.keys() - {item.path for item in work}
    stale = [row for row in known.values() if row.path in redone or row.path in gone]
    _unlink(out, (row.output for row in stale if row.output in present))
    ledger.remove(row.path for row in stale)
    return todo, len(gone)


def _is_current(item: Work, row: Row | None, present: set[str]) -> bool:
    if row is None or row.identity != item.identity or row.reason in PASSING:
        return False
    if row.state is State.DONE and (row.output != item.output or row.output not in present):
        return False
    try:
        about = os.stat(item.source)
    except OSError:
        return False
    return (row.size, row.mtime_ns) == (about.st_size, about.st_mtime_ns)


def _present(out: Path) -> set[str]:
    """The crops in a folder. What a killed run was writing just then is removed."""
    found = set()
    for person in os.scandir(out):
        if person.is_dir(follow_symlinks=False) and not person.name.startswith("."):
            for entry in os.scandir(person.path):
                if entry.name.startswith(".") and entry.name.endswith(_PART):
                    Path(entry.path).unlink(missing_ok=True)
                found.add(f"{person.name}/{entry.name}")
    return found


def _unlink(out: Path, outputs: Iterable[str | None]) -> None:
    for output in outputs:
        if output is not None:
            crop = out / output
            crop.unlink(missing_ok=True)
            if not any(crop.parent.iterdir()):
                crop.parent.rmdir()
