"""The work on one photo: crops and a ledger row. Runs in worker processes and on other machines."""

from __future__ import annotations

import hashlib
import json
import math
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

from faceclr_cli.core.configs.prepare import DEFAULT_FPS, DEFAULT_PER_TRACK
from faceclr_cli.core.faces.align import Alignment
from faceclr_cli.core.faces.crop import AlignedFace, PhotoCropper
from faceclr_cli.core.faces.decode import MAX_BYTES, BadPictureError, Picture
from faceclr_cli.core.faces.detect import Face, Selection, UnfitError
from faceclr_cli.core.faces.fingerprint import LANDMARKS, UNKNOWN, Fingerprint
from faceclr_cli.core.faces.quality import sharpness
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.films.film_file import Piece
from faceclr_cli.core.preparing.ledger import Row, RowState
from faceclr_cli.core.sources.landmark_file import GivenFaces

WRITING = ".writing"
"""Folder for crops that are being written, inside the output folder, before they are moved to their paths."""

PART = ".part"
"""Suffix of files that are being written."""

_LONGEST_NAME = 255  # bytes, in nearly every file system


@dataclass(frozen=True, kw_only=True)
class CropJob:
    """One photo to make crops of.

    Attributes:
        source: The file, or the archive that contains it.
        path: Name of the photo in the ledger.
        identity: The person, or None if unknown.
        output: Path of the crop relative to the output folder, with forward slashes.
        part: `train`, `val` or `test` if the source comes with a split.
        member: Name in the archive, if any.
        position: Rank in the archive. Reading photos in this order is fastest.
        refused: Why the photo must not be opened, or None.
        stamp: Size and modification time by which a later run detects a change; None for those of the file.
        data: Content of the file, if workers cannot read it themselves.
        given: The faces, if a landmark file has them.
        piece: The part of the film, if this is one.
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
    given: GivenFaces | None = None
    piece: Piece | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings for making the crops of a folder.

    Attributes:
        out: The folder.
        fingerprint: Preprocessing of the crops. If its detector is unknown, the photos are crops already.
        selection: Which faces to use.
        suffix: `.jpg` or `.png`.
        quality: JPEG quality, 0-100.
        min_sharpness: Minimum variance of the Laplacian of a crop's gray values.
        fps: Number of frames per second in which faces of films are detected.
        per_track: Maximum number of faces of each track in a film.
    """

    out: Path
    fingerprint: Fingerprint
    selection: Selection
    suffix: str
    quality: int
    min_sharpness: float
    fps: float = DEFAULT_FPS
    per_track: int = DEFAULT_PER_TRACK


def make_face(recipe: Recipe, work: CropJob) -> Row:
    """Makes the crops of one photo and returns its ledger row. The folder `WRITING` must exist.

    Raises:
        OSError: A crop cannot be written.
    """
    row = Row(path=work.path, identity=work.identity, part=work.part, state=RowState.FAILED)
    data, row = _read(work, row)
    if data is None:
        return row
    row = replace(row, sha256=hashlib.sha256(data).hexdigest())
    try:
        found = _make_crops(recipe, data, work)
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
    whole = data if _is_final(recipe, data, work) else None
    outputs = [work.output if rank == 0 else extra_crop_path(work, rank) for rank in range(len(sharp))]
    for (aligned, _), output in zip(sharp, outputs, strict=True):
        write_crop(whole or encode_crop(aligned.crop, recipe), recipe.out, output)
    first, *others = [face_record(aligned, grade, recipe) for aligned, grade in sharp]
    more = [{"output": output, **about} for output, about in zip(outputs[1:], others, strict=True)]
    return replace(
        row,
        state=RowState.DONE,
        output=work.output,
        box=None if first["box"] is None else json.dumps(first["box"]),
        landmarks=None if first["landmarks"] is None else json.dumps(first["landmarks"]),
        score=first["score"],
        sharpness=first["sharpness"],
        turn=first["turn"],
        bordered=first["bordered"],
        more=json.dumps(more) if more else None,
    )


def extra_crop_path(work: CropJob, rank: int) -> str:
    """Returns the path of the crop of another face in the same photo; `rank` counts from 1."""
    folder, name = work.output.rsplit("/", 1)
    stem, suffix = os.path.splitext(name)
    end = f"-{extra_crop_mark(work)}-{rank + 1}{suffix}"
    while len(os.fsencode(stem + end)) > _LONGEST_NAME:
        stem = stem[:-1]
    return f"{folder}/{stem}{end}"


def extra_crop_mark(work: CropJob) -> str:
    """Returns the eight digits that the names of all additional crops of a photo contain."""
    return hashlib.sha256(os.fsencode(work.path)).hexdigest()[:8]


def stamp_of(work: CropJob) -> tuple[int, int] | None:
    """Returns size and modification time of a photo, or None if the file is not accessible."""
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
        # Check the type first: opening a device may already have side effects.
        if not stat.S_ISREG(os.stat(work.source).st_mode):
            return None, replace(row, reason=Reason.NOT_A_FILE)
        with open(os.open(work.source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            about = os.fstat(file.fileno())
            # Ask for no more than the file contains, because `read` allocates what it is asked for.
            data = file.read(min(about.st_size, MAX_BYTES) + 1)
    except FileNotFoundError:
        return None, replace(row, reason=Reason.MISSING)
    except (OSError, ValueError):
        return None, replace(row, reason=Reason.UNREADABLE)
    return data, replace(row, size=about.st_size, mtime_ns=about.st_mtime_ns)


_own = threading.local()  # a detector is not thread-safe, and a cluster worker may have several threads


def _make_crops(recipe: Recipe, data: bytes, work: CropJob) -> list[AlignedFace]:
    if recipe.fingerprint.detector == UNKNOWN:
        return [_resize_crop(recipe, data, work.source)]
    detects = recipe.fingerprint.detector != LANDMARKS
    if not detects and work.given is None:
        Picture(data, work.source)  # A file that is not a picture is reported as such.
        raise UnfitError(work.source, Reason.NO_LANDMARKS)
    if work.given is not None and not work.given.is_sound:
        raise UnfitError(work.source, Reason.BAD_LANDMARKS, faces_found=len(work.given.faces))
    made_for = recipe.fingerprint, recipe.selection
    if getattr(_own, "made_for", None) != made_for:
        _own.cropper, _own.made_for = PhotoCropper(*made_for, detects=detects), made_for
    cropper: PhotoCropper = _own.cropper
    return cropper.crop_data(data, work.source, () if work.given is None else work.given.faces)


def _resize_crop(recipe: Recipe, data: bytes, origin: Path) -> AlignedFace:
    """Converts a picture that is already a crop to the requested size without stretching it."""
    image = Picture(data, origin).pixels()
    height, width = image.shape[:2]
    face = Face(box=(0.0, 0.0, float(width), float(height)), landmarks=None, score=1.0)
    fit = Alignment(method="box", margin=0.0, size=recipe.fingerprint.size)
    crop = image if (height, width) == (fit.size, fit.size) else fit.cut(image, face)
    return AlignedFace(crop=crop, face=face, faces_found=1)


def _is_final(recipe: Recipe, data: bytes, work: CropJob) -> bool:
    """Returns True if a file that is already a crop can be copied without recompressing it."""
    if recipe.fingerprint.detector != UNKNOWN:
        return False
    header = Picture(data, work.source).header
    side, kind = recipe.fingerprint.size, {".jpg": "JPEG", ".png": "PNG"}[recipe.suffix]
    # EXIF data may contain a rotation, or the location of the camera.
    return header.kind == kind and (header.width, header.height) == (side, side) and b"Exif" not in data


def face_record(aligned: AlignedFace, grade: float, recipe: Recipe) -> dict[str, Any]:
    """Returns what the ledger records about a crop with the sharpness `grade`."""
    face = aligned.face
    if recipe.fingerprint.detector == UNKNOWN:
        return {"box": None, "landmarks": None, "score": None, "sharpness": grade, "turn": None, "bordered": None}
    landmarks = None
    if face.landmarks is not None:
        landmarks = [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks]
    box = [round(side, 2) for side in face.box]
    score = None if math.isnan(face.score) else round(face.score, 4)
    seen = {"turn": face.turn, "bordered": int(face.bordered)}
    return {"box": box, "landmarks": landmarks, "score": score, "sharpness": grade, **seen}


def encode_crop(crop: NDArray[np.uint8], recipe: Recipe) -> bytes:
    """Returns the content of the file of a crop.

    Args:
        crop: RGB. Shape: (size, size, 3).
        recipe: The file format and its quality.

    Raises:
        OSError: OpenCV cannot encode the format.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, recipe.quality] if recipe.suffix == ".jpg" else []
    fine, packed = cv2.imencode(recipe.suffix, cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), options)
    if not fine:
        raise OSError(f"OpenCV cannot encode {recipe.suffix}")
    return packed.tobytes()


_TOKEN = secrets.token_hex(4)  # processes on several machines may have the same id and share the folder


def write_crop(content: bytes, out: Path, output: str) -> None:
    """Writes a crop atomically.

    Raises:
        OSError: The crop cannot be written.
    """
    # Not in the folder of the crop, where a killed worker would leave the partial file.
    part, target = out / WRITING / f"{_TOKEN}{threading.get_ident():x}{PART}", out / output
    try:
        part.write_bytes(content)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
