"""An encoder measured on every genuine and every impostor pair of a store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.metrics.all_pairs import measure_all_pairs
from faceclr_cli.core.text import display_path

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, kw_only=True)
class OperatingRow:
    """One row of the table of operating points.

    Attributes:
        far: The false accept rate asked for.
        reached: The one that the threshold has; ties can hold it below.
        tar: Share of genuine pairs accepted.
        threshold: Least cosine similarity that is accepted.
    """

    far: float
    reached: float
    tar: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class AllPairsResult:
    """What an encoder reached on all pairs.

    Attributes:
        store: The file of embeddings.
        encoder: Who made them.
        faces: Rows of people with a name.
        people: How many people.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        auc: Area under the ROC.
        eer: Equal error rate.
        tar_at_far: For each false accept rate of `FARS` that the impostor pairs are enough for.
        unmeasured: The other rates: they would accept less than one of the impostor pairs.
    """

    store: str
    encoder: str
    faces: int
    people: int
    genuine: int
    impostor: int
    auc: float
    eer: float
    tar_at_far: tuple[OperatingRow, ...]
    unmeasured: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        rows = [asdict(row) for row in self.tar_at_far]
        return asdict(self) | {"tar_at_far": rows, "unmeasured": list(self.unmeasured)}


def measure_store(path: Path, choice: Choice, reporter: Reporter) -> AllPairsResult:
    """Measures the embeddings of a store on every two faces whose people are known.

    Args:
        path: The store.
        choice: Which face of a photograph counts where the store has several.
        reporter: Told of faces that are left out.

    Raises:
        DataError: The file cannot be read, or has no genuine or no impostor pair.
        ConfigError: The store does not tell which face the choice means.
    """
    store = choose_faces(read_store(path), choice, str(path), reporter)
    named = np.array([name is not None for name in store.identities], bool)
    if not named.all():
        text = f"{display_path(path)}: {(~named).sum()} of {len(store)} faces have no name and are left out"
        reporter.report(Notice(text=text, level="warning"))
    known = store.take(np.flatnonzero(named))
    labels = np.unique([str(name) for name in known.identities], return_inverse=True)[1]
    sizes = np.bincount(labels)
    impostors = (len(known) ** 2 - int((sizes.astype(np.int64) ** 2).sum())) // 2
    enough = tuple(far for far in FARS if far * impostors >= 1)
    try:
        measured = measure_all_pairs(known.embeddings, labels, enough)
    except ValueError as error:
        raise DataError(f"{display_path(path)}: {error}") from error
    return AllPairsResult(
        store=str(path),
        encoder=store.encoder,
        faces=len(known),
        people=len(known.people),
        genuine=measured.genuine,
        impostor=measured.impostor,
        auc=measured.auc,
        eer=measured.eer,
        tar_at_far=tuple(
            OperatingRow(far=far, reached=point.far, tar=point.tar, threshold=point.threshold)
            for far, point in zip(enough, measured.points, strict=True)
        ),
        unmeasured=tuple(far for far in FARS if far not in enough),
    )
