"""Cache of gallery embeddings in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.datasets.packed_faces import cache_folder
from faceclr_cli.core.embeddings.crop_source import Listing, open_source
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.store import StoreOrigin, read_store, store_parts_folder
from faceclr_cli.core.embeddings.store_update import update_store
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError, NoFaceError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.text import display_path

_FOLDER = "galleries"
_LAYOUT = 1  # Increase if existing stores in the cache become incompatible.
_KEPT = 8  # Maximum number of cached galleries; the least recently used ones are removed.


def embed_cached(
    root: Path, listing: Listing, choice: Choice, encoder: Encoder, model: str, reporter: Reporter
) -> Rows:
    """Embeds a gallery, with cached embeddings of pictures that earlier runs embedded.

    All files are read, and pictures are identified by the SHA-256 of their content: changed pictures are embedded
    again, and the rows of removed ones are dropped.

    Args:
        root: The folder, archive or list.
        listing: The pictures in it.
        choice: Which face to use if a photograph shows several.
        encoder: The encoder.
        model: Name of the encoder as the user gave it.
        reporter: Receives progress, and a warning about pictures without a face.

    Raises:
        NoFaceError: No picture has a face.
        OSError, LockedError, DataError: The cache is not writable or damaged, or another run is writing the gallery.
    """
    folder = cache_folder() / _FOLDER
    source = open_source(choice, listing, encoder.fingerprint)
    target = folder / f"{_key(root, source.fingerprint.to_json(), encoder.digest, choice)}.h5"
    config = EmbedConfig(faces=root, model=model, out=target, face=choice, prune=True)
    origin = StoreOrigin(
        fingerprint=source.fingerprint,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        calibration=encoder.calibration,
        config=to_json(config),
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        totals = update_store(config, target, listing, encoder, origin, None, reporter)
    except DataError:
        with suppress(OSError):  # If it is damaged, the next run creates it again.
            target.unlink(missing_ok=True)
        raise
    if not totals.faces:
        target.unlink(missing_ok=True)
        raise NoFaceError(f"{display_path(root)}: no face found in any picture (first: {totals.failures[0]})")
    if totals.bad:
        text = f"{totals.bad} of {len(listing.photos)} pictures gave no face (first: {totals.failures[0]})"
        reporter.report(Notice(text=f"{display_path(root)}: {text}", level="warning"))
    rows = read_store(target)
    _evict_old_galleries(target)
    return rows


def forget_galleries() -> None:
    """Removes all galleries from the cache, since they contain embeddings with names. They can be embedded again."""
    with suppress(FileNotFoundError):  # Nothing was ever cached, or the user has no home folder.
        shutil.rmtree(cache_folder() / _FOLDER)


def _key(root: Path, fingerprint: object, encoder_digest: str, choice: Choice) -> str:
    """Returns the cache key, which covers all inputs except the pictures: those are compared one by one."""
    parts = [_LAYOUT, os.path.realpath(root), fingerprint, encoder_digest, choice]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _evict_old_galleries(used: Path) -> None:
    """Marks a gallery as used, and removes the least recently used ones."""
    with suppress(OSError):
        os.utime(used)
        stores = sorted(used.parent.glob("*.h5"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in stores[_KEPT:]:
            path.unlink(missing_ok=True)
            shutil.rmtree(store_parts_folder(path), ignore_errors=True)
