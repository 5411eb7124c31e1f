"""Labeled faces for a calibration, from a store or from photographs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from faceclr_cli.core.configs.calibrate import CalibrateConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.datasets.face_sets import is_face_set
from faceclr_cli.core.datasets.group_lists import read_groups
from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.datasets.pairs.pair_files import locate_pairs, read_pairs
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, require_faces
from faceclr_cli.core.embeddings.embedding_rows import Rows, select_named_rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.named_pictures import NamedPictures
from faceclr_cli.core.embeddings.store import read_store_of
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.sources.containers import path_exists
from faceclr_cli.core.sources.picture_names import FolderPictures, PictureNames
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledFaces:
    """Embedded faces with their people.

    Attributes:
        rows: The faces; with all pairs, every face has a name.
        origin: A description of their source.
        failures: Why no face was found, one line for each such picture.
        failed: Path and person of each of these pictures; None for a store, which does not list them.
    """

    rows: Rows
    origin: str
    failures: tuple[str, ...] = ()
    failed: tuple[tuple[str, str | None], ...] | None = None


def load_labeled_faces(config: CalibrateConfig, encoder: Encoder, reporter: Reporter) -> LabeledFaces:
    """Loads or embeds the faces for a calibration.

    Raises:
        DataError: The faces cannot be read, or there are none; or with all pairs, no face has a name.
        ModelError: The store was made by another encoder.
        FingerprintError: The faces were prepared differently from what the encoder needs.
    """
    found = (
        _read_faces(config, encoder, reporter)
        if config.embeddings is not None
        else _embed_faces(config, encoder, reporter)
    )
    if not config.all_pairs:
        return found
    rows = select_named_rows(found.rows, found.origin, reporter)
    return replace(found, rows=rows)


def _read_faces(config: CalibrateConfig, encoder: Encoder, reporter: Reporter) -> LabeledFaces:
    path = config.embeddings or Path()
    store = read_store_of(path, encoder, config.model)
    wanted = None if config.pairs is None else _pictures(config.pairs, PictureNames(store.paths))
    rows = [row for row, name in enumerate(store.paths) if wanted is None or name in wanted]
    chosen = choose_faces(store.take(rows), config.face, str(path), reporter)
    if not len(chosen):
        raise DataError(f"{display_path(path)}: contains none of the faces in the pairs")
    return LabeledFaces(rows=chosen, origin=_origin(config, path))


def _embed_faces(config: CalibrateConfig, encoder: Encoder, reporter: Reporter) -> LabeledFaces:
    root = config.root or Path()
    if not path_exists(root):
        raise DataError(f"{display_path(root)}: no such folder")
    if config.pairs is None:
        options = EmbedConfig(faces=root, model=config.model, face=config.face)
        listing = list_pictures(options, root, encoder.fingerprint, reporter)
    else:
        prepared = is_face_set(root) and require_faces(root, config.model, encoder.fingerprint, reporter)
        pictures = NamedPictures(root)
        named = _pictures(config.pairs, pictures.names).items()
        photos = sorted(
            (pictures.photo(name, person) for name, person in named),
            key=lambda photo: (photo.position, photo.name),
        )
        listing = Listing(photos=photos, crops=prepared.fingerprint if prepared else None)
    if config.groups is not None:  # A misspelled list is reported before hours of embedding.
        names = [photo.name for photo in listing.photos], [photo.identity for photo in listing.photos]
        read_groups(config.groups).assign(*names)
    block = embed_listing(listing, config.face, encoder, reporter)
    if not len(block.rows):
        raise DataError(f"{_origin(config, root)}: no face found in any picture (first: {block.failures[0]})")
    embedded = set(block.rows.paths)
    return LabeledFaces(
        rows=block.rows,
        origin=_origin(config, root),
        failures=block.failures,
        failed=tuple((photo.name, photo.identity) for photo in listing.photos if photo.name not in embedded),
    )


def _pictures(pairs: Path, there: PictureNames | FolderPictures) -> dict[str, str | None]:
    """Maps each picture in the pairs to its person, or to None if the folders are not people."""
    listed, _ = locate_pairs(read_pairs(pairs), there)
    names = [name for pair in listed for name in (pair.a, pair.b)]
    outside = next((name for name in names if name.startswith("/") or ".." in name.split("/")), None)
    if outside is not None:
        raise DataError(f"{display_path(pairs)}: {display_path(outside)} is outside the folder of faces")
    found = people_in_pairs(listed)
    if found is None:
        return dict.fromkeys(names)
    first, second, people = found
    return dict(zip(names, (people[who] for who in np.stack([first, second], axis=1).ravel()), strict=True))


def _origin(config: CalibrateConfig, path: Path) -> str:
    """Returns the last two parts of a path, such as `lfw-view1/pairsDevTrain.txt`, without local folders."""
    if config.pairs is None:
        return display_path(path.resolve().name)
    return display_path("/".join(config.pairs.resolve().parts[-2:]))
