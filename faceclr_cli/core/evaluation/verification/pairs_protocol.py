"""An encoder measured on labeled pairs by the protocol of LFW, CFP or a file of scores."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs.pair_audit import PairAudit, audit_pairs, people_in_pairs
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.verification.pair_evidence import Evidence, ScoredPairs, collect_evidence
from faceclr_cli.core.evaluation.verification.roc_plot import draw_pairs
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.cross_validation import (
    folds_share_people,
    standard_error_by_people,
    tar_over_folds,
    transfer_threshold,
)
from faceclr_cli.core.metrics.roc import auc, best_threshold, eer, fold_numbers, k_fold_accuracy, tar_at_far
from faceclr_cli.core.plots.figure_style import require_drawable
from faceclr_cli.core.sources.person_names import name_key

FARS = (1e-1, 1e-2, 1e-3)
_BELOW_EVERY_SCORE = -2.0
_NAMED_FAILURES = 20
_REVERSED = 0.4
"""An AUC below this is not that of a weak encoder, which is about 0.5."""


@dataclass(frozen=True, kw_only=True)
class TarAtFar:
    """One row of the table of operating points.

    Attributes:
        far: The false accept rate asked for.
        tar: Share of genuine pairs accepted at the laxest threshold that accepts no larger share of all impostor
            pairs, or None where it cannot be measured.
        threshold: That threshold, or None.
        reason: Why it cannot be measured, or None.
        fold_mean: Mean over folds, each by the threshold of the others, or None where they are too small.
        fold_deviation: Standard deviation over the folds, or None.
    """

    far: float
    tar: float | None
    threshold: float | None
    reason: str | None
    fold_mean: float | None = None
    fold_deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class PairsAccuracy:
    """The accuracy, and where its thresholds come from.

    Attributes:
        folds: How many folds it is a mean of, each judged by the best threshold of the others; 1 where other pairs
            chose the threshold.
        accuracy: Share of right verdicts; a pair that could not be compared is a wrong one.
        standard_error: Of the accuracy.
        standard_error_over: What it was taken over: `folds`, as LFW reports it; `people`, where folds share people or
            other pairs chose the threshold; or `pairs`, where the latter holds and the people are not known.
        threshold: The one that other pairs chose, or None.
        backwards: The accuracy of those other pairs by the best threshold of these, or None.
        precision: Share of genuine pairs among those accepted, by these thresholds; None if none was.
        recall: Share of genuine pairs that were accepted.
    """

    folds: int
    accuracy: float
    standard_error: float
    standard_error_over: Literal["folds", "people", "pairs"]
    threshold: float | None
    backwards: float | None
    precision: float | None
    recall: float


@dataclass(frozen=True, kw_only=True)
class PairsResult:
    """What an encoder reached on pairs.

    Pairs that could not be compared are never dropped: in the accuracy each is a wrong verdict, and in precision,
    recall and TAR the genuine ones are rejected. FAR, AUC and EER are over the pairs that could, except that AUC
    and EER too see missing genuine pairs as rejected.

    Attributes:
        pairs: The file of pairs, or the folder of CFP.
        source: The folder of photographs, or the store; None for a file of scores.
        encoder: Who embedded them; None for a file of scores.
        fingerprint: How the faces were made; None for a file of scores.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        missing: Pairs that could not be compared.
        failures: The first reasons for that, each once.
        judged: The accuracy.
        auc: Area under the ROC.
        eer: Equal error rate.
        tar_at_far: For each false accept rate of `FARS`.
        best_threshold: The threshold with the most right verdicts on all pairs.
        best_distance: The same as the Euclidean distance of normalized embeddings; None for a file of scores.
        audit: Pairs that should not be in the list; None for a file of scores.
        people: How many people the pictures' folders are named after, or None if they are not people.
        shared: People whom the encoder was trained on, of those; None where nobody knows.
    """

    pairs: str
    source: str | None
    encoder: str | None
    fingerprint: dict[str, Any] | None
    genuine: int
    impostor: int
    missing: int
    failures: tuple[str, ...]
    judged: PairsAccuracy
    auc: float
    eer: float
    tar_at_far: tuple[TarAtFar, ...]
    best_threshold: float
    best_distance: float | None
    audit: PairAudit | None
    people: int | None
    shared: tuple[str, ...] | None

    @property
    def found(self) -> int:
        """Pairs that could be compared."""
        return self.genuine + self.impostor - self.missing

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        plain = asdict(self.judged) | {
            "found": self.found,
            "failures": list(self.failures),
            "tar_at_far": [asdict(point) for point in self.tar_at_far],
            "shared": None if self.shared is None else list(self.shared),
        }
        fields = asdict(self)
        del fields["judged"]
        return fields | plain


def measure_pairs(config: VerifyConfig, reporter: Reporter) -> PairsResult:
    """Measures an encoder on labeled pairs, and writes each pair's score and the plot where they are asked for.

    Pairs name pictures by their path below the folder, or below the one that was embedded.

    Raises:
        DataError: A file cannot be read or written, the pairs have no labels or are too few, or none can be compared.
        ConfigError, ModelError, FingerprintError: The encoder is not there, or does not fit the faces.
    """
    if config.plot is not None:
        require_drawable(config.plot)  # Before hours of work, not after.
    given = collect_evidence(config, reporter)
    judged, missing = given.judged, given.judged.missing
    reasons = tuple(dict.fromkeys(reason for reason in judged.reasons if reason))
    if missing.any():
        text = f"{missing.sum()} of {len(missing)} pairs could not be compared and count as wrong (first: {reasons[0]})"
        reporter.report(Notice(text=text, level="warning"))
    try:
        result, accepted = _measure(given, config.folds, reasons[:_NAMED_FAILURES])
    except ValueError as error:
        raise DataError(f"{judged.origin}: {error}") from error
    if result.auc < _REVERSED:
        text = (
            f"AUC {result.auc:.4f} is far below 0.5: pairs of one person have the lower scores. If these are "
            "distances, give 1 - distance or the negative distance; else the labels are the wrong way around"
        )
        reporter.report(Notice(text=text, level="warning"))
    if config.results is not None:
        _write_results(config.results, judged, accepted)
    if config.plot is not None:
        draw_pairs(config.plot, result, judged)
    return result


def _measure(given: Evidence, folds: int, reasons: tuple[str, ...]) -> tuple[PairsResult, NDArray[np.bool_]]:
    """The result, and which pairs were accepted."""
    own, missing = given.judged, given.judged.missing
    scores, same = own.scores, own.same
    # Impostor pairs without a score say nothing about false accepts; genuine ones are people sent away.
    known = ~missing | same
    lowest = min(_BELOW_EVERY_SCORE, float(np.nanmin(scores)) - 1)
    values, genuine = np.where(missing, lowest, scores)[known], same[known]
    found = people_in_pairs(own.located) if own.pairs else None
    judged, accepted = _judge(own, given.other, folds, None if found is None else found[:2])
    best = best_threshold(scores[~missing], same[~missing])
    names = None if found is None else found[2]
    result = PairsResult(
        pairs=own.origin,
        source=given.source,
        encoder=given.encoder,
        fingerprint=None if given.fingerprint is None else given.fingerprint.to_json(),
        genuine=int(same.sum()),
        impostor=int((~same).sum()),
        missing=int(missing.sum()),
        failures=reasons,
        judged=judged,
        auc=auc(values, genuine),
        eer=eer(values, genuine),
        tar_at_far=tuple(_at(own, values, genuine, far, folds if given.other is None else None) for far in FARS),
        best_threshold=best,
        best_distance=None if given.encoder is None else float(np.sqrt(max(0.0, 2 - 2 * best))),
        audit=audit_pairs(own.located, given.content_hashes) if own.pairs else None,
        people=None if names is None else len(names),
        shared=_shared(names, given.trained_on),
    )
    return result, accepted


def _judge(
    own: ScoredPairs, other: ScoredPairs | None, folds: int, people: tuple[NDArray[np.int64], NDArray[np.int64]] | None
) -> tuple[PairsAccuracy, NDArray[np.bool_]]:
    scores, missing, same = np.where(own.missing, 0.0, own.scores), own.missing, own.same
    if other is None:
        by_folds = k_fold_accuracy(scores, same, folds, missing)
        accuracy, error, accepted = by_folds.mean, by_folds.standard_error, by_folds.accepted
        over: Literal["folds", "people", "pairs"] = "folds"
        dependent = people is not None and folds_share_people(fold_numbers(same, folds), *people)
        threshold = backwards = None
    else:
        both = transfer_threshold(
            scores, same, np.where(other.missing, 0.0, other.scores), other.same, missing, other.missing
        )
        accuracy, backwards = (float(share) for share in both.accuracies)
        threshold, accepted, folds = float(both.thresholds[0]), both.accepted, 1
        error, over, dependent = float(np.sqrt(accuracy * (1 - accuracy) / len(same))), "pairs", people is not None
    if people is not None and dependent:
        error, over = standard_error_by_people((accepted == same) & ~missing, *people), "people"
    judged = PairsAccuracy(
        folds=folds,
        accuracy=accuracy,
        standard_error=error,
        standard_error_over=over,
        threshold=threshold,
        backwards=backwards,
        precision=float(same[accepted].mean()) if accepted.any() else None,
        recall=float(accepted[same].mean()),
    )
    return judged, accepted


def _at(
    own: ScoredPairs, values: NDArray[np.float64], genuine: NDArray[np.bool_], far: float, folds: int | None
) -> TarAtFar:
    impostors, needed = int((~genuine).sum()), round(1 / far)
    if impostors < needed:
        reason = f"needs {needed:,} impostor pairs, there are {impostors:,}"
        return TarAtFar(far=far, tar=None, threshold=None, reason=reason)
    point = tar_at_far(values, genuine, far)
    try:
        over = None if folds is None else tar_over_folds(np.nan_to_num(own.scores), own.same, far, folds, own.missing)
    except ValueError:  # The folds are too small for this rate; all pairs together are not.
        over = None
    return TarAtFar(
        far=far,
        tar=point.tar,
        threshold=point.threshold,
        reason=None,
        fold_mean=None if over is None else over.mean,
        fold_deviation=None if over is None else over.standard_deviation,
    )


def _shared(names: Sequence[str] | None, trained_on: Collection[str] | None) -> tuple[str, ...] | None:
    if names is None or not trained_on:
        return None
    known = {name_key(name) for name in trained_on}
    return tuple(name for name in names if name_key(name) in known)


def _write_results(path: Path, own: ScoredPairs, accepted: NDArray[np.bool_]) -> None:
    """One JSON line for each pair, in order; where only scores are known, without names."""
    names: Sequence[dict[str, str]] = [{"a": pair.a, "b": pair.b} for pair in own.pairs] or [{}] * len(own.scores)
    rows = zip(names, own.same.tolist(), own.scores.tolist(), accepted.tolist(), own.reasons, strict=True)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii") as file:
        for name, same, score, verdict, reason in rows:
            row = name | {
                "same": same,
                "score": None if reason else score,
                "accepted": None if reason else verdict,
                "right": not reason and verdict == same,
                "reason": reason,
            }
            file.write(json.dumps(row, allow_nan=False) + "\n")
