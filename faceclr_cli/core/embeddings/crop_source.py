"""Where the crops that are embedded come from: prepared faces, or photographs aligned on the way."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.exported_rows import refuse_exported
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.detect import Choice, Face, Selection
from faceclr_cli.core.faces.face_folder import FaceFolder, is_face_folder, open_faces
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.sources.archive import Archive
from faceclr_cli.core.sources.file_trees import read_file
from faceclr_cli.core.sources.layouts import Photo, find_photos
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import cores

_TOGETHER = 8
"""Crops that a thread reads at a time: to hand out one takes as long as to read it. Photographs take much longer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceCrop:
    """A face, cut out.

    Attributes:
        crop: RGB, 0-255. Shape: (size, size, 3).
        face: Where it was in the photograph, or None where an earlier run found it.
        faces_found: How many faces the photograph shows.
    """

    crop: NDArray[np.uint8]
    face: Face | None = None
    faces_found: int = 1

    @property
    def score(self) -> float:
        """How sure the detector was, 0 to 1; NaN where an earlier run found the face."""
        return math.nan if self.face is None else self.face.score

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width and height in pixels of the photograph; NaN likewise."""
        return (math.nan,) * 4 if self.face is None else self.face.box


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPicture:
    """A picture, ready for an encoder.

    Attributes:
        name: Its path below the folder, with forward slashes.
        identity: Its person, or None where nobody knows.
        content_hash: SHA-256 of the file.
        faces: What was cut out of it; empty where its embeddings are known already.
    """

    name: str
    identity: str | None
    content_hash: str
    faces: tuple[FaceCrop, ...]


@dataclass(frozen=True, kw_only=True)
class FailedPicture:
    """A file without a face, and why: one line that names it."""

    reason: str


class _Cutter(Protocol):
    """Cuts faces out of the content of a file. Called from several threads."""

    def __call__(self, data: bytes, path: Path) -> tuple[FaceCrop, ...]: ...


Known = Callable[[str], bool]
"""Whether a picture of this content, by its SHA-256, was embedded before."""


class Source:
    """Pictures to embed, in an order that depends on their names alone, or in that of the archive they are in.

    Attributes:
        photos: Which.
        fingerprint: How the crops were made, and what the encoder does to them.

    Args:
        photos: Which.
        cut: Cuts faces out of the content of a file.
        fingerprint: How the crops were made, and what the encoder does to them.
        together: How many a thread reads at a time.
    """

    def __init__(self, photos: Sequence[Photo], cut: _Cutter, fingerprint: Fingerprint, *, together: int = 1) -> None:
        self.photos = photos
        self.fingerprint = fingerprint
        self._cut, self._together = cut, together

    def load(
        self,
        ahead: int,
        known: Known = lambda _: False,
        photos: Iterable[Photo] | None = None,
        *,
        in_bursts: bool = False,
    ) -> Iterator[LoadedPicture | FailedPicture]:
        """Reads files on threads, in order.

        Args:
            ahead: How many may be ready before they are asked for, which bounds the memory.
            known: Pictures whose content is known are not even decoded.
            photos: Some of the source's, in its order; None for all.
            in_bursts: Nothing is read while the caller works on what was read, for which it needs all cores.
        """
        waiting: deque[Future[list[LoadedPicture | FailedPicture]]] = deque()
        threads = min(8, cores())
        # OpenCV lets go of Python's lock, so that threads are enough.
        with self._open_archive() as archive, ThreadPoolExecutor(threads, thread_name_prefix="load") as pool:
            try:
                each = iter(self.photos if photos is None else photos)
                while some := list(islice(each, self._together)):
                    if archive is not None and len(waiting) >= 2 * threads:
                        wait([waiting[-2 * threads]])  # photographs are larger than crops: few are held at a time
                    contents = [_member(archive, photo) for photo in some]
                    waiting.append(pool.submit(self._read_some, some, contents, known))
                    if len(waiting) * self._together <= ahead:
                        continue
                    if in_bursts:
                        wait(waiting)
                    yield from waiting.popleft().result()
                    while in_bursts and waiting:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _open_archive(self) -> AbstractContextManager[Archive | None]:
        first = self.photos[0]
        return nullcontext() if first.member is None else Archive(first.path)

    def _read_some(
        self, photos: Sequence[Photo], contents: Sequence[bytes | FailedPicture | None], known: Known
    ) -> list[LoadedPicture | FailedPicture]:
        return [self.read(photo, content, known) for photo, content in zip(photos, contents, strict=True)]

    def read(
        self, photo: Photo, content: bytes | FailedPicture | None = None, known: Known = lambda _: False
    ) -> LoadedPicture | FailedPicture:
        """Reads one file. May be called from several threads.

        Args:
            photo: Which.
            content: What is in it, where that is known.
            known: As for `load`.
        """
        if isinstance(content, FailedPicture):
            return content
        try:
            data = read_file(photo.path) if content is None else content
            digest = hashlib.sha256(data).hexdigest()
            path = photo.path if photo.member is None else photo.path / photo.member
            faces = () if known(digest) else self._cut(data, path)
        except DataError as error:
            return FailedPicture(reason=str(error))
        return LoadedPicture(name=photo.name, identity=photo.identity, content_hash=digest, faces=faces)


def _member(archive: Archive | None, photo: Photo) -> bytes | FailedPicture | None:
    """What is in a photograph in an archive, read in the archive's order, as threads would not; else None."""
    if archive is None or photo.member is None:
        return None
    try:
        return archive.read(photo.member)
    except DataError as error:
        return FailedPicture(reason=str(error))


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """Which pictures are to be embedded.

    Attributes:
        photos: In an order that depends on their names alone, or in that of the archive they are in.
        crops: How they were made, if they are prepared faces; None for photographs.
    """

    photos: Sequence[Photo]
    crops: Fingerprint | None


def list_pictures(
    config: EmbedConfig, root: Path, wanted: Fingerprint, reporter: Reporter, *, has_layout: bool = False
) -> Listing:
    """Lists prepared faces, or a folder, archive or list of photographs, or a single photograph.

    Args:
        config: The encoder's name, and how photographs are to be read.
        root: The folder or file, or `-` for paths on standard input.
        wanted: The encoder's fingerprint.
        reporter: Told of what could not be listed.
        has_layout: Whether the user of the command can say how people are told apart.

    Raises:
        DataError: It is missing or holds no pictures.
        FingerprintError: The faces were prepared in another way than the encoder needs.
        ConfigError: Options are for photographs, and these are faces.
    """
    if not is_face_folder(root):
        refuse_exported(root)
        found = find_photos(root, config.layout, null=config.null, depth=config.depth)
        for text in found.notices if has_layout else found.plain_notices:
            reporter.report(Notice(text=text, level="warning"))
        return Listing(photos=sorted(found.photos, key=lambda photo: photo.position), crops=None)
    if config.face != "largest" or config.layout != "auto" or config.depth is not None:
        raise ConfigError(
            f"{display_path(root)}: faces that are cut out already; --face, --layout and --depth are for photographs"
        )
    faces = require_faces(root, config.model, wanted, reporter)
    return Listing(photos=_Prepared(faces), crops=faces.fingerprint)


def require_faces(root: Path, model: str, wanted: Fingerprint, reporter: Reporter) -> FaceFolder:
    """Opens prepared faces that an encoder can embed.

    Args:
        root: Their folder.
        model: What the user calls the encoder.
        wanted: Its fingerprint.
        reporter: Told where nobody knows whether they were made in quite the same way.

    Raises:
        DataError: They are damaged.
        FingerprintError: They were prepared in another way than the encoder needs.
    """
    faces = open_faces(root)
    faces.fingerprint.require_same_crops(wanted, display_path(root), f"the encoder {model}")
    if UNKNOWN in (faces.fingerprint.detector, wanted.detector) and faces.fingerprint.detector != wanted.detector:
        text = "the faces and those that the encoder was made for have only their template in common"
        reporter.report(Notice(text=f"{display_path(root)}: {text}; the numbers may be a little worse for it"))
    return faces


def open_source(choice: Choice, listing: Listing, wanted: Fingerprint) -> Source:
    """Has what was listed ready to be read.

    Args:
        choice: Which face of a photograph that shows several.
        listing: The pictures.
        wanted: The encoder's fingerprint.

    Raises:
        ModelError: Photographs can't be aligned here in the way that the encoder needs.
    """
    if listing.crops is not None:
        made = replace(listing.crops, channels=wanted.channels, normalization=wanted.normalization)
        return Source(listing.photos, _Crops(wanted.size), made, together=_TOGETHER)
    aligned = _Aligned(wanted, Selection(choice=choice))
    return Source(listing.photos, aligned, aligned.fingerprint)


class _Prepared(Sequence[Photo]):
    """Prepared faces as photographs, each made when it is asked for: there may be millions."""

    def __init__(self, faces: FaceFolder) -> None:
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    @overload
    def __getitem__(self, place: int) -> Photo: ...

    @overload
    def __getitem__(self, place: slice) -> list[Photo]: ...

    def __getitem__(self, place: int | slice) -> Photo | list[Photo]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        name = self._faces.paths[place]
        return Photo(path=self._faces.root / name, identity=self._faces.identities[place], name=name)


class _Crops:
    """Files that are crops already."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, data: bytes, path: Path) -> tuple[FaceCrop, ...]:
        crop = decode_picture(data, path)
        if crop.shape[:2] != (self._size, self._size):
            height, width = crop.shape[:2]
            raise FingerprintError(
                f"{display_path(path)}: {width} x {height} pixels, not a crop of {self._size} x {self._size}"
            )
        return (FaceCrop(crop=crop),)


class _Aligned:
    """Photographs, in which it finds faces."""

    def __init__(self, fingerprint: Fingerprint, selection: Selection) -> None:
        self._wanted, self._selection = fingerprint, selection
        # A detector serves one picture at a time. The first is made here, so that errors come early.
        self._own = threading.local()
        self.fingerprint = self._cropper().fingerprint

    def __call__(self, data: bytes, path: Path) -> tuple[FaceCrop, ...]:
        faces = self._cropper().crop_data(data, path)
        return tuple(FaceCrop(crop=face.crop, face=face.face, faces_found=face.faces_found) for face in faces)

    def _cropper(self) -> PhotoCropper:
        if not hasattr(self._own, "cropper"):
            self._own.cropper = PhotoCropper(self._wanted, self._selection)
        cropper: PhotoCropper = self._own.cropper
        return cropper
