"""Sources of crops: prepared faces, or photographs whose faces are detected and aligned on the fly."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, overload

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.datasets.face_sets import find_face_set, open_face_set
from faceclr_cli.core.embeddings.exported_rows import refuse_exported
from faceclr_cli.core.embeddings.loaded_pictures import FaceCrop, FailedPicture, LoadedPicture
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.detect import Choice, Selection
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.faces.quality import measure_quality
from faceclr_cli.core.films.film_file import is_film
from faceclr_cli.core.preparing.recorded_faces import RecordedFace, read_recorded_faces
from faceclr_cli.core.sources.archive import Archive, is_archive
from faceclr_cli.core.sources.file_trees import read_file
from faceclr_cli.core.sources.insightface_bin import SUFFIX as BIN_SUFFIX
from faceclr_cli.core.sources.insightface_bin import InsightfaceBin
from faceclr_cli.core.sources.layouts import Photo, find_photos
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import cores

_TOGETHER = 8
"""Crops for each thread task: passing a task to a thread takes as long as reading a crop. Photographs take longer."""


class _CropFunction(Protocol):
    """Crops the faces of a file, given its content. Called from several threads."""

    def __call__(self, data: bytes, path: Path) -> tuple[FaceCrop, ...]: ...


Known = Callable[[str], bool]
"""Function that returns True for the SHA-256 of a picture that is already embedded."""


class Source:
    """Pictures to embed, in an order that depends only on their names, or in the order of their archive.

    Attributes:
        photos: The pictures.
        fingerprint: Fingerprint of the crops, with the normalization of the encoder.

    Args:
        photos: The pictures.
        cut: Function that crops the faces of a file.
        fingerprint: Fingerprint of the crops, with the normalization of the encoder.
        together: Number of pictures in each thread task.
        measures: True to measure the quality of each face.
        recorded: What is recorded of prepared faces, by name.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        cut: _CropFunction,
        fingerprint: Fingerprint,
        *,
        together: int = 1,
        measures: bool = True,
        recorded: Mapping[str, RecordedFace] = MappingProxyType({}),
    ) -> None:
        self.photos = photos
        self.fingerprint = fingerprint
        self._cut, self._together, self._measures, self._recorded = cut, together, measures, recorded

    def load(
        self,
        ahead: int,
        known: Known = lambda _: False,
        photos: Iterable[Photo] | None = None,
        *,
        in_bursts: bool = False,
    ) -> Iterator[LoadedPicture | FailedPicture]:
        """Reads files in threads and returns them in order.

        Args:
            ahead: Maximum number of pictures that are read in advance, which bounds memory.
            known: Returns True for pictures that need not be decoded.
            photos: Subset of the pictures, in their order; None for all.
            in_bursts: Do not read while the caller processes pictures, since it needs all cores.
        """
        waiting: deque[Future[list[LoadedPicture | FailedPicture]]] = deque()
        threads = min(8, cores())
        # Threads suffice, since OpenCV releases the GIL.
        with self._open_archive() as archive, ThreadPoolExecutor(threads, thread_name_prefix="load") as pool:
            try:
                each = iter(self.photos if photos is None else photos)
                while some := list(islice(each, self._together)):
                    if archive is not None and len(waiting) >= 2 * threads:
                        wait([waiting[-2 * threads]])  # archives hold large photographs, so few are kept in memory
                    contents = [_read_member(archive, photo) for photo in some]
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

    def _open_archive(self) -> AbstractContextManager[Archive | InsightfaceBin | None]:
        first = self.photos[0]
        if first.member is None:
            return nullcontext()
        is_bin = first.path.suffix.lower() == BIN_SUFFIX and not is_archive(first.path)
        return InsightfaceBin(first.path) if is_bin else Archive(first.path)

    def _read_some(
        self, photos: Sequence[Photo], contents: Sequence[bytes | FailedPicture | None], known: Known
    ) -> list[LoadedPicture | FailedPicture]:
        return [self.read(photo, content, known) for photo, content in zip(photos, contents, strict=True)]

    def read(
        self, photo: Photo, content: bytes | FailedPicture | None = None, known: Known = lambda _: False
    ) -> LoadedPicture | FailedPicture:
        """Reads one file. Thread-safe.

        Args:
            photo: The picture.
            content: Content of the file if it was already read, or the failure to read it.
            known: As for `load`.
        """
        if isinstance(content, FailedPicture):
            return content
        try:
            data = read_file(photo.path) if content is None else content
            digest = hashlib.sha256(data).hexdigest()
            path = photo.path if photo.member is None else photo.path / photo.member
            faces = () if known(digest) else self._cut(data, path)
            if self._measures:
                faces = tuple(self._measure(face, self._recorded.get(photo.name)) for face in faces)
        except DataError as error:
            return FailedPicture(reason=str(error))
        return LoadedPicture(name=photo.name, identity=photo.identity, content_hash=digest, faces=faces)

    def _measure(self, face: FaceCrop, recorded: RecordedFace | None) -> FaceCrop:
        measured = measure_quality(face.crop, face.face)
        if recorded is None:
            return replace(face, measured=measured)
        measured = replace(measured, eye_distance=recorded.eye_distance, yaw=recorded.yaw)
        return replace(face, measured=measured, recorded_score=recorded.score)


def _read_member(archive: Archive | InsightfaceBin | None, photo: Photo) -> bytes | FailedPicture | None:
    """Reads a member of an archive, or returns None for a file. Not for threads: archives are read in order."""
    if archive is None or photo.member is None:
        return None
    try:
        return archive.read(photo.member)
    except DataError as error:
        return FailedPicture(reason=str(error))


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """The pictures to embed.

    Attributes:
        photos: The pictures, in an order that depends only on their names, or in the order of their archive.
        crops: Fingerprint of prepared faces; None for photographs.
        recorded: The records of prepared faces, by name; empty if their quality is not requested.
    """

    photos: Sequence[Photo]
    crops: Fingerprint | None
    recorded: Mapping[str, RecordedFace] = field(default_factory=dict)


def list_pictures(
    config: EmbedConfig,
    root: Path,
    wanted: Fingerprint,
    reporter: Reporter,
    *,
    has_layout: bool = False,
    reads_films: bool = False,
) -> Listing:
    """Lists prepared faces, or photographs: a folder, an archive, a list or a single file.

    Args:
        config: The options for the encoder and the layout.
        root: The folder or file, or `-` for paths on standard input.
        wanted: Fingerprint of the encoder.
        reporter: Receives warnings about files that were not listed.
        has_layout: True if the command has layout options that its warnings can suggest.
        reads_films: True if the caller reads the films of a folder, so that there is no warning that they are skipped.

    Raises:
        DataError: `root` is missing, is a film, or contains no pictures.
        FingerprintError: The fingerprint of the faces differs from the encoder's.
        ConfigError: Options for photographs were given for prepared faces.
    """
    faces = find_face_set(root)
    if faces is None:
        refuse_exported(root)
        if is_film(root.name) and root.is_file():
            raise DataError(f"{display_path(root)}: is a film; faceclr prepare and faceclr identify read films")
        found = find_photos(
            root, config.layout, null=config.null, depth=config.depth, lenient=not has_layout, films=reads_films
        )
        for text in found.notices if has_layout else found.plain_notices:
            reporter.report(Notice(text=text, level="warning"))
        photos = [photo for photo in found.photos if not (reads_films and is_film(photo.name))]
        return Listing(photos=sorted(photos, key=lambda photo: photo.position), crops=None)
    # Only options that were given are named, since few commands have all of them.
    values = {
        "--face": config.face != "largest",
        "--layout": config.layout != "auto",
        "--depth": config.depth is not None,
    }
    given = " and ".join(option for option, is_given in values.items() if is_given)
    if given:
        raise ConfigError(f"{display_path(root)}: contains prepared faces; omit {given}, which is only for photographs")
    _require_fitting(faces, config.model, wanted, reporter)
    recorded = {} if config.quality == "none" else read_recorded_faces(faces)
    return Listing(photos=_PreparedPhotos(faces), crops=faces.fingerprint, recorded=recorded)


def require_faces(root: Path, model: str, wanted: Fingerprint, reporter: Reporter) -> FaceFolder:
    """Opens prepared faces for an encoder.

    Args:
        root: Folder of the faces.
        model: Name of the encoder, for errors.
        wanted: Fingerprint of the encoder.
        reporter: Receives a warning if the detector of the faces or of the encoder is unknown.

    Raises:
        DataError: The folder is damaged.
        FingerprintError: The fingerprint of the faces differs from the encoder's.
    """
    faces = open_face_set(root)
    _require_fitting(faces, model, wanted, reporter)
    return faces


def _require_fitting(faces: FaceFolder, model: str, wanted: Fingerprint, reporter: Reporter) -> None:
    root = faces.root
    faces.fingerprint.require_same_crops(wanted, display_path(root), f"the encoder {model}")
    detectors = faces.fingerprint.detector, wanted.detector
    if not (faces.fingerprint.has_known_detector and wanted.has_known_detector) and detectors[0] != detectors[1]:
        text = "these faces and the encoder's training faces have only their template in common"
        if UNKNOWN not in detectors:
            text = "these faces and the encoder's training faces were aligned by the landmarks of different detectors"
        reporter.report(Notice(text=f"{display_path(root)}: {text}; results may be slightly worse"))


def open_source(choice: Choice, listing: Listing, wanted: Fingerprint, *, measures: bool = True) -> Source:
    """Opens the pictures of a listing.

    Args:
        choice: Which face to use if a photograph shows several.
        listing: The pictures.
        wanted: Fingerprint of the encoder.
        measures: True to measure the quality of each face.

    Raises:
        ModelError: Photographs cannot be aligned in the way that the encoder needs.
    """
    if listing.crops is not None:
        made = replace(listing.crops, channels=wanted.channels, normalization=wanted.normalization)
        cut = _CropReader(wanted.size)
        return Source(listing.photos, cut, made, together=_TOGETHER, measures=measures, recorded=listing.recorded)
    aligned = _FaceAligner(wanted, Selection(choice=choice))
    return Source(listing.photos, aligned, aligned.fingerprint, measures=measures)


class _PreparedPhotos(Sequence[Photo]):
    """Prepared faces as `Photo` objects, created on access since there may be millions."""

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
        faces, name = self._faces, self._faces.paths[place]
        if faces.container is not None:
            return Photo(path=faces.root, identity=faces.identities[place], name=name, member=name, position=place)
        return Photo(path=faces.root / name, identity=faces.identities[place], name=name)


class _CropReader:
    """Decodes files that are crops."""

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


class _FaceAligner:
    """Detects and aligns the faces of photographs."""

    def __init__(self, fingerprint: Fingerprint, selection: Selection) -> None:
        self._wanted, self._selection = fingerprint, selection
        # Detectors are not thread-safe, so each thread has its own. The first is created here to raise errors early.
        self._local = threading.local()
        self.fingerprint = self._cropper().fingerprint

    def __call__(self, data: bytes, path: Path) -> tuple[FaceCrop, ...]:
        faces = self._cropper().crop_data(data, path)
        return tuple(FaceCrop(crop=face.crop, face=face.face, faces_found=face.faces_found) for face in faces)

    def _cropper(self) -> PhotoCropper:
        if not hasattr(self._local, "cropper"):
            self._local.cropper = PhotoCropper(self._wanted, self._selection)
        cropper: PhotoCropper = self._local.cropper
        return cropper
