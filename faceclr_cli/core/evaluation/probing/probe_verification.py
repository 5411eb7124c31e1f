"""Verification metrics of a store on the test pictures of a probe, without a trained layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from faceclr_cli.core.evaluation.probing.labeled_split import LabeledRows
from faceclr_cli.core.metrics.all_pairs import measure_all_pairs

PROBE_FARS = (1e-2, 1e-3)
_MAX_PICTURES = 10_000
"""Maximum number of pictures whose pairs are compared; more are sampled, since the number of pairs is quadratic."""


@dataclass(frozen=True, kw_only=True)
class ProbeVerification:
    """Metrics over all pairs of test pictures.

    Attributes:
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        auc: Area under the ROC.
        eer: Equal error rate.
        tar_at_far: True accept rate at each false accept rate of `PROBE_FARS`; None if there are too few pairs.
    """

    genuine: int
    impostor: int
    auc: float
    eer: float
    tar_at_far: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        rates = zip(PROBE_FARS, self.tar_at_far, strict=True)
        return asdict(self) | {"tar_at_far": [{"far": far, "tar": tar} for far, tar in rates]}


def verify_rows(rows: LabeledRows, seed: int) -> ProbeVerification | None:
    """Measures embeddings on all pairs, or on those of a sample of pictures.

    Args:
        rows: The test pictures.
        seed: Seed of the sample.

    Returns:
        The metrics, or None if no person has two pictures.
    """
    embeddings, labels = rows.embeddings, rows.labels
    if len(labels) > _MAX_PICTURES:
        chosen = np.sort(np.random.default_rng(seed).choice(len(labels), _MAX_PICTURES, replace=False))
        embeddings, labels = embeddings[chosen], labels[chosen]
    sizes = np.bincount(labels).astype(np.int64)
    genuine = int((sizes * (sizes - 1)).sum()) // 2
    impostor = len(labels) * (len(labels) - 1) // 2 - genuine
    if not genuine or not impostor:
        return None
    known = [far for far in PROBE_FARS if far * impostor >= 1]
    found = measure_all_pairs(embeddings, labels, known)
    tars = {far: point.tar for far, point in zip(known, found.points, strict=True)}
    return ProbeVerification(
        genuine=genuine,
        impostor=impostor,
        auc=found.auc,
        eer=found.eer,
        tar_at_far=tuple(tars.get(far) for far in PROBE_FARS),
    )
