"""The embeddings of folders that serve as galleries, kept in the user's cache between runs."""

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
_LAYOUT = 1  # Another number where stores of this folder would be read wrongly.
_KEPT = 8  # Galleries that the cache holds at most: those used last.


def embed_cached(
    root: Path, listing: Listing, choice: Choice, encoder: Encoder, model: str, reporter: Reporter
) -> Rows:
    """Embeds those pictures of a folder that the cache does not hold, and reads the rest from there.

    All files are read, and a picture is known by the SHA-256 of its content: one that was replaced is embedded again,
    and the rows of one that is gone are dropped.

    Args:
        root: The folder, archive or list.
        listing: All that is in it.
        choice: Which face of a photograph that shows several.
        encoder: Embeds them.
        model: What the user calls it.
        reporter: Told of the progress, and of pictures that gave no face.

    Raises:
        NoFaceError: No picture gave a face.
        OSError, LockedError, DataError: The cache cannot be used: it is not writable or damaged, or another run writes
            the same gallery.
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
        with suppress(OSError):  # If it is damaged, the next run makes it anew.
            target.unlink(missing_ok=True)
        raise
    if not totals.faces:
        target.unlink(missing_ok=True)
        raise NoFaceError(f"{display_path(root)}: no picture gave a face (first: {totals.failures[0]})")
    if totals.bad:
        text = f"{totals.bad} of {len(listing.photos)} pictures gave no face (first: {totals.failures[0]})"
        reporter.report(Notice(text=f"{display_path(root)}: {text}", level="warning"))
    rows = read_store(target)
    _tidy(target)
    return rows


def forget_galleries() -> None:
    """Removes all galleries from the cache: they hold embeddings of people with names, and can be made again."""
    with suppress(FileNotFoundError):  # The cache was never written, or the user has no home.
        shutil.rmtree(cache_folder() / _FOLDER)


def _key(root: Path, fingerprint: object, encoder_digest: str, choice: Choice) -> str:
    """What must be equal for rows to be used again. The pictures are compared one by one."""
    parts = [_LAYOUT, os.path.realpath(root), fingerprint, encoder_digest, choice]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _tidy(used: Path) -> None:
    """Notes that a gallery was used, and removes those that were not for longest."""
    with suppress(OSError):
        os.utime(used)
        stores = sorted(used.parent.glob("*.h5"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in stores[_KEPT:]:
            path.unlink(missing_ok=True)
            shutil.rmtree(store_parts_folder(path), ignore_errors=True)
