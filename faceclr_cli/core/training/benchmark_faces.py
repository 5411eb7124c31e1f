"""The pictures of benchmark sets as aligned faces, for verification during training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.embeddings.benchmark_sets import BenchmarkSet
from faceclr_cli.core.embeddings.crop_source import Listing, Source, open_source
from faceclr_cli.core.embeddings.loaded_pictures import LoadedPicture
from faceclr_cli.core.faces.face_folder import FaceFolder, is_face_folder, open_faces
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.sources.insightface_bin import InsightfaceBin
from faceclr_cli.core.sources.layouts import Photo

_BLOCK = 256


def list_benchmark_faces(found: BenchmarkSet, wanted: Fingerprint) -> FaceFolder:
    """Lists the pictures of a set as faces that `open_packed` decodes.

    Photographs are aligned like the training faces when they are decoded. One without a face is a black crop.

    Args:
        found: The set.
        wanted: Fingerprint of the training faces.

    Raises:
        ModelError: Photographs cannot be aligned like the training faces.
    """
    if found.listing is None:
        raise ValueError(f"{found.name}: a store contains embeddings, not pictures")
    if found.listing.crops is not None and is_face_folder(found.place):
        return open_faces(found.place)
    photos = found.listing.photos
    paths = tuple(photo.name for photo in photos)
    if found.listing.crops is not None:
        return FaceFolder(
            root=found.place,
            fingerprint=found.listing.crops,
            paths=paths,
            identities=(None,) * len(paths),
            container=_BinCrops(InsightfaceBin(found.place), paths),
        )
    source = open_source("center", Listing(photos=(), crops=None), wanted, measures=False)
    return FaceFolder(
        root=found.place,
        fingerprint=source.fingerprint,
        paths=paths,
        identities=(None,) * len(paths),
        container=_AlignedPhotos(source, photos),
    )


def find_black(faces: JoinedFaces) -> set[str]:
    """Returns the paths of entirely black crops."""
    found = set[str]()
    for start in range(0, len(faces), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(faces)))
        found.update(faces.paths[row] for row in rows[~faces.crops(rows).any(axis=(1, 2, 3))].tolist())
    return found


class _BinCrops:
    def __init__(self, file: InsightfaceBin, names: Sequence[str]) -> None:
        self._file, self._names = file, names

    def read(self, place: int) -> bytes:
        return self._file.read(self._names[place])

    def size(self, place: int) -> int:
        return len(self.read(place))


class _AlignedPhotos:
    """The aligned faces of photographs."""

    def __init__(self, source: Source, photos: Sequence[Photo]) -> None:
        self._source, self._photos = source, photos

    def read(self, place: int) -> bytes:
        loaded = self._source.read(self._photos[place])
        size = self._source.fingerprint.size
        crop = loaded.faces[0].crop if isinstance(loaded, LoadedPicture) else np.zeros((size, size, 3), np.uint8)
        return cv2.imencode(".png", np.ascontiguousarray(crop[..., ::-1]))[1].tobytes()

    def size(self, place: int) -> int:
        path: Path = self._photos[place].path
        return path.stat().st_size
