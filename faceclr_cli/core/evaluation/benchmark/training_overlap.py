"""People and pictures of a benchmark that an encoder has seen in training."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.datasets.splitting.duplicates import SAME, SIDE, correlation
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.loaded_pictures import FailedPicture
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.evaluation.benchmark.set_embeddings import embed_pictures
from faceclr_cli.core.evaluation.verification.pair_evidence import ScoredPairs
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.sources.person_names import name_key
from faceclr_cli.core.text import display_path

_NEIGHBORS = 3
_SIMILAR = 0.6
"""Minimum cosine similarity of pictures whose details are compared. Copies are far above it."""

_AT_ONCE = 1 << 24
_AHEAD = 64

Thumbnails = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingFaces:
    """The faces of `--trained-on`, embedded by one encoder.

    Attributes:
        folders: The folders.
        listings: Their pictures.
        rows: The embeddings of each folder.
        people: Names of the people.
    """

    folders: tuple[Path, ...]
    listings: tuple[Listing, ...]
    rows: tuple[Rows, ...]
    people: frozenset[str]


def embed_training_faces(config: BenchmarkConfig, encoder: Encoder, model: str, reporter: Reporter) -> TrainingFaces:
    """Lists and embeds the training faces, with the cache of the benchmark.

    Raises:
        DataError: A folder is missing, or contains no faces.
        FingerprintError: Prepared faces differ from what the encoder needs.
    """
    listings, rows = list[Listing](), list[Rows]()
    for folder in config.trained_on:
        listing = list_pictures(EmbedConfig(faces=folder, model=model), folder, encoder.fingerprint, reporter)
        listings.append(listing)
        rows.append(embed_pictures(folder, listing, config, encoder, model, reporter).rows)
    people = frozenset(photo.identity for listing in listings for photo in listing.photos if photo.identity is not None)
    return TrainingFaces(folders=config.trained_on, listings=tuple(listings), rows=tuple(rows), people=people)


def find_near_duplicates(
    rows: Rows, listing: Listing, training: TrainingFaces, config: BenchmarkConfig, encoder: Encoder
) -> dict[str, str]:
    """Finds pictures of a set that show the same photograph as a training picture: re-encoded, scaled or aligned again.

    The encoder proposes the most similar training pictures; `duplicates.correlation` decides by their details.
    Mirrored photographs are not found.

    Args:
        rows: Embeddings of the pictures of the set.
        listing: Its pictures.
        training: The training faces, embedded by the same encoder.
        config: The options.
        encoder: The encoder.

    Returns:
        The training picture of each such picture of the set, by name.
    """
    found = dict[str, str]()
    for folder, seen, known in zip(training.folders, training.listings, training.rows, strict=True):
        proposed = [(rows.paths[a], known.paths[b]) for a, b in _neighbors(rows.embeddings, known.embeddings)]
        proposed = [(a, b) for a, b in proposed if a not in found]
        ours = _thumbnails(listing, {a for a, _ in proposed}, config.face_choice, encoder)
        theirs = _thumbnails(seen, {b for _, b in proposed}, config.face_choice, encoder)
        for a, b in proposed:
            if a not in found and a in ours and b in theirs and correlation(ours[a], theirs[b]) >= SAME:
                found[a] = display_path(folder / b)
    return found


def _neighbors(embeddings: NDArray[np.float32], others: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Yields similar rows, the most similar first for each row of `embeddings`."""
    count = min(_NEIGHBORS, len(others))
    step = max(1, _AT_ONCE // max(1, len(others)))
    for start in range(0, len(embeddings) if count else 0, step):
        scores = embeddings[start : start + step] @ others.T
        nearest = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        for row, places in enumerate(nearest):
            for place in places[np.argsort(-scores[row, places], kind="stable")].tolist():
                if scores[row, place] >= _SIMILAR:
                    yield start + row, place


def _thumbnails(listing: Listing, names: Collection[str], choice: Choice, encoder: Encoder) -> Thumbnails:
    """Reads the named crops as thumbnails; see `duplicates.read_thumbnail`."""
    photos = [photo for photo in listing.photos if photo.name in names]
    if not photos:
        return {}
    source = open_source("largest" if listing.crops is not None else choice, listing, encoder.fingerprint)
    found = {}
    for item in source.load(_AHEAD, photos=photos):
        if not isinstance(item, FailedPicture):
            gray = cv2.cvtColor(item.faces[0].crop, cv2.COLOR_RGB2GRAY)
            found[item.name] = np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    return found


def find_shared_people(pairs: Sequence[Pair], trained_on: Collection[str]) -> tuple[str, ...] | None:
    """Returns the people of a set who are also in a training set, regardless of spelling; None if unknown."""
    known = people_in_pairs(pairs)
    if known is None:
        return None
    keys = {name_key(name) for name in trained_on}
    return tuple(name for name in known[2] if name_key(name) in keys)


def find_seen_pairs(pairs: Sequence[Pair], people: Collection[str], pictures: Collection[str]) -> NDArray[np.bool_]:
    """Returns the mask of pairs with a person or a picture of the training set. Shape: (pairs,)."""
    seen = np.array([pair.a in pictures or pair.b in pictures for pair in pairs], bool)
    known = people_in_pairs(pairs)
    if known is None or not people:
        return seen
    first, second, names = known
    is_shared = np.array([name in people for name in names], bool)
    return np.asarray(seen | is_shared[first] | is_shared[second], np.bool_)


def select_pairs(scored: ScoredPairs, mask: NDArray[np.bool_]) -> ScoredPairs:
    """Returns the pairs that a mask selects. Shape of the mask: (pairs,)."""
    rows = np.flatnonzero(mask).tolist()
    return replace(
        scored,
        pairs=[scored.pairs[row] for row in rows],
        located=[scored.located[row] for row in rows],
        scores=scored.scores[rows],
        same=scored.same[rows],
        reasons=[scored.reasons[row] for row in rows],
    )
