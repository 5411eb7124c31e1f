"""Embedding of blocks of pictures, with rows of earlier runs for pictures that are already embedded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import Flip, QualityLevel
from faceclr_cli.core.embeddings.embedding_rows import Rows, concatenate_rows
from faceclr_cli.core.embeddings.loaded_pictures import FaceCrop, FailedPicture, LoadedPicture
from faceclr_cli.core.embeddings.mirrored_crops import Vectors, embed_crops, embedding_stability
from faceclr_cli.core.encoders.base import Encoder


@dataclass(frozen=True, kw_only=True)
class Block:
    """The result for a block of pictures.

    Attributes:
        rows: Rows of the faces, in the order of the pictures.
        kept: Number of rows from earlier runs.
        failures: The reason for each picture without a face, one line each.
    """

    rows: Rows
    kept: int
    failures: tuple[str, ...]


class PreviousEmbeddings(Protocol):
    """Rows of earlier runs."""

    def fetch(self, content_hashes: Sequence[str]) -> tuple[Rows, NDArray[np.int_]]:
        """Returns the rows of pictures in the given order, and the number of rows of each. Shape: (pictures,)."""
        ...


class PictureEmbedder:
    """Embeds pictures with the options of a run.

    Attributes:
        dim: Length of an embedding.

    Args:
        encoder: The encoder.
        batch_size: Number of crops in a batch.
        flip: How to combine each face with its mirror image; see `embed_crops`.
        quality: `full` measures the stability of embeddings; the other measures are those of the loaded pictures.
    """

    def __init__(self, encoder: Encoder, *, batch_size: int, flip: Flip, quality: QualityLevel = "none") -> None:
        self.dim = encoder.dim
        self._encoder, self._batch_size, self._flip, self._quality = encoder, batch_size, flip, quality

    def block(
        self, items: Iterable[LoadedPicture | FailedPicture], previous: PreviousEmbeddings | None = None
    ) -> Block:
        """Embeds loaded pictures.

        Args:
            items: The pictures, consumed lazily to fill batches.
            previous: Source of the rows of pictures that were loaded without crops.

        Raises:
            ModelError: The encoder produced NaN or infinite embeddings.
        """
        pictures, failures = list[LoadedPicture](), list[str]()
        none = np.empty(0, np.float32)
        waiting, vectors = list[FaceCrop](), [(np.empty((0, self._encoder.dim), np.float32), none, none)]
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
        directions, norms, stability = (np.concatenate(parts) for parts in zip(*vectors, strict=True))
        fresh = _fresh_rows([picture for picture in pictures if picture.faces], directions, norms, stability)
        old = [picture for picture in pictures if not picture.faces]
        if previous is None or not old:
            return Block(rows=fresh, kept=0, failures=tuple(failures))
        known, counts = previous.fetch([picture.content_hash for picture in old])
        each = iter(counts.tolist())
        counted = [(picture, len(picture.faces) or next(each)) for picture in pictures]
        return Block(rows=_merge_rows(counted, fresh, known), kept=len(known), failures=tuple(failures))

    def _embed(self, faces: Sequence[FaceCrop]) -> tuple[Vectors, Vectors, Vectors]:
        """Returns the embeddings, their norms and their stability."""
        crops = np.stack([face.crop for face in faces])
        vectors, norms = embed_crops(self._encoder, crops, self._flip)
        if self._quality != "full":
            return vectors, norms, np.full(len(crops), np.nan, np.float32)
        return vectors, norms, embedding_stability(self._encoder, crops, vectors if self._flip == "none" else None)


_NO_CROP = np.empty((0, 0, 3), np.uint8)


def _without_crops(picture: LoadedPicture) -> LoadedPicture:
    """Drops the crops to free their memory."""
    return replace(picture, faces=tuple(replace(face, crop=_NO_CROP) for face in picture.faces))


def _fresh_rows(pictures: Sequence[LoadedPicture], vectors: Vectors, norms: Vectors, stability: Vectors) -> Rows:
    each = [(picture, face) for picture in pictures for face in picture.faces]
    return Rows(
        embeddings=vectors,
        paths=tuple(picture.name for picture, _ in each),
        identities=tuple(picture.identity for picture, _ in each),
        content_hashes=tuple(picture.content_hash for picture, _ in each),
        detection_scores=np.array([face.score for _, face in each], np.float32),
        boxes=np.array([face.box for _, face in each], np.float32).reshape(-1, 4),
        norms=norms,
        quality=np.column_stack([np.array([face.quality for _, face in each], np.float32).reshape(-1, 3), stability]),
    )


def _merge_rows(pictures: Sequence[tuple[LoadedPicture, int]], fresh: Rows, known: Rows) -> Rows:
    """Merges rows in the order of `pictures` (picture, number of rows), with the current names of the pictures."""
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
