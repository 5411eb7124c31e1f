"""Templates of `faceclr identify`: several pictures of a person as one entry of the gallery, or as one probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.embeddings.crop_source import list_pictures
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.face_templates import FaceTemplates, choose_templates, group_faces
from faceclr_cli.core.embeddings.store import is_store, read_store_of
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import ConfigError, DataError, NoFaceError
from faceclr_cli.core.evaluation.identification.probe_faces import Probe, ProbeFace
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.gallery_search import PeopleIndex
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

_TOGETHER = 256
"""Number of templates to search at once."""


class TemplateProbes:
    """The templates of photographs or of a store.

    Attributes:
        photos: One entry for each template, with its person; no file is opened.

    Args:
        templates: The templates.
        rows: The faces.
        origin: The photographs or the store.
    """

    def __init__(self, templates: FaceTemplates, rows: Rows, origin: Path) -> None:
        self._templates, self._rows = templates, rows
        self.photos: Sequence[Photo] = [
            Photo(path=origin, identity=who, name=name)
            for name, who in zip(templates.names, templates.people, strict=True)
        ]

    def batches(self) -> Iterator[Sequence[Probe]]:
        """Yields large batches, since all faces are already embedded."""
        for start in range(0, len(self.photos), _TOGETHER):
            yield [self._probe(number) for number in range(start, min(start + _TOGETHER, len(self.photos)))]

    def _probe(self, number: int) -> Probe:
        photo, members = self.photos[number], self._templates.rows[number]
        if not len(members):
            return Probe(photo=photo, failure=f"{display_path(photo.name)}: no picture with a face")
        return Probe(
            photo=photo,
            content_hashes=tuple(self._rows.content_hashes[row] for row in members),
            faces=(ProbeFace(vectors=self._templates.vectors.of(number), box=None),),
        )


def open_template_probes(
    config: IdentifyConfig, root: Path, encoder: Encoder, reporter: Reporter, *, flip: bool
) -> TemplateProbes:
    """Embeds photographs or reads a store, and groups the faces to templates.

    Raises:
        DataError: The source cannot be read or has no faces, or the list does not match it.
        ModelError, FingerprintError: The store or the faces do not match the encoder.
        ConfigError: The gallery needs means of faces and their mirror images, which only a store can have here.
    """
    if is_store(root):
        store = read_store_of(root, encoder, config.model, flip=flip)
        rows: Rows = choose_faces(store, config.face_choice, str(root), reporter)
    elif flip:
        text = "this gallery requires means of faces and their mirror images; use a store of faceclr embed --flip mean"
        raise ConfigError(f"--template: {text}")
    else:
        listing = list_pictures(EmbedConfig(faces=root, model=config.model), root, encoder.fingerprint, reporter)
        choice = "largest" if listing.crops is not None else config.face_choice
        block = embed_listing(listing, choice, encoder, reporter)
        if not len(block.rows):
            raise NoFaceError(f"{display_path(root)}: no face found in any picture (first: {block.failures[0]})")
        rows = block.rows
    templates = _group(rows, config, root, reporter)
    return TemplateProbes(choose_templates(templates, config.probe_templates), rows, root)


def build_template_gallery(
    rows: Rows, config: IdentifyConfig, path: Path, reporter: Reporter
) -> tuple[PeopleIndex, Sequence[str], Sequence[str], frozenset[str]]:
    """Groups the faces of a gallery to templates.

    Returns:
        The search index with one row for each vector of a template, the names of the people by their number in it, the
        template of each row, and the SHA-256 of the pictures.

    Raises:
        DataError: The list does not match the gallery, or no template has a person.
    """
    every = choose_templates(_group(rows, config, path, reporter), config.gallery_templates).enrolled()
    named = np.array([who is not None for who in every.people], bool)
    if not named.any():
        raise DataError(
            f"{display_path(path)}: no template has a person; give --gallery-templates with columns template,person"
        )
    if not named.all():
        text = f"{display_path(path)}: {count(int((~named).sum()), 'template')} without a person are skipped"
        reporter.report(Notice(text=text, level="warning"))
    known = every.take(np.flatnonzero(named))
    names, numbers = np.unique([str(who) for who in known.people], return_inverse=True)
    owners: NDArray[np.int64] = known.vectors.template_of_vector
    return (
        PeopleIndex(known.vectors.vectors, numbers[owners]),
        [str(name) for name in names],
        [known.names[template] for template in owners],
        frozenset(rows.content_hashes[row] for members in known.rows for row in members),
    )


def _group(rows: Rows, config: IdentifyConfig, path: Path, reporter: Reporter) -> FaceTemplates:
    if config.template is None:
        raise ConfigError("--template chooses how pictures are combined")
    return group_faces(rows, config.template_list, config.template, display_path(path), reporter)
