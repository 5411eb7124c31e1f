"""The result of measuring an encoder on labeled pairs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from faceclr_cli.core.datasets.pairs.pair_audit import PairAudit
from faceclr_cli.core.evaluation.differentials.group_report import GroupReport


@dataclass(frozen=True, kw_only=True)
class TarAtFar:
    """One row of the table of operating points.

    Attributes:
        far: The requested false accept rate.
        tar: Share of genuine pairs accepted at the lowest threshold whose false accept rate over all impostor pairs is
            at most `far`, or None if it cannot be measured.
        threshold: That threshold, or None.
        reason: Why the TAR cannot be measured, or None.
        fold_mean: Mean TAR over folds, each with the threshold of the other folds, or None if the folds are too small.
        fold_deviation: Standard deviation over folds, or None.
    """

    far: float
    tar: float | None
    threshold: float | None
    reason: str | None
    fold_mean: float | None = None
    fold_deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class PairsAccuracy:
    """The accuracy on pairs, and how its threshold was chosen.

    Attributes:
        folds: Number of cross-validation folds, each judged with the best threshold of the other folds; 1 if other
            pairs chose the threshold.
        accuracy: Share of correct verdicts. A pair that could not be compared counts as wrong.
        standard_error: Standard error of the accuracy.
        standard_error_over: The unit of the standard error: `folds`, as LFW reports it; `people`, if folds share people
            or other pairs chose the threshold; `pairs`, if other pairs chose the threshold and the people are unknown.
        threshold: The threshold that other pairs chose, or None with folds.
        backwards: The accuracy on the other pairs with the best threshold of these pairs, or None with folds.
        precision: Share of genuine pairs among the accepted pairs; None if no pair was accepted.
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
    """The metrics of an encoder on labeled pairs.

    Pairs that could not be compared still count. Each is a wrong verdict in the accuracy, and missing genuine pairs
    count as rejected in precision, recall, TAR, AUC and EER. Missing impostor pairs are excluded from FAR, AUC and EER.

    Attributes:
        pairs: The pairs file, or the CFP folder.
        source: The folder of photographs, or the store; None for a score file.
        encoder: Name of the encoder; None for a score file.
        fingerprint: How the faces were prepared; None for a score file.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        missing: Pairs that could not be compared.
        failures: The first reasons why, without repetitions.
        judged: The accuracy.
        auc: Area under the ROC.
        eer: Equal error rate.
        tar_at_far: One row for each false accept rate.
        best_threshold: The threshold with the highest accuracy on all pairs.
        best_distance: The same threshold as a Euclidean distance of normalized embeddings; None for a score file.
        audit: Pairs that should not be in the list; None for a score file.
        people: Number of people, from the names of the folders; None if the folders are not people.
        shared: The people among them who are also in the encoder's training set; None if unknown.
        group_reports: The error rates of groups of people, one report for each attribute.
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
    group_reports: tuple[GroupReport, ...] = ()

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
            "group_reports": [report.to_json() for report in self.group_reports],
        }
        fields = asdict(self)
        del fields["judged"]
        return fields | plain
