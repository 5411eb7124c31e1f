"""An encoder measured on pairs, from stored embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs import Pair, read_pairs
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.verification import (
    auc,
    best_threshold,
    cosine_scores,
    eer,
    k_fold_accuracy,
    tar_at_far,
)

FARS = (1e-1, 1e-2, 1e-3)
_BELOW_EVERY_COSINE = -2.0


@dataclass(frozen=True, kw_only=True)
class TarAtFar:
    """One row of the table of operating points.

    Attributes:
        far: The false accept rate asked for.
        tar: Share of genuine pairs accepted, or None where it cannot be measured.
        threshold: Where, or None.
        reason: Why it cannot be measured, or None.
    """

    far: float
    tar: float | None
    threshold: float | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class PairsResult:
    """What an encoder reached on pairs.

    Pairs with a picture that the store lacks are never dropped: in the accuracy each is a wrong verdict, and
    in precision, recall and TAR the genuine ones are rejected. FAR, AUC and EER are over the pairs found,
    except that AUC and EER too see missing genuine pairs as rejected.

    Attributes:
        store: The file of embeddings.
        pairs: The file of pairs.
        encoder: Who made the embeddings.
        genuine: Pairs of one person in the file.
        impostor: Pairs of two people in the file.
        missing: Pairs of which the store lacks a picture.
        first_missing: The first picture that it lacks, or None.
        folds: How many folds the accuracy is a mean of.
        accuracy: Each fold judged by the best threshold of the others.
        standard_error: Of the accuracy, over folds.
        precision: Share of genuine pairs among those accepted, by the folds' thresholds; None if none was.
        recall: Share of genuine pairs that were accepted.
        auc: Area under the ROC.
        eer: Equal error rate.
        tar_at_far: For each false accept rate of `FARS`.
        best_threshold: The threshold with the most right verdicts on all pairs.
    """

    store: str
    pairs: str
    encoder: str
    genuine: int
    impostor: int
    missing: int
    first_missing: str | None
    folds: int
    accuracy: float
    standard_error: float
    precision: float | None
    recall: float
    auc: float
    eer: float
    tar_at_far: tuple[TarAtFar, ...]
    best_threshold: float

    @property
    def found(self) -> int:
        """Pairs of which the store has both pictures."""
        return self.genuine + self.impostor - self.missing

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        points = [asdict(point) for point in self.tar_at_far]
        return asdict(self) | {"found": self.found, "tar_at_far": points}


def measure_pairs(store_path: Path, pairs_path: Path, config: VerifyConfig, reporter: Reporter) -> PairsResult:
    """Measures the embeddings of a store on a file of labelled pairs.

    Pairs name pictures as the store does: by their path below the folder that was embedded.

    Raises:
        DataError: A file cannot be read, the pairs have no labels or are too few, or the store has none of them.
        ConfigError: A threshold was given.
    """
    if config.threshold is not None:
        raise ConfigError("--threshold is for two photographs; on pairs the folds choose it: leave it out")
    store, pairs = read_store(store_path), read_pairs(pairs_path)
    if any(pair.same is None for pair in pairs):
        raise DataError(f"{pairs_path}: a pair without a label can't be measured; each needs 'same' as 1 or 0")
    same = np.array([bool(pair.same) for pair in pairs])
    scores, absent = _scores(store, pairs)
    missing = np.isnan(scores)
    if missing.all():
        raise DataError(
            f"{store_path}: holds none of the {len(pairs)} pairs of {pairs_path}; "
            f"the first names {absent}, the store has {store.paths[0] if len(store) else 'nothing'}"
        )
    if absent is not None:
        text = f"{missing.sum()} of {len(pairs)} pairs have a picture that {store_path} lacks (first: {absent})"
        reporter.report(Notice(text=f"{text}; each counts as wrong", level="warning"))
    try:
        return _measure(store_path, pairs_path, store.encoder, scores, same, absent, config.folds)
    except ValueError as error:
        raise DataError(f"{pairs_path}: {error}") from error


def _scores(store: Store, pairs: Sequence[Pair]) -> tuple[NDArray[np.float64], str | None]:
    """The score of each pair, NaN where the store lacks a picture, and the first picture that it lacks."""
    rows = {path: row for row, path in enumerate(store.paths)}
    absent = next((path for pair in pairs for path in (pair.a, pair.b) if path not in rows), None)
    there = np.array([pair.a in rows and pair.b in rows for pair in pairs], bool)
    found = [pair for pair, held in zip(pairs, there, strict=True) if held]
    scores = np.full(len(pairs), np.nan)
    left, right = [rows[pair.a] for pair in found], [rows[pair.b] for pair in found]
    scores[there] = cosine_scores(store.embeddings[left], store.embeddings[right])
    return scores, absent


def _measure(
    store_path: Path,
    pairs_path: Path,
    encoder: str,
    scores: NDArray[np.float64],
    same: NDArray[np.bool_],
    absent: str | None,
    folds: int,
) -> PairsResult:
    missing = np.isnan(scores)
    judged = k_fold_accuracy(np.where(missing, 0.0, scores), same, folds, missing)
    # Impostor pairs without a score say nothing about false accepts; genuine ones are people sent away.
    known = ~missing | same
    values, genuine = np.where(missing, _BELOW_EVERY_COSINE, scores)[known], same[known]
    accepted = judged.accepted
    return PairsResult(
        store=str(store_path),
        pairs=str(pairs_path),
        encoder=encoder,
        genuine=int(same.sum()),
        impostor=int((~same).sum()),
        missing=int(missing.sum()),
        first_missing=absent,
        folds=folds,
        accuracy=judged.mean,
        standard_error=judged.standard_error,
        precision=float(same[accepted].mean()) if accepted.any() else None,
        recall=float(accepted[same].mean()),
        auc=auc(values, genuine),
        eer=eer(values, genuine),
        tar_at_far=tuple(_at(values, genuine, far) for far in FARS),
        best_threshold=best_threshold(scores[~missing], same[~missing]),
    )


def _at(values: NDArray[np.float64], genuine: NDArray[np.bool_], far: float) -> TarAtFar:
    impostors, needed = int((~genuine).sum()), round(1 / far)
    if impostors < needed:
        reason = f"needs {needed:,} impostor pairs, there are {impostors:,}"
        return TarAtFar(far=far, tar=None, threshold=None, reason=reason)
    point = tar_at_far(values, genuine, far)
    return TarAtFar(far=far, tar=point.tar, threshold=point.threshold, reason=None)
