"""The all-pairs protocol: verification metrics over every genuine and every impostor pair of a store."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.group_lists import read_groups
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.differentials.group_measurement import GroupRequest, measure_groups_of_faces
from faceclr_cli.core.evaluation.differentials.group_plot import draw_group_reports, require_group_plot
from faceclr_cli.core.evaluation.differentials.group_report import GroupReport
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.all_pairs import measure_all_pairs
from faceclr_cli.core.text import display_path

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, kw_only=True)
class OperatingRow:
    """One row of the table of operating points.

    Attributes:
        far: The requested false accept rate.
        reached: The false accept rate at the threshold; lower than `far` if scores are tied.
        tar: Share of genuine pairs accepted.
        threshold: Minimum cosine similarity of an accepted pair.
    """

    far: float
    reached: float
    tar: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class AllPairsResult:
    """The metrics of an encoder over all pairs.

    Attributes:
        store: The embedding store.
        encoder: Name of the encoder that made the embeddings.
        faces: Number of faces with a name.
        people: Number of people.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        auc: Area under the ROC.
        eer: Equal error rate.
        tar_at_far: One row for each rate of `FARS` for which there are enough impostor pairs.
        unmeasured: The other rates of `FARS`, which correspond to less than one accepted impostor pair.
        group_reports: The error rates of groups of people, one report for each attribute.
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
    group_reports: tuple[GroupReport, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        rows = [asdict(row) for row in self.tar_at_far]
        reports = [report.to_json() for report in self.group_reports]
        return asdict(self) | {"tar_at_far": rows, "unmeasured": list(self.unmeasured), "group_reports": reports}


def measure_store(config: VerifyConfig, path: Path, reporter: Reporter) -> AllPairsResult:
    """Measures the embeddings of a store on all pairs of faces with a name, and their groups if there are any.

    Args:
        config: The options.
        path: The store.
        reporter: Receives a warning if faces without a name are skipped.

    Raises:
        DataError: A file cannot be read or written, or the store has no genuine or no impostor pairs.
        ConfigError: The store lacks the data that the choice needs.
    """
    require_group_plot(config.groups_plot)
    groups = None if config.groups is None else read_groups(config.groups)
    store = choose_faces(read_store(path), config.face or "largest", str(path), reporter)
    named = np.array([name is not None for name in store.identities], bool)
    if not named.all():
        text = f"{display_path(path)}: {(~named).sum()} of {len(store)} faces have no name and are skipped"
        reporter.report(Notice(text=text, level="warning"))
    known = store.take(np.flatnonzero(named))
    labels = np.unique([str(name) for name in known.identities], return_inverse=True)[1]
    sizes = np.bincount(labels)
    impostors = (len(known) ** 2 - int((sizes.astype(np.int64) ** 2).sum())) // 2
    enough = tuple(far for far in FARS if far * impostors >= 1)
    wanted = (*enough, config.far) if config.far is not None and groups is not None else enough
    try:
        measured = measure_all_pairs(known.embeddings, labels, wanted)
    except ValueError as error:
        raise DataError(f"{display_path(path)}: {error}") from error
    result = AllPairsResult(
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
            for far, point in zip(enough, measured.points, strict=False)
        ),
        unmeasured=tuple(far for far in FARS if far not in enough),
    )
    if groups is None:
        return result
    thresholds = {far: point.threshold for far, point in zip(wanted, measured.points, strict=True)}
    request = GroupRequest(groups=groups, far=config.far, threshold=config.threshold)
    reports = measure_groups_of_faces(request, known, thresholds, None, display_path(path), reporter)
    if config.groups_plot is not None:
        draw_group_reports(config.groups_plot, {store.encoder: reports})
    return replace(result, group_reports=reports)
