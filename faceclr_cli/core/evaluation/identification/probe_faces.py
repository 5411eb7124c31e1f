"""Probe faces of `faceclr identify`, from photographs or a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.datasets.face_sets import is_face_set
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.loaded_pictures import FaceCrop, FailedPicture
from faceclr_cli.core.embeddings.mirrored_crops import embed_crops, embedding_stability
from faceclr_cli.core.embeddings.quality_columns import (
    find_low_quality,
    known_measures,
    quality_shortfall,
    required_level,
)
from faceclr_cli.core.embeddings.store import is_store, read_store_of
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.text import display_path

_AHEAD = 16
_TOGETHER = 256
"""Number of photographs of a store to search at once: one matrix product is faster than one per row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeFace:
    """A face to identify.

    Attributes:
        vectors: L2-normalized embedding, or several for a template; the most similar one counts. Shape: (vectors, dim).
        box: x, y, width and height in pixels of the photograph; None if unknown.
        notes: Quality warnings.
        rejection: The quality measure below `--min-quality`, as a note; None if the quality suffices.
    """

    vectors: NDArray[np.float32]
    box: tuple[float, float, float, float] | None
    notes: tuple[str, ...] = ()
    rejection: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """A photograph and its faces.

    Attributes:
        photo: The photograph.
        content_hashes: SHA-256 of the file, or of the files of a template; none if it could not be read.
        faces: One or more faces, unless there is a failure.
        failure: Why there are no faces, in one line that names the photograph; or None.
    """

    photo: Photo
    content_hashes: tuple[str, ...] = ()
    faces: tuple[ProbeFace, ...] = ()
    failure: str | None = None


class Probes(Protocol):
    """Photographs with faces to identify."""

    @property
    def photos(self) -> Sequence[Photo]:
        """The photographs."""
        ...

    def batches(self) -> Iterator[Sequence[Probe]]:
        """Yields the photographs in order, in batches that are searched together."""
        ...


def open_probes(config: IdentifyConfig, root: Path, encoder: Encoder, reporter: Reporter, *, flip: bool) -> Probes:
    """Lists photographs or prepared faces, or reads a store.

    Args:
        config: The options.
        root: The photographs, the prepared faces, or the store.
        encoder: The encoder.
        reporter: Receives warnings about skipped files.
        flip: True if the gallery holds means of faces and their mirror images; the probes must match.

    Raises:
        DataError: The source cannot be read or has no faces, or the store was made with a different `--flip`.
        ModelError: The store was made by another encoder.
        FingerprintError: The faces were prepared differently from what the encoder needs.
        ConfigError: An option for photographs was given for prepared faces or a store.
    """
    if config.xmp and (is_store(root) or is_face_set(root)):
        raise ConfigError(f"--xmp: {display_path(root)} has no photographs; give the original ones")
    if is_store(root):
        return _stored(config, root, encoder, reporter, flip=flip)
    cut_out = is_face_set(root)
    if cut_out and config.annotate is not None:
        raise ConfigError("--annotate: the input is prepared faces; give the original photographs")
    # Prepared faces have one face per file; without an explicit --face, use "largest" to avoid a warning.
    choice = "largest" if cut_out and config.face is None else config.face_choice
    quality = required_level(config.quality_limits)
    options = EmbedConfig(faces=root, model=config.model, face=choice, null=config.null, quality=quality)
    listing = list_pictures(options, root, encoder.fingerprint, reporter, reads_films=root.is_dir())
    return Photographs(listing, config, encoder, flip=flip)


def _stored(config: IdentifyConfig, path: Path, encoder: Encoder, reporter: Reporter, *, flip: bool) -> StoredProbes:
    if config.annotate is not None:
        raise ConfigError(
            f"--annotate: {display_path(path)} is a store and has no pictures; give the original photographs"
        )
    store = read_store_of(path, encoder, config.model, flip=flip)
    if not len(store):
        raise DataError(f"{display_path(path)}: contains no faces")
    limits = config.quality_limits
    find_low_quality(store, limits, display_path(path))  # A measure that is unknown for all faces is an error.
    return StoredProbes(choose_faces(store, config.face_choice, str(path), reporter), path, limits)


class Photographs:
    """Photographs or prepared faces, embedded one at a time.

    Attributes:
        photos: The photographs.

    Args:
        listing: The photographs, and how faces were cropped.
        config: The options; `face_choice` selects among several faces.
        encoder: The encoder.
        flip: Use the mean of each face and its mirror image.
    """

    def __init__(self, listing: Listing, config: IdentifyConfig, encoder: Encoder, *, flip: bool) -> None:
        self.photos = listing.photos
        self._source = open_source(config.face_choice, listing, encoder.fingerprint)
        self._encoder, self._flip, self._limits = encoder, flip, config.quality_limits
        # With --face all, every face gets a result, so several faces are not a reason for a warning.
        self._only_face_notes = config.face_choice == "all"

    def batches(self) -> Iterator[Sequence[Probe]]:
        """Yields one photograph at a time, so that each result is available immediately.

        Raises:
            ModelError: The encoder produced NaN or infinite embeddings.
        """
        for photo, item in zip(self.photos, self._source.load(_AHEAD), strict=True):
            if isinstance(item, FailedPicture):
                yield (Probe(photo=photo, failure=item.reason),)
                continue
            faces = tuple(
                ProbeFace(
                    vectors=embedding[None],
                    box=None if cut.face is None else cut.box,
                    notes=cut.face_notes if self._only_face_notes else cut.photo_notes,
                    rejection=quality_shortfall(cut.measures | measures, self._limits),
                )
                for cut, embedding, measures in zip(item.faces, *self._embed(item.faces), strict=True)
            )
            yield (Probe(photo=photo, content_hashes=(item.content_hash,), faces=faces),)

    def _embed(self, faces: Sequence[FaceCrop]) -> tuple[NDArray[np.float32], list[dict[str, float]]]:
        """Returns the embeddings, and the quality measures of each that an encoder computes."""
        crops = np.stack([cut.crop for cut in faces])
        vectors, norms = embed_crops(self._encoder, crops, "mean" if self._flip else "none")
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self._encoder.name}: produced NaN or infinite embeddings; training probably diverged")
        measures: list[dict[str, float]] = [{} if np.isnan(norm) else {"norm": norm} for norm in norms.tolist()]
        if "stability" in self._limits:
            stable = embedding_stability(self._encoder, crops, None if self._flip else vectors).tolist()
            measures = [{**each, "stability": value} for each, value in zip(measures, stable, strict=True)]
        return vectors, measures


class StoredProbes:
    """The photographs of a store.

    Attributes:
        photos: The photographs; their files are not opened.

    Args:
        rows: The faces to identify; rows with the same path belong to one photograph.
        path: The store.
        limits: The minimum of each quality measure.
    """

    def __init__(self, rows: Rows, path: Path, limits: Mapping[str, float] = MappingProxyType({})) -> None:
        places = defaultdict[str, list[int]](list)
        for row, name in enumerate(rows.paths):
            places[name].append(row)
        self._rows, self._places, self._limits = rows, list(places.values()), limits
        self._measures = known_measures(rows) if limits else [{}] * len(rows)
        self.photos: Sequence[Photo] = [
            Photo(path=path, identity=rows.identities[first], name=rows.paths[first]) for first, *_ in self._places
        ]

    def batches(self) -> Iterator[Sequence[Probe]]:
        """Yields large batches, since all faces are already embedded."""
        for start in range(0, len(self._places), _TOGETHER):
            places = self._places[start : start + _TOGETHER]
            yield [
                Probe(
                    photo=photo,
                    content_hashes=(self._rows.content_hashes[rows[0]],),
                    faces=tuple(map(self._face, rows)),
                )
                for photo, rows in zip(self.photos[start:], places, strict=False)
            ]

    def _face(self, row: int) -> ProbeFace:
        return ProbeFace(
            vectors=self._rows.embeddings[[row]],
            box=self._box(row),
            rejection=quality_shortfall(self._measures[row], self._limits),
        )

    def _box(self, row: int) -> tuple[float, float, float, float] | None:
        x, y, width, height = self._rows.boxes[row].tolist()
        return None if np.isnan([x, y, width, height]).any() else (x, y, width, height)
