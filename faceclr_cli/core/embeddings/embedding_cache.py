"""Cache of embeddings in the user's cache folder: galleries, collections, and the pictures of benchmarks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.artifacts import cache_folder
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.embeddings.crop_source import Listing, open_source
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.store import StoreOrigin, read_store, store_parts_folder
from faceclr_cli.core.embeddings.store_parts import Totals
from faceclr_cli.core.embeddings.store_update import update_store
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError, LockedError, NoFaceError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.text import display_path

_LAYOUT = 1  # Increase if existing stores in the cache become incompatible.


@dataclass(frozen=True, kw_only=True)
class CacheShelf:
    """A folder in the cache with stores for one purpose.

    Attributes:
        name: Name of the folder.
        kept: Maximum number of stores; the least recently used ones are removed.
        prune: Remove rows whose picture is not in the input.
    """

    name: str
    kept: int
    prune: bool


GALLERIES = CacheShelf(name="galleries", kept=8, prune=True)

# Sets of pairs can share a folder of pictures, so rows of pictures that only another set names are kept.
BENCHMARKS = CacheShelf(name="benchmarks", kept=64, prune=False)

COLLECTIONS = CacheShelf(name="collections", kept=4, prune=True)

TEACHERS = CacheShelf(name="teachers", kept=16, prune=True)

CLEANING = CacheShelf(name="cleaning", kept=8, prune=True)


def embed_cached(
    shelf: CacheShelf, root: Path, listing: Listing, config: EmbedConfig, encoder: Encoder, reporter: Reporter
) -> tuple[Rows, Totals]:
    """Embeds pictures, with cached embeddings of pictures that earlier runs embedded.

    All files are read, and pictures are identified by the SHA-256 of their content: changed pictures are embedded
    again.

    Args:
        shelf: The purpose of the embeddings.
        root: The folder, archive or list.
        listing: The pictures in it.
        config: The options of an equivalent `faceclr embed`.
        encoder: The encoder.
        reporter: Receives progress.

    Returns:
        The rows of the cached store, and the totals of this run. Without `CacheShelf.prune`, the rows may include
        pictures that are not in the listing.

    Raises:
        NoFaceError: No picture has a face.
        OSError, LockedError, DataError: The cache is not writable or damaged, or another run is writing the store.
    """
    folder = cache_folder() / shelf.name
    source = open_source(config.face, listing, encoder.fingerprint)
    target = folder / f"{_key(root, source.fingerprint.to_json(), encoder.digest, config)}.h5"
    config = EmbedConfig(
        faces=root,
        model=config.model,
        out=target,
        face=config.face,
        flip=config.flip,
        quality=config.quality,
        batch_size=config.batch_size,
        prune=shelf.prune,
    )
    origin = StoreOrigin(
        fingerprint=source.fingerprint,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        flip=config.flip,
        quality_level=config.quality,
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
    rows = read_store(target)
    _evict_old_stores(target, shelf.kept)
    return rows, totals


def embed_gallery(root: Path, listing: Listing, config: EmbedConfig, encoder: Encoder, reporter: Reporter) -> Rows:
    """Embeds a gallery with the cache, and reports pictures without a face; see `embed_remembered`."""
    return embed_remembered(GALLERIES, root, listing, config, encoder, reporter)


def embed_remembered(
    shelf: CacheShelf, root: Path, listing: Listing, config: EmbedConfig, encoder: Encoder, reporter: Reporter
) -> Rows:
    """Embeds pictures with the cache, or without it if it cannot be used, and reports pictures without a face.

    Raises:
        NoFaceError: No picture has a face.
        ModelError: The photographs cannot be aligned in the way that the encoder needs.
    """
    try:
        rows, totals = embed_cached(shelf, root, listing, config, encoder, reporter)
    except NoFaceError:
        raise
    except (OSError, LockedError, DataError) as error:
        text = f"{display_path(root)}: the cache cannot be used, so all pictures are embedded again: {error}"
        reporter.report(Notice(text=text, level="warning"))
    else:
        if totals.bad:
            text = f"{totals.bad} of {len(listing.photos)} pictures produced no face (first: {totals.failures[0]})"
            reporter.report(Notice(text=f"{display_path(root)}: {text}", level="warning"))
        return rows
    block = embed_listing(listing, config.face, encoder, reporter, quality=config.quality)
    if not len(block.rows):
        raise NoFaceError(f"{display_path(root)}: no face found in any picture (first: {block.failures[0]})")
    return block.rows


def forget_cached_embeddings() -> None:
    """Removes all embeddings from the cache, since they have names. They can be computed again."""
    for shelf in (GALLERIES, BENCHMARKS, COLLECTIONS, TEACHERS, CLEANING):
        with suppress(FileNotFoundError):  # Nothing was ever cached, or the user has no home folder.
            shutil.rmtree(cache_folder() / shelf.name)


def _key(root: Path, fingerprint: object, encoder_digest: str, config: EmbedConfig) -> str:
    """Returns the cache key, which covers all inputs except the pictures: those are compared one by one."""
    parts = [_LAYOUT, os.path.realpath(root), fingerprint, encoder_digest, config.face]
    parts += [config.flip] if config.flip != "none" else []
    parts += [f"quality {config.quality}"] if config.quality != "none" else []
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _evict_old_stores(used: Path, kept: int) -> None:
    """Marks a store as used, and removes the least recently used ones."""
    with suppress(OSError):
        os.utime(used)
        stores = sorted(used.parent.glob("*.h5"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in stores[kept:]:
            path.unlink(missing_ok=True)
            shutil.rmtree(store_parts_folder(path), ignore_errors=True)
