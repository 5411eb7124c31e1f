"""Verification of templates: metrics over listed pairs of templates or all of them, and the verdict on two folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.templates import TemplateMethod
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs.template_pairs import TemplatePairs
from faceclr_cli.core.embeddings.crop_source import list_pictures
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.face_templates import FaceTemplates, group_faces, pool_faces
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.decision_rule import choose_rule
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, NoFaceError
from faceclr_cli.core.evaluation.verification.all_pairs_protocol import FARS, OperatingRow
from faceclr_cli.core.evaluation.verification.verify import VerifyResult, decide
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.all_pairs import AllPairs, Blocks, Scores, measure_blocks
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count


@dataclass(frozen=True, kw_only=True)
class TemplatesResult:
    """The metrics of an encoder on pairs of templates.

    A genuine pair with a template without pictures counts as rejected; such an impostor pair is excluded.

    Attributes:
        store: The embedding store, or the folder of pictures.
        pairs: The file of pairs, or None for all pairs of templates.
        encoder: Name of the encoder that made the embeddings.
        template: How the pictures of a template were combined.
        templates: Number of templates.
        pictures: Number of pictures in them.
        not_enrolled: Number of templates without a picture that the store contains.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        missing: Pairs that could not be compared.
        auc: Area under the ROC.
        eer: Equal error rate.
        tar_at_far: One row for each rate of `FARS` for which there are enough impostor pairs.
        unmeasured: The other rates of `FARS`, which correspond to less than one accepted impostor pair.
    """

    store: str
    pairs: str | None
    encoder: str
    template: TemplateMethod
    templates: int
    pictures: int
    not_enrolled: int
    genuine: int
    impostor: int
    missing: int
    auc: float
    eer: float
    tar_at_far: tuple[OperatingRow, ...]
    unmeasured: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        rows = [asdict(row) for row in self.tar_at_far]
        return asdict(self) | {"tar_at_far": rows, "unmeasured": list(self.unmeasured)}


def measure_templates(config: VerifyConfig, reporter: Reporter) -> TemplatesResult:
    """Measures the embeddings of a store on pairs of templates.

    Raises:
        DataError: A file cannot be read, the list and the store do not match, or there are no genuine or no impostor
            pairs.
        ConfigError: The store lacks the data that the choice of faces needs.
    """
    if config.embeddings is None or config.template is None:
        raise ConfigError("--template requires a store: give --embeddings STORE.h5")
    origin = display_path(config.embeddings)
    store = choose_faces(read_store(config.embeddings), config.face or "largest", str(config.embeddings), reporter)
    templates = group_faces(store, config.template_list, config.template, origin, reporter)
    return measure_template_pairs(
        templates, None if config.all_pairs else config.pairs, config.template, str(config.embeddings), store.encoder
    )


def measure_template_pairs(
    templates: FaceTemplates, pairs: Path | None, method: TemplateMethod, source: str, encoder: str
) -> TemplatesResult:
    """Measures templates on listed pairs, or on all pairs of templates with a person.

    The pairs and their scores are never held in memory, so memory does not grow with their number.

    Args:
        templates: The templates.
        pairs: The file of pairs, or None for all pairs.
        method: How the pictures were combined.
        source: The store or the folder, for the result.
        encoder: Name of the encoder.

    Raises:
        DataError: The file cannot be read or names none of the templates, or there are no genuine or no impostor pairs.
    """
    sizes = templates.vectors.sizes
    counts: tuple[int, int, int] | None = None
    if pairs is None:
        blocks, origin = _all_pairs(templates), display_path(source)
    else:
        listed = TemplatePairs(pairs, templates.names, templates.people)
        counts, blocks, origin = _count_pairs(templates, listed), _listed_pairs(templates, listed), listed.origin
    try:
        measured = measure_blocks(blocks, FARS)
    except ValueError as error:
        raise DataError(f"{origin}: {error}") from error
    is_enough = [far * measured.impostor >= 1 for far in FARS]
    return TemplatesResult(
        store=source,
        pairs=None if pairs is None else str(pairs),
        encoder=encoder,
        template=method,
        templates=len(templates.names),
        pictures=sum(map(len, templates.rows)),
        not_enrolled=int((sizes == 0).sum()),
        genuine=measured.genuine if counts is None else counts[0],
        impostor=measured.impostor if counts is None else counts[1],
        missing=0 if counts is None else counts[2],
        auc=measured.auc,
        eer=measured.eer,
        tar_at_far=_rows(measured, is_enough),
        unmeasured=tuple(far for far, enough in zip(FARS, is_enough, strict=True) if not enough),
    )


def _rows(measured: AllPairs, is_enough: Sequence[bool]) -> tuple[OperatingRow, ...]:
    return tuple(
        OperatingRow(far=far, reached=point.far, tar=point.tar, threshold=point.threshold)
        for far, point, enough in zip(FARS, measured.points, is_enough, strict=True)
        if enough
    )


def _all_pairs(templates: FaceTemplates) -> Blocks:
    named = np.array([who is not None for who in templates.people], bool)
    if not named.any():
        raise DataError("no template has a person; give --template-list with a column 'person', or --pairs FILE")
    chosen = templates.take(np.flatnonzero(named & (templates.vectors.sizes > 0)))
    names, people = np.unique([str(who) for who in chosen.people], return_inverse=True)
    if len(names) == len(people):
        raise DataError(
            "each person has one template, so there are no genuine pairs; give --template-list with several templates "
            "of a person"
        )
    # Sorted by person, so that few blocks have genuine pairs.
    order = np.argsort(people, kind="stable")
    vectors, people = chosen.vectors.take(order), people[order]
    return lambda: vectors.all_pairs(people)


def _listed_pairs(templates: FaceTemplates, listed: TemplatePairs) -> Blocks:
    vectors = templates.vectors

    def blocks() -> Iterator[tuple[Scores, Scores]]:
        for left, right, same in listed.blocks():
            found = vectors.is_enrolled(left) & vectors.is_enrolled(right)
            scores = vectors.similarities(left, right)
            # Counting a missing impostor pair as rejected would lower the false accept rate.
            yield scores[same], scores[~same & found]

    return blocks


def _count_pairs(templates: FaceTemplates, listed: TemplatePairs) -> tuple[int, int, int]:
    """Returns the number of genuine, impostor and missing pairs."""
    genuine = impostor = missing = 0
    for left, right, same in listed.blocks():
        genuine += int(same.sum())
        impostor += int((~same).sum())
        missing += int((~(templates.vectors.is_enrolled(left) & templates.vectors.is_enrolled(right))).sum())
    if missing == genuine + impostor:
        raise DataError(
            f"{listed.origin}: none of the {count(missing, 'pair')} has two templates with pictures; the first "
            f"template is {display_path(templates.names[0])}"
        )
    return genuine, impostor, missing


def compare_folders(config: VerifyConfig, reporter: Reporter) -> VerifyResult:
    """Decides whether the pictures in two folders show the same person.

    Raises:
        DataError: A folder cannot be read.
        NoFaceError: No picture of a folder has a face.
        ModelError, FingerprintError, ConfigError: As for `verify`.
    """
    if config.template is None or len(config.photos) != 2:
        raise ConfigError("--template: give two folders of pictures, each of one person")
    encoder = load_encoder(config.model)
    rule = choose_rule(encoder, config)
    one, other = (_embed(folder, config, encoder, reporter) for folder in config.photos)
    notes = [] if rule.far is None else ["the threshold was measured on single photographs, not on templates"]
    copies = len(set(one.content_hashes) & set(other.content_hashes))
    if copies:
        notes.insert(0, f"{count(copies, 'picture')} in both folders, so the verdict says little about the faces")
    sides = [
        pool_faces(rows, config.template, display_path(path))
        for rows, path in zip((one, other), config.photos, strict=True)
    ]
    similarity = float((sides[0].astype(np.float64) @ sides[1].astype(np.float64).T).max())
    return decide(config.photos, similarity, encoder, rule, notes)


def _embed(folder: Path, config: VerifyConfig, encoder: Encoder, reporter: Reporter) -> Rows:
    """Embeds one face of each picture of a folder."""
    if not folder.exists():
        raise DataError(f"{display_path(folder)}: no such file or folder")
    listing = list_pictures(EmbedConfig(faces=folder, model=config.model), folder, encoder.fingerprint, reporter)
    choice = "largest" if listing.crops is not None else config.face_choice
    block = embed_listing(listing, choice, encoder, reporter)
    if not len(block.rows):
        raise NoFaceError(f"{display_path(folder)}: no face found in any picture (first: {block.failures[0]})")
    reporter.report(Notice(text=f"{display_path(folder)}: {count(len(block.rows), 'face')}"))
    return block.rows
