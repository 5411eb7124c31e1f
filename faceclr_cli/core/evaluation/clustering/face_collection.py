"""The input of `faceclr cluster`: faces and their encoder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.configs.threshold_options import BUILT_IN
from faceclr_cli.core.datasets.face_sets import is_face_set
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures
from faceclr_cli.core.embeddings.embedding_cache import COLLECTIONS, embed_remembered
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.quality_columns import required_level
from faceclr_cli.core.embeddings.store import Store, is_store, read_store, read_store_of
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.encoders.decision_rule import choose_rule
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceCollection:
    """Faces to group. Names, if any, are only used for the scores.

    Attributes:
        rows: The faces, at least one.
        encoder: The encoder.
        model: Name of the encoder in messages.
        origin: The store or folder, as given by the user.
        fingerprint: How the faces were cropped.
        prepared: The folder of prepared faces that were embedded, or None.
        faceless: Names of the pictures without a face; empty for a store, which does not record them.
    """

    rows: Rows
    encoder: Encoder
    model: str
    origin: str
    fingerprint: Fingerprint
    prepared: Path | None = None
    faceless: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredEncoder:
    """The description of an encoder in a store. It has the calibration, but cannot embed.

    Attributes:
        name: Name of the encoder.
        dim: Embedding dimension.
        fingerprint: How the crops were made.
        digest: SHA-256 of the encoder's weights.
        calibration: The calibration, or None.
        trained_on: Always None, since a store does not record it.
        fills_cores: Always False, since the encoder does not run.
    """

    name: str
    dim: int
    fingerprint: Fingerprint
    digest: str
    calibration: Calibration | None
    trained_on: Collection[str] | None = None
    fills_cores: bool = False

    @classmethod
    def of(cls, store: Store) -> StoredEncoder:
        """Returns the description of the encoder that made a store."""
        return cls(
            name=store.encoder,
            dim=store.dim,
            fingerprint=store.fingerprint,
            digest=store.encoder_digest,
            calibration=store.calibration,
        )

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Not supported.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            f"{display_path(self.name)}: a store has no encoder weights, so {len(crops)} faces cannot be embedded"
        )


def collect_faces(config: ClusterConfig, reporter: Reporter) -> FaceCollection:
    """Reads a store, or embeds pictures.

    Raises:
        ConfigError: An option for photographs was given for a store, or the encoder has no threshold and none was
            given.
        DataError: The source cannot be read, or has no faces.
        ModelError: The encoder does not exist, or did not make the store.
        FingerprintError: The faces were prepared differently from what the encoder needs.
    """
    source = config.source or Path()
    if is_store(source):
        return _read_collection(source, config)
    encoder = load_encoder(config.model or BUILT_IN)
    if config.method == "agglomerative":
        # Fail on a missing threshold before the pictures are embedded.
        choose_rule(encoder, replace(config, model=config.model or BUILT_IN))
    prepared = is_face_set(source)
    choice = config.face or ("largest" if prepared else "all")
    quality = required_level(config.quality_limits)
    options = EmbedConfig(faces=source, model=config.model or BUILT_IN, face=choice, null=config.null, quality=quality)
    listing = list_pictures(options, source, encoder.fingerprint, reporter)
    rows, failures = _embed(config, options, listing, encoder, reporter)
    if not len(rows):
        raise DataError(f"{display_path(source)}: no face found in any picture (first: {failures[0]})")
    with_face = set(rows.paths)
    return FaceCollection(
        rows=rows,
        encoder=encoder,
        model=config.model or BUILT_IN,
        origin=str(source),
        fingerprint=listing.crops or encoder.fingerprint,
        prepared=source if prepared else None,
        faceless=tuple(photo.name for photo in listing.photos if photo.name not in with_face),
    )


def _embed(
    config: ClusterConfig, options: EmbedConfig, listing: Listing, encoder: Encoder, reporter: Reporter
) -> tuple[Rows, Sequence[str]]:
    """Embeds the pictures; if a folder of groups is updated, only new ones."""
    source = config.source or Path()
    if config.out is None or source == STANDARD_INPUT:
        block = embed_listing(listing, options.face, encoder, reporter, quality=options.quality)
        return block.rows, block.failures
    rows = embed_remembered(COLLECTIONS, source, listing, options, encoder, reporter)
    # A store has the rows in the order in which they were embedded.
    place = {photo.name: number for number, photo in enumerate(listing.photos)}
    kept = [row for row, path in enumerate(rows.paths) if path in place]
    return rows.take(sorted(kept, key=lambda row: place[rows.paths[row]])), ()


def _read_collection(path: Path, config: ClusterConfig) -> FaceCollection:
    if config.face is not None or config.null:
        raise ConfigError(f"{display_path(path)}: is a store; --face and --null apply to photographs")
    encoder: Encoder
    if config.model:
        encoder = load_encoder(config.model)
        store = read_store_of(path, encoder, config.model)
    else:
        store = read_store(path)
        encoder = StoredEncoder.of(store)
    if not len(store):
        raise DataError(f"{display_path(path)}: contains no faces")
    named = store.config.get("faces")
    folder = config.faces or (Path(named) if isinstance(named, str) and "\0" not in named else None)
    return FaceCollection(
        rows=store,
        prepared=folder if folder is not None and is_face_set(folder) else None,
        encoder=encoder,
        model=config.model or display_path(store.encoder),
        origin=str(path),
        fingerprint=store.fingerprint,
    )
