"""The faces that `faceclr identify` asks about: of photographs, embedded on the way, or of a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.embeddings.crop_source import FaceCrop, FailedPicture, Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.evaluation.identification.gallery import read_own_store
from faceclr_cli.core.evaluation.verification.photographs import face_remarks, pair_remarks
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.text import display_path

_AHEAD = 16
_TOGETHER = 256
"""Photographs of a store that are looked for at once: a product of matrices takes less time than one for each row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeFace:
    """A face whose person is asked for.

    Attributes:
        embedding: L2-normalized. Shape: (dim,).
        box: x, y, width and height in pixels of the photograph; None where it is not known.
        notes: What makes an answer doubtful.
    """

    embedding: NDArray[np.float32]
    box: tuple[float, float, float, float] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """A photograph and its faces.

    Attributes:
        photo: Which.
        content_hash: SHA-256 of the file; None where it could not be read.
        faces: At least one, unless there is a failure.
        failure: Why it gave no face: one line that names it; or None.
    """

    photo: Photo
    content_hash: str | None = None
    faces: tuple[ProbeFace, ...] = ()
    failure: str | None = None


class Probes(Protocol):
    """Photographs whose faces are asked about."""

    @property
    def photos(self) -> Sequence[Photo]:
        """Which."""
        ...

    def batches(self) -> Iterator[Sequence[Probe]]:
        """The photographs in their order, as many at a time as are looked for together."""
        ...


def open_probes(config: IdentifyConfig, root: Path, encoder: Encoder, reporter: Reporter, *, flip: bool) -> Probes:
    """Lists photographs or prepared faces, or reads a store.

    Args:
        config: Which face of several is taken, and how paths on standard input end.
        root: The photographs, the prepared faces, or the store.
        encoder: Embeds the faces, or has made the store.
        reporter: Told of what is left out.
        flip: Whether the gallery holds means of faces and their mirror images, as the probes must then.

    Raises:
        DataError: It cannot be read or holds no faces, or the store's embeddings are of another kind.
        ModelError: The store was made by another encoder.
        FingerprintError: The faces were prepared in another way than the encoder needs.
        ConfigError: Options are for photographs, and this is something else.
    """
    if is_store(root):
        return _stored(config, root, encoder, reporter, flip=flip)
    cut_out = is_face_folder(root)
    if cut_out and config.annotate is not None:
        raise ConfigError("--annotate: these faces are cut out already; give the photographs that they were cut out of")
    # Of faces that are cut out already there is no choice, which they are asked not to be told of.
    choice = "largest" if cut_out and config.face is None else config.face_choice
    options = EmbedConfig(faces=root, model=config.model, face=choice, null=config.null)
    listing = list_pictures(options, root, encoder.fingerprint, reporter)
    return Photographs(listing, config, encoder, flip=flip)


def _stored(config: IdentifyConfig, path: Path, encoder: Encoder, reporter: Reporter, *, flip: bool) -> StoredProbes:
    if config.annotate is not None:
        raise ConfigError(
            f"--annotate: {display_path(path)} holds no pictures; give the photographs that it was made of"
        )
    store = read_own_store(path, encoder, config.model, flip=flip)
    if not len(store):
        raise DataError(f"{display_path(path)}: holds no faces")
    return StoredProbes(choose_faces(store, config.face_choice, str(path), reporter), path)


class Photographs:
    """Photographs or prepared faces, each embedded when its turn comes.

    Attributes:
        photos: Which.

    Args:
        listing: Which, and how faces were cut out of them.
        config: Which face of several is taken.
        encoder: Embeds the faces.
        flip: Take the mean of each face and its mirror image.
    """

    def __init__(self, listing: Listing, config: IdentifyConfig, encoder: Encoder, *, flip: bool) -> None:
        self.photos = listing.photos
        self._source = open_source(config.face_choice, listing, encoder.fingerprint)
        self._encoder, self._flip = encoder, flip
        # Where every face has an answer of its own, it is no doubt that there are several.
        self._remarks = face_remarks if config.face_choice == "all" else pair_remarks

    def batches(self) -> Iterator[Sequence[Probe]]:
        """One at a time, since an answer is given as soon as it is known.

        Raises:
            ModelError: The encoder gives embeddings that are not finite.
        """
        for photo, item in zip(self.photos, self._source.load(_AHEAD), strict=True):
            if isinstance(item, FailedPicture):
                yield (Probe(photo=photo, failure=item.reason),)
                continue
            faces = tuple(
                ProbeFace(
                    embedding=embedding, box=None if cut.face is None else cut.box, notes=tuple(self._remarks(cut))
                )
                for cut, embedding in zip(item.faces, self._embed(item.faces), strict=True)
            )
            yield (Probe(photo=photo, content_hash=item.content_hash, faces=faces),)

    def _embed(self, faces: Sequence[FaceCrop]) -> NDArray[np.float32]:
        crops = np.stack([cut.crop for cut in faces])
        vectors = self._encoder.embed(crops)
        if self._flip:
            vectors = normalize_rows(vectors + self._encoder.embed(np.ascontiguousarray(crops[:, :, ::-1])))
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self._encoder.name}: gives embeddings that are not finite; its training diverged")
        return vectors


class StoredProbes:
    """The photographs of a store, whose faces are embedded already.

    Attributes:
        photos: Which; their files are not opened.

    Args:
        rows: Those of the faces that are asked about; the rows of one photograph share its path.
        path: The store.
    """

    def __init__(self, rows: Rows, path: Path) -> None:
        places = defaultdict[str, list[int]](list)
        for row, name in enumerate(rows.paths):
            places[name].append(row)
        self._rows, self._places = rows, list(places.values())
        self.photos: Sequence[Photo] = [
            Photo(path=path, identity=rows.identities[first], name=rows.paths[first]) for first, *_ in self._places
        ]

    def batches(self) -> Iterator[Sequence[Probe]]:
        """Many at a time: they are all there."""
        for start in range(0, len(self._places), _TOGETHER):
            places = self._places[start : start + _TOGETHER]
            yield [
                Probe(
                    photo=photo,
                    content_hash=self._rows.content_hashes[rows[0]],
                    faces=tuple(ProbeFace(embedding=self._rows.embeddings[row], box=self._box(row)) for row in rows),
                )
                for photo, rows in zip(self.photos[start:], places, strict=False)
            ]

    def _box(self, row: int) -> tuple[float, float, float, float] | None:
        x, y, width, height = self._rows.boxes[row].tolist()
        return None if np.isnan([x, y, width, height]).any() else (x, y, width, height)
