"""Photographs that are compared: each is read, aligned and embedded once, as long as its file stays the same."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from queue import Empty, Queue

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.embeddings.crop_source import (
    FaceCrop,
    FailedPicture,
    Listing,
    LoadedPicture,
    Source,
    open_source,
    require_faces,
)
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.crop import AlignedFace
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.quality import doubts
from faceclr_cli.core.sources.file_trees import leads_out
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.sources.picture_names import FolderPictures
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import cores

BATCH = 32
_KEPT = 4096
"""How many pictures are remembered where pairs never end: far more than are being waited for at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedPhoto:
    """What became of a photograph.

    Attributes:
        embedding: L2-normalized, or None where it gave no face. Shape: (dim,).
        failure: Why it gave none: one line that names it; or None.
        content_hash: SHA-256 of the file, or None where it could not be read.
        notes: What makes a verdict on it doubtful: a small, blurred or turned face, or several.
    """

    embedding: NDArray[np.float32] | None = None
    failure: str | None = None
    content_hash: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A photograph that was asked for.

    Attributes:
        name: As it is called there, which may be spelled differently from what was asked for.
        state: What changes with the file, where that may happen between two pairs; else None.
    """

    name: str
    state: tuple[int, ...] | None


class PhotoReader:
    """Photographs below a folder by their names, for `with opened(...)`.

    Attributes:
        fingerprint: How their faces are cut out.
        patient: Whether the pairs are all there. Then each picture is read once, and batches are filled, so that they
            depend on the order of asking alone. Else whoever writes the pairs may wait for an answer, write for days,
            and replace files in between: a batch is what is there, and a picture is kept until its file changes, or
            many others were asked for.
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
        # OpenCV lets go of Python's lock, so that threads are enough.
        self._pool = ThreadPoolExecutor(min(8, cores()), thread_name_prefix="read")

    @property
    def content_hashes(self) -> Mapping[str, str]:
        """SHA-256 of the files of the pictures that were fetched, by the names that they have there."""
        done = self._done.items()
        return {asked.name: picture.content_hash for asked, picture in done if picture.content_hash is not None}

    def name_of(self, name: str) -> str:
        """The name that a picture, which was asked for, has there."""
        return (self._asked.get(name) or self._look(name)).name

    def ask(self, name: str) -> Asked:
        """Has a photograph read in the background, unless that was done and its file is still the same."""
        asked = self._asked.get(name) or self._look(name)
        if self.patient:
            self._asked[name] = asked
        if asked in self._done:
            self._done.move_to_end(asked)
        elif asked not in self._coming:
            self._coming[asked] = self._pool.submit(self._read, asked.name)
        return asked

    def fetch(self, asked: Asked) -> EmbeddedPhoto:
        """What became of a photograph that was asked for.

        Those asked for next go through the encoder with it.

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
        """Lets go of what nobody will fetch."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _look(self, name: str) -> Asked:
        """Which file is meant, and the state that it is in now, before it is read."""
        found = name
        try:
            found = self._names.find(name) or name
            if self.patient:
                return Asked(found, None)
            about = os.stat((self._root or Path()) / found)
        except (OSError, ValueError):  # Reading it will tell why.
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
        embeddings = self._encoder.embed(np.stack([cut.crop for *_, cut in batch]))
        for (asked, loaded, cut), embedding in zip(batch, embeddings, strict=True):
            if self._crops is not None:
                save_crop(self._crops, asked.name, cut.crop)
            self._done[asked] = EmbeddedPhoto(
                embedding=embedding, content_hash=loaded.content_hash, notes=pair_remarks(cut)
            )

    def _read(self, name: str) -> LoadedPicture | FailedPicture:
        if "\0" in name:
            return FailedPicture(reason=f"{display_path(name)}: not a name that a file can have")
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
    """Photographs, or prepared faces, that are to be compared.

    Args:
        encoder: Who embeds them.
        model: What the user calls it.
        root: The folder that their names begin in; None for the working directory or absolute paths.
        choice: Which face of a photograph that shows several.
        reporter: Told of what makes the numbers doubtful.
        crops: A folder for the faces as the encoder sees them, or None.
        patient: See `Pictures`.

    Raises:
        DataError: There is no such folder.
        FingerprintError: The faces were prepared in another way than the encoder needs.
        ModelError: Photographs can't be aligned here in the way that the encoder needs.
    """
    if root is not None and crops is not None:
        require_apart(crops, root, is_below=True)
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


def pair_remarks(cut: FaceCrop) -> tuple[str, ...]:
    """What makes a verdict on a photograph doubtful; nothing where an earlier run cut its face out."""
    several = (f"{cut.faces_found} faces found",) if cut.face is not None and cut.faces_found > 1 else ()
    return (*several, *face_remarks(cut))


def face_remarks(cut: FaceCrop) -> tuple[str, ...]:
    """What makes a verdict on a face doubtful, whichever other faces its photograph shows."""
    if cut.face is None:
        return ()
    return doubts(AlignedFace(crop=cut.crop, face=cut.face, faces_found=cut.faces_found))


def similarity_of(a: EmbeddedPhoto, b: EmbeddedPhoto) -> float | None:
    """The cosine of two embeddings, -1 to 1; None where one is missing."""
    if a.embedding is None or b.embedding is None:
        return None
    return float(np.clip(a.embedding.astype(np.float64) @ b.embedding.astype(np.float64), -1, 1))


def require_apart(crops: Path, photos: Path, *, is_below: bool) -> None:
    """Raises a ConfigError where crops would lie among the photographs and be taken for some of them next time.

    Args:
        crops: The folder for them.
        photos: A folder of photographs.
        is_below: Whether folders in that of the photographs belong to them.
    """
    place, photographs = crops.resolve(), photos.resolve()
    if place == photographs or (is_below and place.is_relative_to(photographs)):
        raise ConfigError(
            f"--save-crops {display_path(crops)}: lies among the photographs, and the faces would be taken for some; "
            "name another folder"
        )


def save_crop(folder: Path, name: str, crop: NDArray[np.uint8]) -> Path:
    """Writes a crop as PNG, without loss.

    Args:
        folder: Where to.
        name: Of its photograph; what leads out of the folder becomes part of a file's name.
        crop: RGB, 0-255. Shape: (size, size, 3).
    """
    inside = name.lstrip("/") if not leads_out(name.lstrip("/")) else name.replace("/", "_").replace("..", "_")
    target = (folder / inside).with_name(PurePosixPath(inside).name + ".png")
    done, data = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"{display_path(target)}: cannot be written as PNG")
    with atomic_path(target) as temporary:
        temporary.write_bytes(data.tobytes())
    return target


_AHEAD = 2 * BATCH


def walk_pairs(pairs: Iterable[Pair], pictures: PhotoReader) -> Iterator[tuple[Pair, EmbeddedPhoto, EmbeddedPhoto]]:
    """Gives each pair with what became of its photographs.

    Args:
        pairs: May block: whoever writes them may wait for a verdict before the next.
        pictures: Reads and embeds. If it is patient, no pair is given before enough are known to fill a batch.
    """
    arriving: Queue[Pair | Exception | None] = Queue(_AHEAD)
    leaving = threading.Event()
    # A daemon, since nobody can wake a thread that waits for standard input.
    threading.Thread(target=_bring, args=(pairs, arriving, leaving), name="pairs", daemon=True).start()
    try:
        yield from _walk(arriving, pictures)
    finally:
        leaving.set()
        while not arriving.empty():
            arriving.get_nowait()  # It may wait for room.


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
    # Held here, since Python aborts if it closes on its way out what a thread still reads.
    _held = sys.stdin
    try:
        for pair in pairs:
            to.put(pair)
            if leaving.is_set():
                return
        to.put(None)
    except Exception as error:  # noqa: BLE001 - raised again where somebody waits for the pair
        to.put(error)
