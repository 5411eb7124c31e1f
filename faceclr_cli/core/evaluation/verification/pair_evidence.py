"""Labeled pairs and their scores, from photographs, a store or a score file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.group_lists import GroupList
from faceclr_cli.core.datasets.pairs.cfp import read_cfp
from faceclr_cli.core.datasets.pairs.pair_files import Pair, locate_pairs, pair_name, read_labeled_pairs
from faceclr_cli.core.datasets.pairs.score_files import read_scores
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.quality_columns import known_measures
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.differentials.group_measurement import require_groups_of_pairs
from faceclr_cli.core.evaluation.verification.photographs import (
    PhotoReader,
    open_photo_reader,
    similarity_of,
    walk_pairs,
)
from faceclr_cli.core.events import Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.metrics.roc import cosine_scores
from faceclr_cli.core.sources.picture_names import PictureNames
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

_TASK = "comparing pairs"


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredPairs:
    """A list of labeled pairs and their scores.

    Attributes:
        origin: Name of the list in messages.
        pairs: The pairs as listed; empty if only the scores are known.
        located: The pairs with the actual file names, which may be spelled differently in the list.
        scores: NaN if a pair could not be compared. Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        reasons: Why each pair could not be compared; None if it was. Shape: (pairs,).
        failed: Actual names of the pictures without an embedding.
    """

    origin: str
    pairs: Sequence[Pair]
    located: Sequence[Pair]
    scores: NDArray[np.float64]
    same: NDArray[np.bool_]
    reasons: Sequence[str | None]
    failed: frozenset[str] = frozenset()

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Mask of the pairs that could not be compared. Shape: (pairs,)."""
        return np.isnan(self.scores)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The input of a measurement on pairs.

    Attributes:
        judged: The pairs to measure on.
        other: The pairs that choose the threshold, or None to choose it by cross-validation.
        source: The folder of photographs, or the store; None for a score file.
        encoder: Name of the encoder; None for a score file.
        fingerprint: How the faces were prepared; None for a score file.
        trained_on: The people in the encoder's training set, or None if unknown.
        content_hashes: SHA-256 of each picture, by name.
        quality: The known quality measures of each picture, by name.
    """

    judged: ScoredPairs
    other: ScoredPairs | None
    source: str | None = None
    encoder: str | None = None
    fingerprint: Fingerprint | None = None
    trained_on: Collection[str] | None = None
    content_hashes: Mapping[str, str]
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def collect_evidence(config: VerifyConfig, reporter: Reporter, groups: GroupList | None = None) -> Evidence:
    """Reads and scores the pairs that the options of `faceclr verify` select.

    Groups of people are checked before a picture is embedded.

    Raises:
        DataError: A file cannot be read, a pair has no label, or no pair could be compared.
        ConfigError, ModelError, FingerprintError: The encoder does not exist, or does not match the faces.
    """
    if config.protocol == "scores":
        return Evidence(
            judged=_read_score_file(config.pairs),
            other=None if config.calibrate_on is None else _read_score_file(config.calibrate_on),
            content_hashes={},
        )
    lists = [_read_config_pairs(config)]
    if groups is not None:
        require_groups_of_pairs(groups, lists[0][1], lists[0][0])
    if config.calibrate_on is not None:
        lists.append((pair_name(config.calibrate_on), read_labeled_pairs(config.calibrate_on)))
    if config.embeddings is not None:
        return _score_from_store(config.embeddings, config.face or "largest", lists, reporter)
    return _score_from_photographs(config, lists, reporter)


_List = tuple[str, list[Pair]]


def _read_config_pairs(config: VerifyConfig) -> _List:
    if config.protocol == "cfp" and config.root is not None:
        return display_path(config.root), read_cfp(config.root)
    if config.pairs is None:
        raise ConfigError("give --pairs FILE, the pairs to measure on")
    return pair_name(config.pairs), read_labeled_pairs(config.pairs)


def _read_score_file(path: Path | None) -> ScoredPairs:
    if path is None:
        raise ConfigError("--protocol scores: give --pairs FILE, the scores")
    scores, same = read_scores(path)
    return ScoredPairs(
        origin=pair_name(path), pairs=(), located=(), scores=scores, same=same, reasons=(None,) * len(scores)
    )


def _score_from_store(path: Path, choice: Choice, lists: Sequence[_List], reporter: Reporter) -> Evidence:
    every = read_store(path)
    store = choose_faces(every, choice, str(path), reporter)
    ambiguous = set(every.paths) - set(store.paths)

    def absence(name: str) -> str:
        text = "has several faces, and only one is allowed" if name in ambiguous else f"not in {display_path(path)}"
        return f"{display_path(name)}: {text}"

    scored = [score_pairs(store, origin, pairs, display_path(path), absence) for origin, pairs in lists]
    return Evidence(
        judged=scored[0],
        other=scored[1] if len(scored) > 1 else None,
        source=str(path),
        encoder=store.encoder,
        fingerprint=store.fingerprint,
        content_hashes=dict(zip(store.paths, store.content_hashes, strict=True)),
        quality=dict(zip(store.paths, known_measures(store), strict=True)),
    )


def score_pairs(
    rows: Rows, origin: str, pairs: Sequence[Pair], place: str, absence: Callable[[str], str]
) -> ScoredPairs:
    """Computes the cosine similarity of each pair of pictures.

    Args:
        rows: The embeddings, with one row for each picture.
        origin: Name of the list in messages.
        pairs: The pairs, with labels.
        place: Name of the place of the embeddings in messages.
        absence: Returns the reason why there is no embedding of a picture, given its name.

    Raises:
        DataError: There is no embedding for any pair.
    """
    row_of = {name: row for row, name in enumerate(rows.paths)}
    located, absent = locate_pairs(pairs, PictureNames(row_of))
    if all(name is not None for name in absent):
        first = rows.paths[0] if len(rows) else "nothing"
        raise DataError(
            f"{place}: contains none of the {count(len(pairs), 'pair')} of {origin}; the first pair names "
            f"{absent[0]}, the store contains {first}"
        )
    is_found = np.array([name is None for name in absent])
    found = [pair for pair, name in zip(located, absent, strict=True) if name is None]
    scores = np.full(len(pairs), np.nan)
    left, right = [row_of[pair.a] for pair in found], [row_of[pair.b] for pair in found]
    scores[is_found] = cosine_scores(rows.embeddings[left], rows.embeddings[right])
    return ScoredPairs(
        origin=origin,
        pairs=pairs,
        located=located,
        scores=scores,
        same=_labels(pairs),
        reasons=[None if name is None else absence(name) for name in absent],
        failed=frozenset(name for pair in located for name in (pair.a, pair.b) if name not in row_of),
    )


def _score_from_photographs(config: VerifyConfig, lists: Sequence[_List], reporter: Reporter) -> Evidence:
    encoder = load_encoder(config.model)
    total, done, scored = sum(len(pairs) for _, pairs in lists), 0, []
    reporter.report(TaskStarted(task=_TASK, total=total, unit="pairs"))
    try:
        with open_photo_reader(
            encoder, config.model, config.root, config.face_choice, reporter, config.save_crops
        ) as pictures:
            for origin, pairs in lists:
                scored.append(_compare_pairs(origin, pairs, pictures, done, reporter))
                done += len(pairs)
    finally:
        reporter.report(TaskFinished(task=_TASK))
    return Evidence(
        judged=scored[0],
        other=scored[1] if len(scored) > 1 else None,
        source=str(config.root or "."),
        encoder=encoder.name,
        fingerprint=pictures.fingerprint,
        trained_on=encoder.trained_on,
        content_hashes=pictures.content_hashes,
        quality=pictures.quality,
    )


def _compare_pairs(
    origin: str, pairs: Sequence[Pair], pictures: PhotoReader, before: int, reporter: Reporter
) -> ScoredPairs:
    scores, reasons, failed = np.full(len(pairs), np.nan), list[str | None](), set[str]()
    for row, (pair, a, b) in enumerate(walk_pairs(pairs, pictures)):
        similarity = similarity_of(a, b)
        scores[row] = np.nan if similarity is None else similarity
        reasons.append(a.failure or b.failure)
        failed |= {pictures.name_of(name) for name, end in ((pair.a, a), (pair.b, b)) if end.embedding is None}
        reporter.report(TaskAdvanced(task=_TASK, done=before + row + 1))
    if np.isnan(scores).all():
        raise DataError(f"{origin}: none of the {count(len(pairs), 'pair')} could be compared (first: {reasons[0]})")
    return ScoredPairs(
        origin=origin,
        pairs=pairs,
        located=[Pair(pictures.name_of(pair.a), pictures.name_of(pair.b), pair.same) for pair in pairs],
        scores=scores,
        same=_labels(pairs),
        reasons=reasons,
        failed=frozenset(failed),
    )


def _labels(pairs: Sequence[Pair]) -> NDArray[np.bool_]:
    return np.array([bool(pair.same) for pair in pairs])
