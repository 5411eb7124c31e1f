"""Verification protocols on labeled pairs: LFW, CFP and score files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.group_lists import read_groups
from faceclr_cli.core.datasets.pairs.pair_audit import audit_pairs, people_in_pairs
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.differentials.group_measurement import GroupRequest, measure_groups_of_pairs
from faceclr_cli.core.evaluation.differentials.group_plot import draw_group_reports, require_group_plot
from faceclr_cli.core.evaluation.verification.pair_evidence import Evidence, ScoredPairs, collect_evidence
from faceclr_cli.core.evaluation.verification.pairs_result import PairsAccuracy, PairsResult, TarAtFar
from faceclr_cli.core.evaluation.verification.roc_plot import draw_pairs
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.cross_validation import (
    fold_numbers,
    folds_share_people,
    k_fold_accuracy,
    standard_error_by_people,
    tar_over_folds,
    transfer_threshold,
)
from faceclr_cli.core.metrics.roc import auc, best_threshold, eer, tar_at_far
from faceclr_cli.core.plots.figure_style import require_drawable
from faceclr_cli.core.sources.output_folders import require_outside
from faceclr_cli.core.sources.person_names import name_key

FARS = (1e-1, 1e-2, 1e-3)
_BELOW_EVERY_SCORE = -2.0
_NAMED_FAILURES = 20
_REVERSED = 0.4
"""A lower AUC indicates reversed scores or labels: a weak encoder has an AUC of about 0.5."""


def measure_pairs(config: VerifyConfig, reporter: Reporter) -> PairsResult:
    """Measures an encoder on labeled pairs; writes the score of each pair and the plot if requested.

    Pairs name pictures by their path relative to the folder of photographs, or to the folder that was embedded.

    Raises:
        DataError: A file cannot be read or written, the pairs have no labels or are too few, or no pair can be
            compared.
        ConfigError, ModelError, FingerprintError: The encoder does not exist, or does not match the faces.
    """
    if config.plot is not None:
        # Invalid outputs are reported before the measurement, which may take hours.
        require_drawable(config.plot)
        require_outside("--plot", config.plot, config.root)
    require_group_plot(config.groups_plot, config.root)
    groups = None if config.groups is None else read_groups(config.groups)
    given = collect_evidence(config, reporter, groups)
    judged, missing = given.judged, given.judged.missing
    reasons = tuple(dict.fromkeys(reason for reason in judged.reasons if reason))
    if missing.any():
        text = f"{missing.sum()} of {len(missing)} pairs could not be compared and count as wrong (first: {reasons[0]})"
        reporter.report(Notice(text=text, level="warning"))
    try:
        result, accepted = measure_evidence(given, config.folds, reasons[:_NAMED_FAILURES])
    except ValueError as error:
        raise DataError(f"{judged.origin}: {error}") from error
    if groups is not None:
        request = GroupRequest(groups=groups, far=config.far, threshold=config.threshold)
        reports = measure_groups_of_pairs(
            request, judged.located, judged.scores, judged.failed, judged.origin, reporter
        )
        result = replace(result, group_reports=reports)
    if result.auc < _REVERSED:
        text = (
            f"AUC {result.auc:.4f} is far below 0.5: genuine pairs score lower than impostor pairs. If the scores are "
            "distances, use 1 - distance or the negative distance; otherwise check whether the labels are reversed"
        )
        reporter.report(Notice(text=text, level="warning"))
    if config.results is not None:
        _write_results(config.results, judged, accepted)
    if config.plot is not None:
        draw_pairs(config.plot, result, judged, given.quality)
    if config.groups_plot is not None:
        draw_group_reports(config.groups_plot, {result.encoder or result.pairs: result.group_reports})
    return result


def measure_evidence(
    given: Evidence, folds: int, reasons: tuple[str, ...], fars: Sequence[float] = FARS
) -> tuple[PairsResult, NDArray[np.bool_]]:
    """Measures an encoder on scored pairs.

    Args:
        given: The pairs.
        folds: Number of folds of the cross-validation, unless other pairs choose the threshold.
        reasons: Why pairs could not be compared, for the result.
        fars: False accept rates to measure.

    Returns:
        The result, and the mask of accepted pairs. Shape: (pairs,).

    Raises:
        ValueError: There are too few genuine or impostor pairs.
    """
    own, missing = given.judged, given.judged.missing
    scores, same = own.scores, own.same
    # A genuine pair without a score counts as rejected. An impostor pair without a score is dropped, since counting
    # it as rejected would lower the false accept rate.
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
        tar_at_far=tuple(
            _measure_far(own, values, genuine, far, folds if given.other is None else None) for far in fars
        ),
        best_threshold=best,
        best_distance=None if given.encoder is None else float(np.sqrt(max(0.0, 2 - 2 * best))),
        audit=audit_pairs(own.located, given.content_hashes) if own.pairs else None,
        people=None if names is None else len(names),
        shared=_people_in_training(names, given.trained_on),
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


def _measure_far(
    own: ScoredPairs, values: NDArray[np.float64], genuine: NDArray[np.bool_], far: float, folds: int | None
) -> TarAtFar:
    impostors, needed = int((~genuine).sum()), round(1 / far)
    if impostors < needed:
        reason = f"needs {needed:,} impostor pairs, there are {impostors:,}"
        return TarAtFar(far=far, tar=None, threshold=None, reason=reason)
    point = tar_at_far(values, genuine, far)
    try:
        over = None if folds is None else tar_over_folds(np.nan_to_num(own.scores), own.same, far, folds, own.missing)
    except ValueError:  # There are enough pairs for this rate in total, but not in each fold.
        over = None
    return TarAtFar(
        far=far,
        tar=point.tar,
        threshold=point.threshold,
        reason=None,
        fold_mean=None if over is None else over.mean,
        fold_deviation=None if over is None else over.standard_deviation,
    )


def _people_in_training(names: Sequence[str] | None, trained_on: Collection[str] | None) -> tuple[str, ...] | None:
    if names is None or not trained_on:
        return None
    known = {name_key(name) for name in trained_on}
    return tuple(name for name in names if name_key(name) in known)


def _write_results(path: Path, own: ScoredPairs, accepted: NDArray[np.bool_]) -> None:
    """Writes one JSON line for each pair, in order; without names if only scores are known."""
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
