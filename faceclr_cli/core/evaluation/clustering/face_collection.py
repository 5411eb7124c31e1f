"""The faces that `faceclr cluster` groups, and who embedded them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.judging import BUILT_IN
from faceclr_cli.core.embeddings.crop_source import list_pictures
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.store import Store, is_store, read_store
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.encoders.decision_rule import choose_rule
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.evaluation.identification.gallery import read_own_store
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceCollection:
    """Faces without names, or with names that only the scores look at.

    Attributes:
        rows: At least one.
        encoder: Who embedded them.
        model: What to call it in messages.
        origin: The store or folder, as the user named it.
        fingerprint: How they were cut out.
        faceless: The pictures that gave no face, as they are named; empty of a store, which does not know them.
    """

    rows: Rows
    encoder: Encoder
    model: str
    origin: str
    fingerprint: Fingerprint
    faceless: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredEncoder:
    """What a store knows of the encoder that made it: enough to judge, not to embed.

    Attributes:
        name: What to call it.
        dim: Length of an embedding.
        fingerprint: How the crops were made.
        digest: SHA-256 of its weights.
        calibration: Its threshold, or None.
        trained_on: Nobody wrote that down.
        fills_cores: It never works.
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
        """The one that made a store."""
        return cls(
            name=store.encoder,
            dim=store.dim,
            fingerprint=store.fingerprint,
            digest=store.encoder_digest,
            calibration=store.calibration,
        )

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Is not possible.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            f"{display_path(self.name)}: a store remembers its encoder, and cannot embed {len(crops)} faces"
        )


def collect_faces(config: ClusterConfig, reporter: Reporter) -> FaceCollection:
    """Reads a store, or embeds pictures.

    Raises:
        ConfigError: Options are for photographs, and these are none; or the encoder of pictures has no threshold, and
            none was given.
        DataError: The source cannot be read, or has no faces.
        ModelError: The encoder is not there, or did not make the store.
        FingerprintError: The faces were prepared in another way than the encoder needs.
    """
    source = config.source or Path()
    if is_store(source):
        return _stored(source, config)
    encoder = load_encoder(config.model or BUILT_IN)
    if config.method == "agglomerative":
        # Without a threshold, nobody shall wait until everything is embedded.
        choose_rule(encoder, replace(config, model=config.model or BUILT_IN))
    prepared = is_face_folder(source)
    choice = config.face or ("largest" if prepared else "all")
    options = EmbedConfig(faces=source, model=config.model or BUILT_IN, face=choice, null=config.null)
    listing = list_pictures(options, source, encoder.fingerprint, reporter)
    block = embed_listing(listing, choice, encoder, reporter)
    if not len(block.rows):
        raise DataError(f"{display_path(source)}: no face found in any picture (first: {block.failures[0]})")
    with_face = set(block.rows.paths)
    return FaceCollection(
        rows=block.rows,
        encoder=encoder,
        model=config.model or BUILT_IN,
        origin=str(source),
        fingerprint=listing.crops or encoder.fingerprint,
        faceless=tuple(photo.name for photo in listing.photos if photo.name not in with_face),
    )


def _stored(path: Path, config: ClusterConfig) -> FaceCollection:
    if config.face is not None or config.null:
        raise ConfigError(
            f"{display_path(path)}: faces that are embedded already; --face and --null are for photographs"
        )
    encoder: Encoder
    if config.model:
        encoder = load_encoder(config.model)
        store = read_own_store(path, encoder, config.model)
    else:
        store = read_store(path)
        encoder = StoredEncoder.of(store)
    if not len(store):
        raise DataError(f"{display_path(path)}: holds no faces")
    return FaceCollection(
        rows=store,
        encoder=encoder,
        model=config.model or display_path(store.encoder),
        origin=str(path),
        fingerprint=store.fingerprint,
    )
