"""Clustering metrics: agreement of groups of faces with people."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Precision, recall and their harmonic mean.

    Attributes:
        precision: Purity of the groups, 0 to 1.
        recall: Completeness of the people, 0 to 1.
    """

    precision: float
    recall: float

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall; 0 if both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def to_json(self) -> dict[str, float]:
        """The three numbers as a JSON object."""
        return asdict(self) | {"f": self.f}


@dataclass(frozen=True, kw_only=True)
class ClusterScores:
    """Clustering metrics.

    Attributes:
        bcubed: B-cubed precision and recall: means over faces.
        pairwise: Precision and recall of pairs of faces in the same group. Large groups dominate.
        nmi: Normalized mutual information of groups and people (arithmetic mean of the entropies), 0 to 1.
    """

    bcubed: Agreement
    pairwise: Agreement
    nmi: float

    def to_json(self) -> dict[str, object]:
        """The scores as a JSON object."""
        return {"bcubed": self.bcubed.to_json(), "pairwise": self.pairwise.to_json(), "nmi": self.nmi}


def cluster_scores(people: ArrayLike, groups: ArrayLike) -> ClusterScores:
    """Computes clustering metrics.

    B-cubed follows Amigó et al. (2009), "A comparison of extrinsic clustering evaluation metrics based on formal
    constraints". A face without a group counts as a group of its own.

    Args:
        people: The person of each face, as a name or number. Shape: (faces,).
        groups: The group of each face, or a negative number if it has none. Shape: (faces,).

    Raises:
        ValueError: The shapes differ, or there are no faces.

    Examples:
        >>> scores = cluster_scores(["ann", "ann", "bob", "bob"], [0, 0, 1, -1])
        >>> scores.bcubed
        Agreement(precision=1.0, recall=0.75)
        >>> round(scores.bcubed.f, 3)
        0.857
    """
    # Here, because the start of every training would take a second longer.
    from sklearn.metrics import normalized_mutual_info_score

    person, group = np.asarray(people), np.array(groups, np.int64)
    if person.ndim != 1 or person.shape != group.shape or not len(person):
        raise ValueError(f"people of shape {person.shape} and groups of shape {group.shape} do not match")
    alone = group < 0
    group[alone] = group.max(initial=-1) + 1 + np.arange(alone.sum())
    person, group = (np.unique(labels, return_inverse=True)[1] for labels in (person, group))
    # The sparse contingency table of people and groups, as a dense one would not fit into memory.
    cells, sizes = np.unique(person * (group.max() + 1) + group, return_counts=True)
    shared = sizes.astype(np.float64)
    in_person = np.bincount(person)[cells // (group.max() + 1)]
    in_group = np.bincount(group)[cells % (group.max() + 1)]
    return ClusterScores(
        bcubed=Agreement(
            precision=float((shared**2 / in_group).sum() / len(person)),
            recall=float((shared**2 / in_person).sum() / len(person)),
        ),
        pairwise=_pairwise(shared, np.bincount(person), np.bincount(group)),
        nmi=float(normalized_mutual_info_score(person, group)),
    )


def _pairwise(shared: NDArray[np.float64], people: NDArray[np.int64], groups: NDArray[np.int64]) -> Agreement:
    """Precision and recall over pairs; 1 if there are no pairs."""
    correct, genuine, joined = _count_pairs(shared), _count_pairs(people), _count_pairs(groups)
    return Agreement(precision=correct / joined if joined else 1.0, recall=correct / genuine if genuine else 1.0)


def _count_pairs(sizes: NDArray[np.float64] | NDArray[np.int64]) -> float:
    counts = sizes.astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())
