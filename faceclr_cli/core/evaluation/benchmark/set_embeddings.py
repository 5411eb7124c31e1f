"""Embeddings of the pictures of a benchmark set, each computed once for each encoder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.crop_source import Listing
from faceclr_cli.core.embeddings.embedding_cache import BENCHMARKS, embed_cached
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError, FingerprintError, LockedError, NoFaceError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, kw_only=True, eq=False)
class SetEmbeddings:
    """The embeddings of the pictures of a set.

    Attributes:
        rows: One row for each picture with a face.
        not_enrolled: Number of pictures without a face.
        failures: Reasons for the first of them.
        embedded: Number of pictures that this run embedded.
        seconds: Time that it took.
    """

    rows: Rows
    not_enrolled: int
    failures: tuple[str, ...]
    embedded: int
    seconds: float


def embed_pictures(
    place: Path, listing: Listing, config: BenchmarkConfig, encoder: Encoder, model: str, reporter: Reporter
) -> SetEmbeddings:
    """Embeds the pictures that the cache does not contain.

    If the cache cannot be used, all pictures are embedded, with a warning.

    Args:
        place: The folder of the pictures, or the `.bin` file.
        listing: The pictures.
        config: The options.
        encoder: The encoder.
        model: The encoder as given by the user.
        reporter: Receives progress and the warning.

    Raises:
        NoFaceError: No picture has a face.
        FingerprintError: The crops were prepared differently from what the encoder needs.
        ModelError: The alignment that the encoder needs is not available.
    """
    origin = display_path(place)
    if listing.crops is not None:
        listing.crops.require_same_crops(encoder.fingerprint, origin, f"the encoder {model}")
    choice = "largest" if listing.crops is not None else config.face_choice
    options = EmbedConfig(faces=place, model=model, face=choice, flip=config.flip, batch_size=config.batch_size)
    began = time.perf_counter()
    try:
        rows, totals = embed_cached(BENCHMARKS, place, listing, options, encoder, reporter)
    except (NoFaceError, FingerprintError):
        raise
    except (OSError, LockedError, DataError) as error:
        text = f"{origin}: the cache cannot be used, so all pictures are embedded again: {error}"
        reporter.report(Notice(text=text, level="warning"))
        block = embed_listing(listing, choice, encoder, reporter, config.flip)
        return SetEmbeddings(
            rows=block.rows,
            not_enrolled=len(block.failures),
            failures=block.failures,
            embedded=len(block.rows),
            seconds=time.perf_counter() - began,
        )
    # The cached store may contain rows of pictures that another set names.
    names = {photo.name for photo in listing.photos}
    own = rows.take(np.array([row for row, name in enumerate(rows.paths) if name in names], int))
    return SetEmbeddings(
        rows=own,
        not_enrolled=totals.bad,
        failures=totals.failures,
        embedded=totals.faces - totals.kept,
        seconds=time.perf_counter() - began,
    )
