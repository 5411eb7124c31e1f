"""Where the crops that are embedded come from: prepared faces, or photographs aligned on the way."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.folder import is_face_folder, open_faces
from faceclr_cli.core.datasets.layouts import Photo, find_photos
from faceclr_cli.core.datasets.trees import read_file
from faceclr_cli.core.errors import DataError, FingerprintError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.archive import Archive
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.decode import decode
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.faces.reasons import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A face, ready for an encoder.

    Attributes:
        name: Its path below the folder, with forward slashes.
        identity: Its person, or None where nobody knows.
        content_hash: SHA-256 of the file.
        crop: RGB, 0-255. Shape: (size, size, 3).
        detection_score: 0 to 1, or NaN where the face was found by an earlier run.
    """

    name: str
    identity: str | None
    content_hash: str
    crop: NDArray[np.uint8]
    detection_score: float


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A file without a face, and why: one line that names it."""

    reason: str


class _Cut(Protocol):
    """Makes a crop and its detection score of the content of a file. Called from several threads."""

    def __call__(self, data: bytes, path: Path) -> tuple[NDArray[np.uint8], float]: ...


class Source:
    """Faces to embed, in an order that depends on their names alone, or in that of the archive they are in.

    Attributes:
        fingerprint: How the crops were made, and what the encoder does to them.
    """

    def __init__(self, photos: tuple[Photo, ...], cut: _Cut, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self._photos, self._cut = photos, cut

    def __len__(self) -> int:
        return len(self._photos)

    def load(self, ahead: int) -> Iterator[Loaded | Failed]:
        """Reads the files on threads, in order.

        Args:
            ahead: How many may be ready before they are asked for, which bounds the memory.
        """
        waiting: deque[Future[Loaded | Failed]] = deque()
        threads = min(8, os.cpu_count() or 1)
        # OpenCV lets go of Python's lock, so that threads are enough.
        with self._open_archive() as archive, ThreadPoolExecutor(threads, thread_name_prefix="load") as pool:
            try:
                for photo in self._photos:
                    if archive is not None and len(waiting) >= 2 * threads:
                        wait([waiting[-2 * threads]])  # photographs are larger than crops: few are held at a time
                    waiting.append(pool.submit(self._load, photo, _member(archive, photo)))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _open_archive(self) -> AbstractContextManager[Archive | None]:
        path = next((photo.path for photo in self._photos if photo.member is not None), None)
        return nullcontext() if path is None else Archive(path)

    def _load(self, photo: Photo, content: bytes | Failed | None) -> Loaded | Failed:
        if isinstance(content, Failed):
            return content
        try:
            data = read_file(photo.path) if content is None else content
            crop, score = self._cut(data, photo.path if photo.member is None else photo.path / photo.member)
        except DataError as error:
            return Failed(reason=str(error))
        return Loaded(
            name=photo.name,
            identity=photo.identity,
            content_hash=hashlib.sha256(data).hexdigest(),
            crop=crop,
            detection_score=score,
        )


def _member(archive: Archive | None, photo: Photo) -> bytes | Failed | None:
    """What is in a photograph in an archive, read in the archive's order, as threads would not; else None."""
    if archive is None or photo.member is None:
        return None
    try:
        return archive.read(photo.member)
    except DataError as error:
        return Failed(reason=str(error))


def open_source(root: Path, wanted: Fingerprint, encoder: str, reporter: Reporter) -> Source:
    """Opens a folder of prepared faces, a folder or archive of photographs, or a single photograph.

    Args:
        root: The folder or file.
        wanted: The encoder's fingerprint.
        encoder: What to call the encoder in errors.
        reporter: Told of what could not be listed.

    Raises:
        DataError: It is missing or holds no pictures.
        FingerprintError: The faces were prepared in another way than the encoder needs.
        ModelError: Photographs can't be aligned here in the way that the encoder needs.
    """
    if is_face_folder(root):
        faces = open_faces(root)
        faces.fingerprint.require_same_crops(wanted, shown(root), f"the encoder {encoder}")
        named = zip(faces.paths, faces.identities, strict=True)
        photos = tuple(Photo(path=root / name, identity=identity, name=name) for name, identity in named)
        if UNKNOWN in (faces.fingerprint.detector, wanted.detector) and faces.fingerprint.detector != wanted.detector:
            text = "the faces and those that the encoder was made for have only their template in common"
            reporter.report(Notice(text=f"{shown(root)}: {text}; the numbers may be a little worse for it"))
        made = replace(faces.fingerprint, channels=wanted.channels, normalisation=wanted.normalisation)
        return Source(photos, _Crops(wanted.size), made)
    found = find_photos(root)
    for text in found.notices:
        reporter.report(Notice(text=text, level="warning"))
    aligned = _Aligned(wanted)
    return Source(tuple(sorted(found.photos, key=lambda photo: photo.position)), aligned, aligned.fingerprint)


class _Crops:
    """Files that are crops already."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, data: bytes, path: Path) -> tuple[NDArray[np.uint8], float]:
        crop = decode(data, path)
        if crop.shape[:2] != (self._size, self._size):
            height, width = crop.shape[:2]
            raise FingerprintError(
                f"{shown(path)}: {width} x {height} pixels, not a crop of {self._size} x {self._size}"
            )
        return crop, math.nan


class _Aligned:
    """Photographs, of which it finds the largest face."""

    def __init__(self, fingerprint: Fingerprint) -> None:
        self._wanted = fingerprint
        # A detector serves one picture at a time. The first is made here, so that errors come early.
        self._own = threading.local()
        self._own.cropper = PhotoCropper(fingerprint)
        self.fingerprint = self._own.cropper.fingerprint

    def __call__(self, data: bytes, path: Path) -> tuple[NDArray[np.uint8], float]:
        if not hasattr(self._own, "cropper"):
            self._own.cropper = PhotoCropper(self._wanted)
        aligned = self._own.cropper.crop_data(data, path)[0]
        return aligned.crop, aligned.face.score
