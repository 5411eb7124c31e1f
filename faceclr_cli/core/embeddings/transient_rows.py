"""Pictures that are embedded on the way, to be compared and not kept."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.block import Block, PictureEmbedder
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.part_workers import AHEAD, report_progress
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.text import display_path

_BATCH = 64


def embed_folder(root: Path, encoder: Encoder, model: str, reporter: Reporter) -> Rows:
    """Embeds all faces of a folder, or the largest face of each of its photographs.

    Raises:
        DataError: It is missing, or none of its pictures gave a face.
        FingerprintError: The faces were prepared in another way than the encoder needs.
    """
    if not root.exists():
        raise DataError(f"{display_path(root)}: no such file or folder")
    listing = list_pictures(EmbedConfig(faces=root, model=model), root, encoder.fingerprint, reporter)
    block = embed_listing(listing, "largest", encoder, reporter)
    if not len(block.rows):
        raise DataError(f"{display_path(root)}: no picture gave a face (first: {block.failures[0]})")
    return block.rows


def embed_listing(listing: Listing, choice: Choice, encoder: Encoder, reporter: Reporter) -> Block:
    """Embeds pictures, and says how many gave no face.

    Raises:
        ModelError: Photographs can't be aligned here in the way that the encoder needs.
    """
    source = open_source(choice, listing, encoder.fingerprint)
    items = report_progress(
        source.load(AHEAD * _BATCH, in_bursts=encoder.fills_cores), len(listing.photos), _BATCH, reporter
    )
    block = PictureEmbedder(encoder, batch_size=_BATCH, flip=False).block(items)
    if block.failures:
        text = f"{len(block.failures)} of {len(listing.photos)} pictures gave no face (first: {block.failures[0]})"
        reporter.report(Notice(text=text, level="warning"))
    return block
