"""Faces of people with names, embedded: from a store, or from photographs on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from faceclr_cli.core.configs.calibrate import CalibrateConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.datasets.folder import is_face_folder
from faceclr_cli.core.datasets.layouts import Photo
from faceclr_cli.core.datasets.pairs import read_pairs
from faceclr_cli.core.embeddings.block import Embedding
from faceclr_cli.core.embeddings.making import AHEAD, reported
from faceclr_cli.core.embeddings.rows import Rows
from faceclr_cli.core.embeddings.source import Listing, list_pictures, open_source, require_faces
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.reasons import shown

_BATCH = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """Faces and whose they are.

    Attributes:
        rows: The faces; each has a name.
        origin: Where they come from, for people.
        failures: Pictures without a face, each with its reason.
    """

    rows: Rows
    origin: str
    failures: tuple[str, ...] = ()


def labelled_faces(config: CalibrateConfig, encoder: Encoder, reporter: Reporter) -> People:
    """The faces that an encoder is to be calibrated on.

    Raises:
        DataError: They cannot be read, or nobody has a name.
        ModelError: The store was made by another encoder.
        FingerprintError: The faces were prepared in another way than the encoder needs.
    """
    found = _stored(config, encoder) if config.embeddings is not None else _embedded(config, encoder, reporter)
    named = np.array([name is not None for name in found.rows.identities], bool)
    if not named.any():
        raise DataError(f"{found.origin}: nobody there has a name")
    if not named.all():
        text = f"{found.origin}: {(~named).sum()} of {len(named)} faces have no name and are left out"
        reporter.report(Notice(text=text, level="warning"))
    return People(rows=found.rows.take(np.flatnonzero(named)), origin=found.origin, failures=found.failures)


def _stored(config: CalibrateConfig, encoder: Encoder) -> People:
    path = config.embeddings or Path()
    store = read_store(path)
    if store.encoder_digest != encoder.digest:
        raise ModelError(f"{shown(path)}: was made by {shown(store.encoder)}, not by --model {config.model}")
    store.fingerprint.require_same_crops(encoder.fingerprint, shown(path), f"the encoder {config.model}")
    wanted = None if config.pairs is None else _names(config.pairs)
    rows = [row for row, name in enumerate(store.paths) if wanted is None or name in wanted]
    return People(rows=store.take(rows), origin=_origin(config, path))


def _embedded(config: CalibrateConfig, encoder: Encoder, reporter: Reporter) -> People:
    root = config.root or Path()
    if config.pairs is None:
        options = EmbedConfig(faces=root, model=config.model, face=config.face)
        listing = list_pictures(options, root, encoder.fingerprint, reporter)
    else:
        prepared = is_face_folder(root) and require_faces(root, config.model, encoder.fingerprint, reporter)
        photos = [
            Photo(path=root / name, identity=PurePosixPath(name).parent.name or None, name=name)
            for name in sorted(_names(config.pairs))
        ]
        listing = Listing(photos=photos, crops=prepared.fingerprint if prepared else None)
    source = open_source(config.face, listing, encoder.fingerprint)
    items = reported(source.load(AHEAD * _BATCH), len(listing.photos), _BATCH, reporter)
    block = Embedding(encoder, batch_size=_BATCH, flip=False).block(items)
    if block.failures:
        text = f"{len(block.failures)} of {len(listing.photos)} pictures gave no face (first: {block.failures[0]})"
        reporter.report(Notice(text=text, level="warning"))
    return People(rows=block.rows, origin=_origin(config, root), failures=block.failures)


def _names(pairs: Path) -> set[str]:
    names = {name for pair in read_pairs(pairs) for name in (pair.a, pair.b)}
    outside = next((name for name in sorted(names) if name.startswith("/") or ".." in name.split("/")), None)
    if outside is not None:
        raise DataError(f"{shown(pairs)}: {shown(outside)} leads out of the folder of faces")
    return names


def _origin(config: CalibrateConfig, path: Path) -> str:
    """Such as `lfw-view1/pairsDevTrain.txt`: enough for people to know it, and no more of this machine."""
    if config.pairs is None:
        return shown(path.resolve().name)
    return shown("/".join(config.pairs.resolve().parts[-2:]))
