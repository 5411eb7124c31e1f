"""Embedding of pictures in memory, without a store."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.configs.embed import EmbedConfig, Flip, QualityLevel
from faceclr_cli.core.embeddings.block import Block, PictureEmbedder
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.part_workers import AHEAD, report_progress
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.sources.containers import path_exists
from faceclr_cli.core.text import display_path

_BATCH = 64


def embed_folder(root: Path, encoder: Encoder, model: str, reporter: Reporter) -> Rows:
    """Embeds all prepared faces of a folder, or the largest face of each photograph.

    Raises:
        DataError: The folder is missing, or no face was found.
        FingerprintError: The fingerprint of the faces differs from the encoder's.
    """
    if not path_exists(root):
        raise DataError(f"{display_path(root)}: no such file or folder")
    listing = list_pictures(EmbedConfig(faces=root, model=model), root, encoder.fingerprint, reporter)
    block = embed_listing(listing, "largest", encoder, reporter)
    if not len(block.rows):
        raise DataError(f"{display_path(root)}: no face found in any picture (first: {block.failures[0]})")
    return block.rows


def embed_listing(
    listing: Listing,
    choice: Choice,
    encoder: Encoder,
    reporter: Reporter,
    flip: Flip = "none",
    quality: QualityLevel = "none",
) -> Block:
    """Embeds pictures and reports the number without a face.

    Raises:
        ModelError: Photographs cannot be aligned in the way that the encoder needs, or it does not support `flip`.
    """
    source = open_source(choice, listing, encoder.fingerprint, measures=quality != "none")
    items = report_progress(
        source.load(AHEAD * _BATCH, in_bursts=encoder.fills_cores), len(listing.photos), _BATCH, reporter
    )
    block = PictureEmbedder(encoder, batch_size=_BATCH, flip=flip, quality=quality).block(items)
    if block.failures:
        text = f"{len(block.failures)} of {len(listing.photos)} pictures produced no face (first: {block.failures[0]})"
        reporter.report(Notice(text=text, level="warning"))
    return block
