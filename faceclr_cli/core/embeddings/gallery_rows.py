"""Embeddings of the labeled people that new faces are compared with."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.configs.embed import EmbedConfig, QualityLevel
from faceclr_cli.core.datasets.face_sets import is_face_set
from faceclr_cli.core.embeddings.crop_source import list_pictures
from faceclr_cli.core.embeddings.embedding_cache import embed_gallery
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.store import is_store, read_store_of
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.sources.containers import path_exists
from faceclr_cli.core.text import display_path


def read_gallery_rows(
    path: Path,
    choice: Choice | None,
    model: str,
    encoder: Encoder,
    reporter: Reporter,
    *,
    quality: QualityLevel = "none",
) -> Rows:
    """Reads a gallery from a store, or embeds a folder.

    Args:
        path: The store, prepared faces, or a folder, archive or list of photographs.
        choice: Which face to use of a photograph with several. The default is the largest, since the other people in it
            would get the same name.
        model: Name of the encoder.
        encoder: The encoder.
        reporter: Receives progress and warnings.
        quality: The measures of quality to compute.

    Raises:
        DataError: The gallery does not exist, or no face was found.
        ModelError: The store was made by another encoder.
        FingerprintError: The faces were prepared differently from what the encoder needs.
        ConfigError: A choice was given for prepared faces.
    """
    if is_store(path):
        store = read_store_of(path, encoder, model)
        return choose_faces(store, choice or "largest", display_path(path), reporter, option="--gallery-face")
    if not path_exists(path):
        raise DataError(f"{display_path(path)}: no such file or folder")
    if choice is not None and is_face_set(path):
        raise ConfigError(f"--gallery-face: {display_path(path)} contains prepared faces; omit the option")
    options = EmbedConfig(faces=path, model=model, face=choice or "largest", quality=quality)
    listing = list_pictures(options, path, encoder.fingerprint, reporter)
    return embed_gallery(path, listing, options, encoder, reporter)
