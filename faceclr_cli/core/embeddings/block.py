"""Pictures to rows: the crops of some pictures go through the encoder, those known already don't."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.crop_source import FaceCrop, FailedPicture, LoadedPicture
from faceclr_cli.core.embeddings.embedding_rows import Rows, concatenate_rows
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.metrics.normalization import normalize_rows

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Block:
    """What some pictures came to.

    Attributes:
        rows: Of their faces, in the order of the pictures.
        kept: How many of the rows were known.
        failures: One line for each picture without a face.
    """

    rows: Rows
    kept: int
    failures: tuple[str, ...]


class PreviousEmbeddings(Protocol):
    """Rows that were made before."""

    def fetch(self, content_hashes: Sequence[str]) -> tuple[Rows, NDArray[np.int_]]:
        """The rows of pictures, one picture after the other, and how many each has."""
        ...


class PictureEmbedder:
    """Embeds pictures as a run was told to.

    Attributes:
        dim: Length of an embedding.

    Args:
        encoder: Maps crops to embeddings.
        batch_size: Crops at a time.
        flip: Take the mean of each face and its mirror image.
    """

    def __init__(self, encoder: Encoder, *, batch_size: int, flip: bool) -> None:
        self.dim = encoder.dim
        self._encoder, self._batch_size, self._flip = encoder, batch_size, flip

    def block(self, items: Iterable[LoadedPicture | FailedPicture], former: PreviousEmbeddings | None = None) -> Block:
        """Embeds what was loaded.

        Args:
            items: Is asked for more while crops wait for a batch to fill.
            former: Where pictures without crops have their rows from.

        Raises:
            ModelError: The encoder produced NaN or infinite embeddings.
        """
        pictures, failures = list[LoadedPicture](), list[str]()
        waiting, vectors = list[FaceCrop](), [np.empty((0, self._encoder.dim), np.float32)]
        for item in items:
            if isinstance(item, FailedPicture):
                failures.append(item.reason)
                continue
            waiting += item.faces
            pictures.append(_without_crops(item))
            while len(waiting) >= self._batch_size:
                vectors.append(self._embed(waiting[: self._batch_size]))
                del waiting[: self._batch_size]
        if waiting:
            vectors.append(self._embed(waiting))
        fresh = _fresh_rows([picture for picture in pictures if picture.faces], np.concatenate(vectors))
        old = [picture for picture in pictures if not picture.faces]
        if former is None or not old:
            return Block(rows=fresh, kept=0, failures=tuple(failures))
        known, counts = former.fetch([picture.content_hash for picture in old])
        each = iter(counts.tolist())
        counted = [(picture, len(picture.faces) or next(each)) for picture in pictures]
        return Block(rows=_merged(counted, fresh, known), kept=len(known), failures=tuple(failures))

    def _embed(self, faces: Sequence[FaceCrop]) -> Vectors:
        crops = np.stack([face.crop for face in faces])
        vectors = self._encoder.embed(crops)
        if self._flip:
            vectors = normalize_rows(vectors + self._encoder.embed(np.ascontiguousarray(crops[:, :, ::-1])))
        return vectors


_NO_CROP = np.empty((0, 0, 3), np.uint8)


def _without_crops(picture: LoadedPicture) -> LoadedPicture:
    """Lets go of the crops, so that memory holds embeddings alone."""
    return replace(picture, faces=tuple(replace(face, crop=_NO_CROP) for face in picture.faces))


def _fresh_rows(pictures: Sequence[LoadedPicture], vectors: Vectors) -> Rows:
    each = [(picture, face) for picture in pictures for face in picture.faces]
    return Rows(
        embeddings=vectors,
        paths=tuple(picture.name for picture, _ in each),
        identities=tuple(picture.identity for picture, _ in each),
        content_hashes=tuple(picture.content_hash for picture, _ in each),
        detection_scores=np.array([face.score for _, face in each], np.float32),
        boxes=np.array([face.box for _, face in each], np.float32).reshape(-1, 4),
    )


def _merged(pictures: Sequence[tuple[LoadedPicture, int]], fresh: Rows, known: Rows) -> Rows:
    """Puts rows in the order of pictures, each given with its number of rows. Their names are as they are now."""
    next_fresh, next_known = 0, len(fresh)
    order, paths, identities = list[int](), list[str](), list[str | None]()
    for picture, count in pictures:
        first = next_fresh if picture.faces else next_known
        order += range(first, first + count)
        paths += [picture.name] * count
        identities += [picture.identity] * count
        if picture.faces:
            next_fresh += count
        else:
            next_known += count
    return replace(concatenate_rows([fresh, known]).take(order), paths=tuple(paths), identities=tuple(identities))
