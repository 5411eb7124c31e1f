"""Photographs to compare: a reader that loads, aligns and embeds each photograph once while its file is unchanged."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from queue import Empty, Queue

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.embeddings.crop_source import Listing, Source, open_source, require_faces
from faceclr_cli.core.embeddings.loaded_pictures import FaceCrop, FailedPicture, LoadedPicture
from faceclr_cli.core.embeddings.mirrored_crops import embed_crops
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.sources.file_trees import leads_out
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.sources.output_folders import mark_output, require_output_folder, require_outside
from faceclr_cli.core.sources.picture_names import FolderPictures
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import cores

BATCH = 32
_KEPT = 4096
"""Number of pictures to cache for an endless stream of pairs; far more than are pending at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedPhoto:
    """The embedding of a photograph, or the reason why it has none.

    Attributes:
        embedding: L2-normalized, or None if no face was found. Shape: (dim,).
        failure: Why there is no embedding, in one line that names the photograph; or None.
        content_hash: SHA-256 of the file, or None if it could not be read.
        notes: Quality warnings: a small, blurred or turned face, or several faces.
        quality: The known quality measures by name.
    """

    embedding: NDArray[np.float32] | None = None
    failure: str | None = None
    content_hash: str | None = None
    notes: tuple[str, ...] = ()
    quality: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A requested photograph.

    Attributes:
        name: The actual file name, which may be spelled differently in the request.
        state: Device, inode, size and times of the file, which change with its content; None if the file is not
            expected to change.
    """

    name: str
    state: tuple[int, ...] | None


class PhotoReader:
    """Reads and embeds photographs by name. Created by `open_photo_reader`.

    Attributes:
        fingerprint: How the faces are cropped.
        patient: True if all pairs are available up front. Each picture is then read once, and batches are always full,
            so that they depend only on the order of requests. If False, pairs arrive over time: the writer may wait for
            each verdict and replace files in between. A batch then holds the pictures that are ready, and a picture is
            cached until its file changes or many others have been requested.
    """

    def __init__(
        self, source: Source, encoder: Encoder, root: Path | None, crops: Path | None, *, patient: bool
    ) -> None:
        self.fingerprint: Fingerprint = source.fingerprint
        self.patient = patient
        self._source, self._encoder, self._root, self._crops = source, encoder, root, crops
        self._names = FolderPictures(root)
        self._asked: dict[str, Asked] = {}
        self._coming: dict[Asked, Future[LoadedPicture | FailedPicture]] = {}
        self._done: OrderedDict[Asked, EmbeddedPhoto] = OrderedDict()
        # OpenCV releases the GIL, so threads are enough.
        self._pool = ThreadPoolExecutor(min(8, cores()), thread_name_prefix="read")

    @property
    def content_hashes(self) -> Mapping[str, str]:
        """SHA-256 of each picture fetched so far, by its actual file name."""
        done = self._done.items()
        return {asked.name: picture.content_hash for asked, picture in done if picture.content_hash is not None}

    @property
    def quality(self) -> Mapping[str, Mapping[str, float]]:
        """The quality measures of each picture with a face fetched so far, by its actual file name."""
        return {asked.name: picture.quality for asked, picture in self._done.items() if picture.quality}

    def name_of(self, name: str) -> str:
        """Returns the actual file name of a picture."""
        return (self._asked.get(name) or self._look(name)).name

    def ask(self, name: str) -> Asked:
        """Starts reading a photograph in the background, unless it is already cached and its file is unchanged."""
        asked = self._asked.get(name) or self._look(name)
        if self.patient:
            self._asked[name] = asked
        if asked in self._done:
            self._done.move_to_end(asked)
        elif asked not in self._coming:
            self._coming[asked] = self._pool.submit(self._read, asked.name)
        return asked

    def fetch(self, asked: Asked) -> EmbeddedPhoto:
        """Waits for a requested photograph and returns its embedding.

        The photographs requested after it are embedded in the same batch.

        Raises:
            ModelError: The encoder's weights are missing or damaged.
        """
        while asked not in self._done:
            self._embed(asked)
        picture = self._done[asked]
        while not self.patient and len(self._done) > _KEPT:
            self._done.popitem(last=False)
        return picture

    def close(self) -> None:
        """Cancels pending reads and stops the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _look(self, name: str) -> Asked:
        """Resolves a name to a file, and records the state of the file before it is read."""
        found = name
        try:
            found = self._names.find(name) or name
            if self.patient:
                return Asked(found, None)
            about = os.stat((self._root or Path()) / found)
        except (OSError, ValueError):  # Reading the file reports the reason.
            return Asked(found, None)
        return Asked(found, (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))

    def _embed(self, wanted: Asked) -> None:
        batch: list[tuple[Asked, LoadedPicture, FaceCrop]] = []
        for asked, future in list(self._coming.items()):
            if len(batch) == BATCH:
                break
            if not (self.patient or asked == wanted or future.done()):
                continue
            loaded = self._coming.pop(asked).result()
            if isinstance(loaded, FailedPicture):
                self._done[asked] = EmbeddedPhoto(failure=loaded.reason)
            else:
                batch.append((asked, loaded, loaded.faces[0]))
        if not batch:
            return
        embeddings, norms = embed_crops(self._encoder, np.stack([cut.crop for *_, cut in batch]), "none")
        for (asked, loaded, cut), embedding, norm in zip(batch, embeddings, norms.tolist(), strict=True):
            if self._crops is not None:
                save_crop(self._crops, asked.name, cut.crop)
            self._done[asked] = EmbeddedPhoto(
                embedding=embedding,
                content_hash=loaded.content_hash,
                notes=cut.photo_notes,
                quality=cut.measures if np.isnan(norm) else {**cut.measures, "norm": norm},
            )

    def _read(self, name: str) -> LoadedPicture | FailedPicture:
        if "\0" in name:
            return FailedPicture(reason=f"{display_path(name)}: not a valid file name")
        if self._root is None:
            path = Path(name)
        elif leads_out(name):
            return FailedPicture(reason=f"{display_path(name)}: leads out of {display_path(self._root)}")
        else:
            path = self._root / name
        return self._source.read(Photo(path=path, identity=None, name=name))


@contextmanager
def open_photo_reader(
    encoder: Encoder,
    model: str,
    root: Path | None,
    choice: Choice,
    reporter: Reporter,
    crops: Path | None = None,
    *,
    patient: bool = True,
) -> Iterator[PhotoReader]:
    """Opens a reader of photographs or prepared faces.

    Args:
        encoder: The encoder.
        model: The encoder's name in messages, as given by the user.
        root: The folder that names are relative to; None for the working directory or absolute paths.
        choice: Which face to use when a photograph has several.
        reporter: Receives warnings about the faces.
        crops: Folder for the aligned crops, or None.
        patient: See `PhotoReader`.

    Raises:
        DataError: The folder does not exist.
        FingerprintError: The faces were prepared differently from what the encoder needs.
        ModelError: The alignment that the encoder needs is not available.
    """
    if crops is not None:
        require_outside("--save-crops", crops, root)
        require_output_folder("--save-crops", crops, [root or Path()])
    if root is not None and not root.is_dir():
        raise DataError(f"{display_path(root)}: {'not a folder' if root.exists() else 'no such folder'}")
    prepared = None
    if root is not None and is_face_folder(root):
        prepared = require_faces(root, model, encoder.fingerprint, reporter).fingerprint
    source = open_source(choice, Listing(photos=(), crops=prepared), encoder.fingerprint)
    pictures = PhotoReader(source, encoder, root, crops, patient=patient)
    try:
        yield pictures
    finally:
        pictures.close()


def similarity_of(a: EmbeddedPhoto, b: EmbeddedPhoto) -> float | None:
    """Returns the cosine similarity of two embeddings, -1 to 1; None if one is missing."""
    if a.embedding is None or b.embedding is None:
        return None
    return float(np.clip(a.embedding.astype(np.float64) @ b.embedding.astype(np.float64), -1, 1))


def crop_path(folder: Path, name: str) -> Path:
    """Returns the path of a crop.

    Args:
        folder: The output folder.
        name: Name of the photograph. Absolute paths and `..` are rewritten so that the file stays inside the folder.
    """
    inside = name.lstrip("/") if not leads_out(name.lstrip("/")) else name.replace("/", "_").replace("..", "_")
    return (folder / inside).with_name(PurePosixPath(inside).name + ".png")


def save_crop(folder: Path, name: str, crop: NDArray[np.uint8]) -> Path:
    """Writes a crop as a lossless PNG, into a folder that is marked as output if it is new.

    Args:
        folder: The output folder.
        name: Name of the photograph; see `crop_path`.
        crop: RGB, 0-255. Shape: (size, size, 3).

    Returns:
        The path of the file.

    Raises:
        DataError: The crop cannot be encoded as PNG.
    """
    target = crop_path(folder, name)
    done, data = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"{display_path(target)}: cannot be written as PNG")
    mark_output(folder)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data.tobytes())
    return target


_AHEAD = 2 * BATCH


def walk_pairs(pairs: Iterable[Pair], pictures: PhotoReader) -> Iterator[tuple[Pair, EmbeddedPhoto, EmbeddedPhoto]]:
    """Yields each pair with its embedded photographs, in order.

    Args:
        pairs: The pairs. The iterator may block, since its writer may wait for a verdict before the next pair.
        pictures: The reader. If it is patient, pairs are read ahead until a batch is full.
    """
    arriving: Queue[Pair | Exception | None] = Queue(_AHEAD)
    leaving = threading.Event()
    # A daemon thread, since a thread that blocks on standard input cannot be interrupted.
    threading.Thread(target=_bring, args=(pairs, arriving, leaving), name="pairs", daemon=True).start()
    try:
        yield from _walk(arriving, pictures)
    finally:
        leaving.set()
        while not arriving.empty():
            arriving.get_nowait()  # The thread may be blocked on a full queue.


def _walk(
    arriving: Queue[Pair | Exception | None], pictures: PhotoReader
) -> Iterator[tuple[Pair, EmbeddedPhoto, EmbeddedPhoto]]:
    window: deque[tuple[Pair, Asked, Asked]] = deque()
    end: Exception | None = None
    ended = False
    while True:
        while len(window) < _AHEAD and not ended:
            try:
                item = arriving.get(block=pictures.patient or not window)
            except Empty:
                break
            if isinstance(item, Pair):
                window.append((item, pictures.ask(item.a), pictures.ask(item.b)))
            else:
                end, ended = item, True
        if not window:
            break
        pair, a, b = window.popleft()
        yield pair, pictures.fetch(a), pictures.fetch(b)
    if end is not None:
        raise end


def _bring(pairs: Iterable[Pair], to: Queue[Pair | Exception | None], leaving: threading.Event) -> None:
    # Keep a reference: Python aborts if it closes standard input at exit while this thread still reads it.
    _held = sys.stdin
    try:
        for pair in pairs:
            to.put(pair)
            if leaving.is_set():
                return
        to.put(None)
    except Exception as error:  # noqa: BLE001 - raised again in the consumer
        to.put(error)
