"""The people whom photographs may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.embeddings.crop_source import list_pictures
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.gallery_cache import embed_cached
from faceclr_cli.core.embeddings.store import Store, is_store, read_store
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.decision_rule import DEFAULT_FALSE_ALARM_RATE, Rule, choose_rule
from faceclr_cli.core.errors import ConfigError, DataError, LockedError, ModelError, NoFaceError
from faceclr_cli.core.evaluation.identification.classifier_gallery import ClassifierGallery, load_classifier_gallery
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.evaluation.identification.people_classifier import is_classifier
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.faces.face_folder import is_face_folder
from faceclr_cli.core.metrics.gallery_search import PeopleIndex
from faceclr_cli.core.metrics.open_set import FalseAlarms, bounded_false_alarms, gallery_false_alarms
from faceclr_cli.core.text import display_path

_LEAST_PEOPLE = 10
"""Fewer people measure the false alarms of a gallery so badly that a bound says more."""


class KnownPeople(Protocol):
    """People with names, among whom faces are looked for."""

    @property
    def names(self) -> Sequence[str]:
        """Of the people, each once, sorted."""
        ...

    @property
    def content_hashes(self) -> frozenset[str] | None:
        """SHA-256 of their pictures, or None where nobody wrote them down."""
        ...

    @property
    def rule(self) -> Rule:
        """From which similarity on a face is theirs."""
        ...

    @property
    def false_alarms(self) -> FalseAlarms | None:
        """The share of strangers who would be taken for one of the people; None where it is not known."""
        ...

    @property
    def flip(self) -> bool:
        """Whether faces are compared as means of themselves and their mirror images."""
        ...

    def find(self, embeddings: NDArray[np.float32], count: int) -> list[tuple[Match, ...]]:
        """The people that each face is most likely of, at most `count`, the likeliest first. Shape: (faces, dim)."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Faces of people with names, ready to be searched.

    Attributes:
        index: Finds people by their numbers.
        names: Of the people, by number.
        paths: Of the pictures, by row.
        content_hashes: Of the pictures.
        rule: From which similarity on a face is theirs.
    """

    index: PeopleIndex
    names: Sequence[str]
    paths: Sequence[str]
    content_hashes: frozenset[str]
    rule: Rule
    flip: bool = False

    @property
    def false_alarms(self) -> FalseAlarms | None:
        """As `People`: measured on the gallery, or bounded by the FAR where too few people make no measurement."""
        people, rule = len(self.names), self.rule
        if rule.far is not None and people < _LEAST_PEOPLE:
            return bounded_false_alarms(len(self.paths), rule.far)
        return gallery_false_alarms(*self.index.similarities_to_others(), rule.threshold) if people > 1 else None

    def find(self, embeddings: NDArray[np.float32], count: int) -> list[tuple[Match, ...]]:
        """As `People`; a person is as similar as the most similar of their pictures."""
        found = self.index.search(embeddings, count)
        chances = None if self.rule.logistic is None else self.rule.logistic.among(len(self.names))
        return [
            tuple(
                Match(
                    name=self.names[person],
                    similarity=float(similarity),
                    probability=None if chances is None else float(chances(similarity)),
                    picture=self.paths[row],
                )
                for person, similarity, row in zip(*columns, strict=True)
            )
            for columns in zip(found.people, found.similarities, found.rows, strict=True)
        ]


def load_gallery(config: IdentifyConfig, path: Path, encoder: Encoder, reporter: Reporter) -> KnownPeople:
    """Reads a store or a classifier, or embeds a folder, of people with names.

    Args:
        config: The options.
        path: The store, the classifier, prepared faces, or a folder, archive or list of photographs. Of several faces
            in a photograph one counts, by default the largest.
        encoder: Who embedded them, or embeds them now.
        reporter: Told of what is left out.

    Raises:
        DataError: There is no such file, or nobody in it has a name.
        ModelError: The store or the classifier was made by another encoder.
        FingerprintError: The faces were prepared in another way than the encoder needs.
        ConfigError: The encoder has no threshold and none was given.
    """
    if is_classifier(path):
        if config.gallery_face is not None:
            raise ConfigError(f"--gallery-face: {display_path(path)} is a classifier; leave the option out")
        layer: ClassifierGallery = load_classifier_gallery(path, encoder, config)
        return layer
    choose_rule(encoder, config)  # An encoder without a threshold is an error before the gallery is embedded.
    known = select_named_rows(_rows(config, path, encoder, reporter), display_path(path), reporter)
    # A face is compared with every picture, and each is another chance to be mistaken.
    rule = choose_rule(encoder, config, highest_far=DEFAULT_FALSE_ALARM_RATE / len(known))
    names, numbers = np.unique([str(name) for name in known.identities], return_inverse=True)
    return Gallery(
        index=PeopleIndex(known.embeddings, numbers),
        names=[str(name) for name in names],
        paths=known.paths,
        content_hashes=frozenset(known.content_hashes),
        rule=rule,
    )


def _rows(config: IdentifyConfig, path: Path, encoder: Encoder, reporter: Reporter) -> Rows:
    """The faces of a store or a folder: one of each photograph, unless the user wants all.

    A photograph of a person may show others, who would take their name.
    """
    choice: Choice = config.gallery_face or "largest"
    if is_store(path):
        store = read_own_store(path, encoder, config.model)
        return choose_faces(store, choice, display_path(path), reporter, option="--gallery-face")
    if not path.exists():
        raise DataError(f"{display_path(path)}: no such file or folder")
    if config.gallery_face is not None and is_face_folder(path):
        raise ConfigError(
            f"--gallery-face: {display_path(path)} holds faces that are cut out already; leave the option out"
        )
    options = EmbedConfig(faces=path, model=config.model, face=choice)
    listing = list_pictures(options, path, encoder.fingerprint, reporter)
    try:
        return embed_cached(path, listing, choice, encoder, config.model, reporter)
    except NoFaceError:
        raise
    except (OSError, LockedError, DataError) as error:
        text = f"{display_path(path)}: all its pictures are embedded now, since the cache cannot be used: {error}"
        reporter.report(Notice(text=text, level="warning"))
    block = embed_listing(listing, choice, encoder, reporter)
    if not len(block.rows):
        raise NoFaceError(f"{display_path(path)}: no picture gave a face (first: {block.failures[0]})")
    return block.rows


def read_own_store(path: Path, encoder: Encoder, model: str, *, flip: bool = False) -> Store:
    """A store of embeddings that can be compared with those that an encoder makes now.

    Args:
        path: The store.
        encoder: The encoder.
        model: What the user calls it.
        flip: Whether means of faces and their mirror images are wanted, or faces alone.

    Raises:
        DataError: It cannot be read, or one holds means of faces and their mirror images and the other is wanted.
        ModelError: It was made by another encoder.
        FingerprintError: Its faces were prepared in another way than the encoder needs.
    """
    store = read_store(path)
    if store.encoder_digest != encoder.digest:
        raise ModelError(f"{display_path(path)}: was made by {display_path(store.encoder)}, not by --model {model}")
    store.fingerprint.require_same_crops(encoder.fingerprint, display_path(path), f"the encoder {model}")
    if store.flip and not flip:
        text = "holds means of faces and their mirror images, which compare with nothing else"
        raise DataError(f"{display_path(path)}: {text}; embed them without --flip")
    if flip and not store.flip:
        text = "the classifier learned from means of faces and their mirror images"
        raise DataError(f"{display_path(path)}: holds faces alone, and {text}; embed them with --flip")
    return store


def select_named_rows(rows: Rows, origin: str, reporter: Reporter) -> Rows:
    """The rows of people with names.

    Raises:
        DataError: There are none.
    """
    named = np.array([name is not None for name in rows.identities], bool)
    if not named.any():
        raise DataError(f"{origin}: nobody there has a name: a folder for each person gives them")
    if not named.all():
        text = f"{origin}: {(~named).sum()} of {len(named)} faces have no name and are left out"
        reporter.report(Notice(text=text, level="warning"))
    return rows.take(np.flatnonzero(named))
