"""One photograph becomes crops and a row of the ledger: what every worker does, here and on other machines."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.align import Alignment
from faceclr_cli.core.faces.crop import AlignedFace, PhotoCropper
from faceclr_cli.core.faces.decode import MAX_BYTES, BadPictureError, Picture
from faceclr_cli.core.faces.detect import Face, Selection, UnfitError
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.faces.quality import sharpness
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.preparing.ledger import Row, RowState

WRITING = ".writing"
"""The folder beside those of people in which crops are written, before they are moved to their places."""

PART = ".part"
"""Ends the names of files that are being written."""

_LONGEST_NAME = 255  # bytes, in nearly every file system


@dataclass(frozen=True, kw_only=True)
class CropJob:
    """One photograph to make crops of.

    Attributes:
        source: The file, or the archive that it is in.
        path: What the ledger calls it.
        identity: Its person, or None where nobody knows.
        output: Where the crop goes, relative to the output folder, with forward slashes.
        part: `train`, `val` or `test`, where the source says so.
        member: Its name in the archive, if it is in one.
        position: Its place there; reading in this order is cheapest.
        refused: Why it is not even opened.
        stamp: Size and date of change by which a later run sees whether it is the same; None for those of the file.
        data: Its content, where a worker cannot read it itself.
    """

    source: Path
    path: str
    identity: str | None
    output: str
    part: str | None = None
    member: str | None = None
    position: int = 0
    refused: Reason | None = None
    stamp: tuple[int, int] | None = None
    data: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the crops of a folder are made.

    Attributes:
        out: The folder.
        fingerprint: Of the crops. Where its detector is unknown, the photographs are crops already.
        selection: Which faces are taken.
        suffix: `.jpg` or `.png`.
        quality: Of JPEG, 0-100.
        min_sharpness: Least variance of the Laplacian of a crop's gray values.
    """

    out: Path
    fingerprint: Fingerprint
    selection: Selection
    suffix: str
    quality: int
    min_sharpness: float


def make_face(recipe: Recipe, work: CropJob) -> Row:
    """Makes the crops of one photograph and says what became of it. The folder `WRITING` must be there.

    Raises:
        OSError: A crop cannot be written.
    """
    row = Row(path=work.path, identity=work.identity, part=work.part, state=RowState.FAILED)
    data, row = _read(work, row)
    if data is None:
        return row
    row = replace(row, sha256=hashlib.sha256(data).hexdigest())
    try:
        found = _crops(recipe, data, work.source)
        sharp = [(aligned, grade) for aligned in found if (grade := sharpness(aligned.crop)) >= recipe.min_sharpness]
    except BadPictureError as error:
        return replace(row, reason=error.reason)
    except UnfitError as error:
        state = RowState.FAILED if error.reason is Reason.SEVERAL else RowState.SKIPPED
        return replace(row, state=state, reason=error.reason, faces=error.faces_found)
    except (cv2.error, MemoryError):
        return replace(row, reason=Reason.CRASHED)
    row = replace(row, faces=found[0].faces_found)
    if not sharp:
        return replace(row, state=RowState.SKIPPED, reason=Reason.BLURRED)
    whole = data if _is_finished(recipe, data, work) else None
    outputs = [work.output if rank == 0 else further_output(work, rank) for rank in range(len(sharp))]
    for (aligned, _), output in zip(sharp, outputs, strict=True):
        _write(whole or _encoded(aligned.crop, recipe), recipe.out, output)
    first, *others = [_about(aligned, grade, recipe) for aligned, grade in sharp]
    more = [{"output": output, **about} for output, about in zip(outputs[1:], others, strict=True)]
    return replace(
        row,
        state=RowState.DONE,
        output=work.output,
        box=None if first["box"] is None else json.dumps(first["box"]),
        landmarks=None if first["landmarks"] is None else json.dumps(first["landmarks"]),
        score=first["score"],
        sharpness=first["sharpness"],
        more=json.dumps(more) if more else None,
    )


def further_output(work: CropJob, rank: int) -> str:
    """Where the crop of another face of the same photograph goes; `rank` counts from 1."""
    folder, name = work.output.rsplit("/", 1)
    stem, suffix = os.path.splitext(name)
    end = f"-{further_mark(work)}-{rank + 1}{suffix}"
    while len(os.fsencode(stem + end)) > _LONGEST_NAME:
        stem = stem[:-1]
    return f"{folder}/{stem}{end}"


def further_mark(work: CropJob) -> str:
    """Eight digits that the names of all its further crops contain."""
    return hashlib.sha256(os.fsencode(work.path)).hexdigest()[:8]


def stamp_of(work: CropJob) -> tuple[int, int] | None:
    """Size and date of change, or None where the file cannot be looked at."""
    if work.stamp is not None:
        return work.stamp
    try:
        about = os.stat(work.source)
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def _read(work: CropJob, row: Row) -> tuple[bytes | None, Row]:
    if work.stamp is not None:
        row = replace(row, size=work.stamp[0], mtime_ns=work.stamp[1])
    if work.refused is not None:
        return None, replace(row, reason=work.refused)
    if work.data is not None:
        return work.data, row
    try:
        # Looked at first: the mere opening of a device may do something.
        if not stat.S_ISREG(os.stat(work.source).st_mode):
            return None, replace(row, reason=Reason.NOT_A_FILE)
        with open(os.open(work.source, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            about = os.fstat(file.fileno())
            # Not more than there is, since memory is set aside for what is asked for.
            data = file.read(min(about.st_size, MAX_BYTES) + 1)
    except FileNotFoundError:
        return None, replace(row, reason=Reason.MISSING)
    except (OSError, ValueError):
        return None, replace(row, reason=Reason.UNREADABLE)
    return data, replace(row, size=about.st_size, mtime_ns=about.st_mtime_ns)


_own = threading.local()  # a detector serves one picture at a time, and a worker of a cluster may have several threads


def _crops(recipe: Recipe, data: bytes, origin: Path) -> list[AlignedFace]:
    if recipe.fingerprint.detector == UNKNOWN:
        return [_whole(recipe, data, origin)]
    made_for = recipe.fingerprint, recipe.selection
    if getattr(_own, "made_for", None) != made_for:
        _own.cropper, _own.made_for = PhotoCropper(*made_for), made_for
    cropper: PhotoCropper = _own.cropper
    return cropper.crop_data(data, origin)


def _whole(recipe: Recipe, data: bytes, origin: Path) -> AlignedFace:
    """A picture that is a crop already, brought to the size asked for without being stretched."""
    image = Picture(data, origin).pixels()
    height, width = image.shape[:2]
    face = Face(box=(0.0, 0.0, float(width), float(height)), landmarks=None, score=1.0)
    fit = Alignment(method="box", margin=0.0, size=recipe.fingerprint.size)
    crop = image if (height, width) == (fit.size, fit.size) else fit.cut(image, face)
    return AlignedFace(crop=crop, face=face, faces_found=1)


def _is_finished(recipe: Recipe, data: bytes, work: CropJob) -> bool:
    """Whether a file that is a crop already can be copied as it is, rather than be compressed once more."""
    if recipe.fingerprint.detector != UNKNOWN:
        return False
    header = Picture(data, work.source).header
    side, kind = recipe.fingerprint.size, {".jpg": "JPEG", ".png": "PNG"}[recipe.suffix]
    # Whoever has EXIF may be turned by it, and may say where it was taken.
    return header.kind == kind and (header.width, header.height) == (side, side) and b"Exif" not in data


def _about(aligned: AlignedFace, grade: float, recipe: Recipe) -> dict[str, Any]:
    face = aligned.face
    if recipe.fingerprint.detector == UNKNOWN:
        return {"box": None, "landmarks": None, "score": None, "sharpness": grade}
    landmarks = None
    if face.landmarks is not None:
        landmarks = [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks]
    box = [round(side, 2) for side in face.box]
    return {"box": box, "landmarks": landmarks, "score": round(face.score, 4), "sharpness": grade}


def _encoded(crop: NDArray[np.uint8], recipe: Recipe) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, recipe.quality] if recipe.suffix == ".jpg" else []
    fine, packed = cv2.imencode(recipe.suffix, cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), options)
    if not fine:
        raise OSError(f"OpenCV cannot encode {recipe.suffix}")
    return packed.tobytes()


_TOKEN = secrets.token_hex(4)  # processes on several machines may share a number, and the folder


def _write(content: bytes, out: Path, output: str) -> None:
    # Not beside the crop, where a worker that is killed just now would leave it.
    part, target = out / WRITING / f"{_TOKEN}{threading.get_ident():x}{PART}", out / output
    try:
        part.write_bytes(content)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
