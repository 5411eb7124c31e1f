"""Labeled faces of one or more encoders, split into training, validation and test pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.embeddings.embedding_rows import Rows, concatenate_rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.store import Store, is_store, read_store, select_most_pictured, store_required_error
from faceclr_cli.core.embeddings.transient_rows import embed_folder
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.text import display_path

_NAMED = 3

Numbers = NDArray[np.int_]


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitRows:
    """The rows of each part. The parts are disjoint, and every person has a picture in each.

    Attributes:
        train: Shape: (train pictures,).
        val: Shape: (validation pictures,).
        test: Shape: (test pictures,).
    """

    train: Numbers
    val: Numbers
    test: Numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledRows:
    """The pictures of one part.

    Attributes:
        embeddings: L2-normalized. Shape: (pictures, dim).
        labels: Number of the person in each picture, from 0. Shape: (pictures,).
    """

    embeddings: NDArray[np.float32]
    labels: Numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledSplit:
    """The same pictures, embedded by one or more encoders and split into parts.

    Attributes:
        names: Names of the stores in messages.
        stores: The stores; row i of each is the same picture.
        people: Sorted names.
        labels: Index into `people` for each row. Shape: (pictures,).
        parts: The rows of each part.
    """

    names: tuple[str, ...]
    stores: tuple[Store, ...]
    people: tuple[str, ...]
    labels: Numbers
    parts: SplitRows

    def part(self, store: Store, rows: Numbers) -> LabeledRows:
        """Selects rows of one of the stores."""
        return LabeledRows(embeddings=store.embeddings[rows], labels=self.labels[rows])


def split_sources(config: LinearEvalConfig, reporter: Reporter) -> LabeledSplit:
    """Reads stores or embeds folders, and splits the pictures at random or as given.

    Raises:
        ConfigError: No source was given.
        DataError: A source cannot be read, has too few people with enough pictures, or has different pictures from the
            first source.
        FingerprintError: The crops of the sources were made differently.
        ModelError: The encoder does not exist, or the parts were embedded by different encoders.
    """
    sources = _Sources(config.model, reporter)
    if config.train is not None and config.val is not None and config.test is not None:
        found = _split_as_given((config.train, config.val, config.test), config, sources)
    else:
        if not config.stores:
            raise ConfigError(store_required_error("linear-eval"))
        found = _split_at_random(config, sources)
    _warn_of_copies(found, reporter)
    return found


class _Sources:
    """Opens stores and folders; loads the encoder at most once, for the first folder."""

    def __init__(self, model: str, reporter: Reporter) -> None:
        self._model, self.reporter = model, reporter

    @cached_property
    def _encoder(self) -> Encoder:
        return load_encoder(self._model)

    def open(self, path: Path) -> Store:
        """Reads a store or embeds a folder, and checks that it has faces with names."""
        if is_store(path):
            store = choose_faces(read_store(path), "largest", str(path), self.reporter)
        else:
            store = _store_of(embed_folder(path, self._encoder, self._model, self.reporter), self._encoder)
        if not store.people:
            raise DataError(f"{display_path(path)}: no face has a name; embed a folder with one sub-folder per person")
        return store


def _store_of(rows: Rows, encoder: Encoder) -> Store:
    return Store(
        **_columns(rows),
        fingerprint=encoder.fingerprint,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        calibration=encoder.calibration,
        config={},
    )


def _columns(rows: Rows) -> dict[str, Any]:
    return {field.name: getattr(rows, field.name) for field in fields(Rows)}


def _split_at_random(config: LinearEvalConfig, sources: _Sources) -> LabeledSplit:
    stores = []
    for path in config.stores:
        stores.append(_chosen(sources.open(path), display_path(path), config))
        _require_same_pictures(config.stores[0], stores[0], path, stores[-1])
    people, labels = _numbered(stores[0])
    return LabeledSplit(
        names=tuple(str(path) for path in config.stores),
        stores=tuple(stores),
        people=people,
        labels=labels,
        parts=split_labeled_rows(labels, config.seed),
    )


def _split_as_given(paths: Sequence[Path], config: LinearEvalConfig, sources: _Sources) -> LabeledSplit:
    """Combines three stores into one; excludes people without a picture in each."""
    stores = [sources.open(path) for path in paths]
    for path, store in zip(paths[1:], stores[1:], strict=True):
        stores[0].fingerprint.require_same_crops(store.fingerprint, display_path(paths[0]), display_path(path))
        if (store.encoder_digest, store.flip) != (stores[0].encoder_digest, stores[0].flip):
            text = f"{display_path(store.encoder)}{'' if store.flip == 'none' else f' --flip {store.flip}'}"
            raise ModelError(
                f"{display_path(path)}: was embedded by {text}, unlike {display_path(paths[0])}; "
                "embed both with the same encoder"
            )
    people_of = [set(store.people) for store in stores]
    in_all = set.intersection(*people_of)
    if excluded := sorted(set.union(*people_of) - in_all):
        total = len(excluded) + len(in_all)
        text = f"{len(excluded)} of {total} people are not in all three parts and are excluded ({_some(excluded)})"
        sources.reporter.report(Notice(text=text, level="warning"))
    if len(in_all) < 2:
        raise DataError(
            f"{display_path(paths[0])}: {len(in_all)} people are also in {display_path(paths[1])} and "
            f"{display_path(paths[2])}; at least two are needed. Split the pictures of each person, for example with "
            "faceclr split --by image"
        )
    kept = [store.take([row for row, name in enumerate(store.identities) if name in in_all]) for store in stores]
    part_of = np.repeat(np.arange(3), [len(store) for store in kept])
    whole = replace(stores[0], **_columns(concatenate_rows(kept)))
    chosen = select_most_pictured(whole, config.identities, config.min_images)
    _require_two(whole.take(chosen), whole, display_path(paths[0]), config)
    store, part_of = whole.take(chosen), part_of[chosen]
    people, labels = _numbered(store)
    train, val, test = (np.flatnonzero(part_of == part) for part in range(3))
    return LabeledSplit(
        names=(str(paths[0]),),
        stores=(store,),
        people=people,
        labels=labels,
        parts=SplitRows(train=train, val=val, test=test),
    )


def _chosen(store: Store, origin: str, config: LinearEvalConfig) -> Store:
    """Selects the people with the most pictures; sorts the rows by path."""
    rows = select_most_pictured(store, config.identities, config.min_images)
    chosen = store.take(sorted(rows, key=lambda row: store.paths[row]))
    _require_two(chosen, store, origin, config)
    return chosen


def _require_two(chosen: Store, store: Store, origin: str, config: LinearEvalConfig) -> None:
    if len(chosen.people) < 2:
        raise DataError(
            f"{origin}: {len(chosen.people)} of {len(store.people)} people have {config.min_images} or more pictures; "
            "at least two people are needed"
        )


def _numbered(store: Store) -> tuple[tuple[str, ...], Numbers]:
    people = store.people
    place = {name: number for number, name in enumerate(people)}
    return people, np.array([place[str(name)] for name in store.identities], int)


def _require_same_pictures(first_path: Path, first: Store, path: Path, store: Store) -> None:
    first.fingerprint.require_same_crops(store.fingerprint, display_path(first_path), display_path(path))
    ours, theirs = (set(zip(s.paths, s.identities, s.content_hashes, strict=True)) for s in (first, store))
    if ours != theirs or len(first) != len(store):
        odd = min((path for path, _, _ in ours ^ theirs), default=first.paths[0])
        raise DataError(
            f"{display_path(first_path)} and {display_path(path)} contain different pictures "
            f"({display_path(odd)} differs); embed the same folder with each encoder"
        )


def split_labeled_rows(labels: Numbers, seed: int) -> SplitRows:
    """Splits the pictures of each person 60/20/20, with at least one in each part.

    Args:
        labels: Person numbers from 0, each with three or more pictures. Shape: (pictures,).
        seed: Seed of the random split.
    """
    rng = np.random.default_rng(seed)
    train, val, test = [], [], []
    order = np.argsort(labels, kind="stable")
    for pictures in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        mine = rng.permutation(pictures)
        held_out = max(1, round(0.2 * len(mine)))
        val.append(mine[:held_out])
        test.append(mine[held_out : 2 * held_out])
        train.append(mine[2 * held_out :])
    return SplitRows(train=np.concatenate(train), val=np.concatenate(val), test=np.concatenate(test))


def _warn_of_copies(found: LabeledSplit, reporter: Reporter) -> None:
    """Warns about test pictures that are in the training set, which measure memorization."""
    hashes = found.stores[0].content_hashes
    learned = {hashes[row] for row in found.parts.train}
    copies = [row for row in found.parts.test if hashes[row] in learned]
    if copies:
        text = f"{len(copies)} of {len(found.parts.test)} test pictures are copies of training pictures"
        first = display_path(found.stores[0].paths[copies[0]])
        reporter.report(Notice(text=f"{text}; the results are too optimistic (first: {first})", level="warning"))


def _some(names: Sequence[str]) -> str:
    return ", ".join(display_path(name) for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
