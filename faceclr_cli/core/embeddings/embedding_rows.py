"""Columns of embeddings and their metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter

QUALITY = ("sharpness", "eye_distance", "frontality", "stability")
"""Columns of `Rows.quality`, and their datasets in a store. Higher values are better; see `quality_columns.py`."""

_FARTHEST_FROM_ONE = 0.01
"""Tolerance of the norm of embeddings, which stores may hold as float16."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Parallel columns with one row for each face.

    Attributes:
        embeddings: L2-normalized, or zeros. Shape: (faces, dim).
        paths: Path of each face's file relative to the embedded folder, with forward slashes. Bytes that are not UTF-8
            are surrogate escapes, as in `os.fsdecode`. These paths are never opened.
        identities: The person of each face, or None if unknown.
        content_hashes: SHA-256 of each file.
        detection_scores: Detection scores, 0 to 1; NaN if unknown. Shape: (faces,).
        boxes: Face boxes in pixels of the photographs: x, y, width and height; NaN if unknown. Shape: (faces, 4).
        norms: L2 norms of the embeddings before normalization; NaN if unknown, as by default. Shape: (faces,).
        quality: One column for each name in `QUALITY`; NaN if unknown, as by default. Shape: (faces, 4).
    """

    embeddings: NDArray[np.float32]
    paths: tuple[str, ...]
    identities: tuple[str | None, ...]
    content_hashes: tuple[str, ...]
    detection_scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    norms: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    quality: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, len(QUALITY)), np.float32))

    def __post_init__(self) -> None:
        if not len(self.norms):
            object.__setattr__(self, "norms", np.full(len(self.embeddings), np.nan, np.float32))
        if not len(self.quality):
            object.__setattr__(self, "quality", np.full((len(self.embeddings), len(QUALITY)), np.nan, np.float32))
        texts = (self.paths, self.identities, self.content_hashes)
        columns = (*texts, self.detection_scores, self.boxes, self.norms, self.quality)
        if self.embeddings.ndim != 2 or any(len(column) != len(self) for column in columns):
            raise ValueError("its columns differ in length")
        if self.boxes.shape != (len(self), 4):
            raise ValueError("its boxes do not have four numbers each")
        if not np.isfinite(self.embeddings).all():
            raise ValueError("an embedding is not finite")
        lengths = np.linalg.norm(self.embeddings, axis=1)
        if ((abs(lengths - 1) > _FARTHEST_FROM_ONE) & (lengths > 0)).any():
            raise ValueError("an embedding is not normalized")

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.embeddings.shape[1])

    @property
    def people(self) -> tuple[str, ...]:
        """Sorted names of the people."""
        return tuple(sorted({name for name in self.identities if name is not None}))

    def take(self, rows: Sequence[int] | NDArray[np.int_]) -> Self:
        """Returns a copy with the given rows in the given order."""
        return replace(
            self,
            embeddings=self.embeddings[rows],
            paths=tuple(self.paths[row] for row in rows),
            identities=tuple(self.identities[row] for row in rows),
            content_hashes=tuple(self.content_hashes[row] for row in rows),
            detection_scores=self.detection_scores[rows],
            boxes=self.boxes[rows],
            norms=self.norms[rows],
            quality=self.quality[rows],
        )


def concatenate_rows(parts: Sequence[Rows]) -> Rows:
    """Concatenates rows."""
    return Rows(
        embeddings=np.concatenate([part.embeddings for part in parts]),
        paths=tuple(chain.from_iterable(part.paths for part in parts)),
        identities=tuple(chain.from_iterable(part.identities for part in parts)),
        content_hashes=tuple(chain.from_iterable(part.content_hashes for part in parts)),
        detection_scores=np.concatenate([part.detection_scores for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        norms=np.concatenate([part.norms for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
    )


def select_named_rows(rows: Rows, origin: str, reporter: Reporter) -> Rows:
    """Selects the rows with a name.

    Raises:
        DataError: No row has a name.
    """
    named = np.array([name is not None for name in rows.identities], bool)
    if not named.any():
        raise DataError(f"{origin}: no face has a name; put the pictures of each person in a folder named after them")
    if not named.all():
        text = f"{origin}: {(~named).sum()} of {len(named)} faces have no name and are skipped"
        reporter.report(Notice(text=text, level="warning"))
    return rows.take(np.flatnonzero(named))
