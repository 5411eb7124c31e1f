"""The result of measuring an encoder on labeled pairs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from faceclr_cli.core.datasets.pairs.pair_audit import PairAudit


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
