"""`faceclr cluster`: groups faces of unknown people by person."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.quality_columns import find_low_quality
from faceclr_cli.core.embeddings.store import store_required_error
from faceclr_cli.core.encoders.decision_rule import choose_rule
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult, Group, GroupedFace
from faceclr_cli.core.evaluation.clustering.face_collection import FaceCollection, collect_faces
from faceclr_cli.core.evaluation.clustering.group_folder import require_free, write_groups
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.grouping import linkage as grouping
from faceclr_cli.core.metrics.cluster_agreement import ClusterScores, cluster_scores
from faceclr_cli.core.text import display_path


def cluster(config: ClusterConfig, reporter: Reporter) -> ClusterResult:
    """Groups the faces of a store or a folder; writes a folder of links for each group if requested.

    Raises:
        ConfigError: No source was given, the encoder has no threshold and none was given, the output folder exists, or
            there are too many faces for the method.
        DataError: The faces or pictures cannot be read, or the output folder cannot be written.
        ModelError, FingerprintError: The encoder does not exist, or does not match the store or the faces.
    """
    if config.source is None:
        raise ConfigError(store_required_error("cluster"))
    if config.out is not None:
        require_free(config.out, config.faces, config.source)
    found = collect_faces(config, reporter)
    result = _group_faces(config, found, reporter)
    if config.out is None:
        return result
    missing = write_groups(config, found, result, reporter)
    return replace(result, out=config.out, missing=missing)


def _group_faces(config: ClusterConfig, found: FaceCollection, reporter: Reporter) -> ClusterResult:
    rows = found.rows
    probabilities, threshold, meaning = np.full(len(rows), np.nan), None, None
    groups = np.full(len(rows), grouping.NONE, np.int64)
    low = find_low_quality(rows, config.quality_limits, display_path(found.origin))
    # A zero embedding has no similarity to anything, so its face stays single.
    some = np.flatnonzero(rows.embeddings.any(axis=1) & ~low)
    embeddings, photographs = rows.embeddings[some], np.unique(rows.paths, return_inverse=True)[1][some]
    reporter.report(Notice(text=f"grouping {len(some):,} faces"))
    if config.method == "hdbscan":
        groups[some], probabilities[some] = grouping.dense_groups(embeddings, photographs, config.min_size)
    else:
        # Each face is compared with all others, so the FAR is limited to one expected false match per face.
        rule = choose_rule(found.encoder, replace(config, model=found.model), highest_far=1 / max(1, len(some)))
        threshold, meaning = rule.threshold, rule.meaning
        try:
            groups[some] = grouping.linkage_groups(embeddings, photographs, threshold)
        except grouping.TooManyFacesError as error:
            raise ConfigError(
                f"{display_path(found.origin)}: {error} by similarities above {threshold:.3f}, and average linkage is "
                f"limited to {grouping.MOST_AT_ONCE:,}; use --method hdbscan or a higher --threshold"
            ) from error
    numbers = grouping.number_groups(groups, config.min_size)
    distances = grouping.distances_to_groups(rows.embeddings, numbers)
    scored, scores = _scores(rows, numbers)
    faces = _faces(rows, numbers, distances, probabilities)
    return ClusterResult(
        source=found.origin,
        encoder=found.encoder.name,
        method=config.method,
        threshold=threshold,
        meaning=meaning,
        faces=faces,
        groups=_groups(faces),
        scored=scored,
        scores=scores,
        no_face=len(found.faceless),
        low_quality=int(low.sum()),
    )


def _faces(
    rows: Rows, numbers: NDArray[np.int64], distances: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> tuple[GroupedFace, ...]:
    seen, faces = Counter[str](), []
    for row, path in enumerate(rows.paths):
        seen[path] += 1
        box = rows.boxes[row].tolist()
        single = numbers[row] == grouping.NONE
        faces.append(
            GroupedFace(
                path=path,
                face=seen[path],
                box=None if np.isnan(box).any() else tuple(box),
                group=None if single else int(numbers[row]) + 1,
                distance=None if single else float(distances[row]),
                probability=None if single or np.isnan(probabilities[row]) else float(probabilities[row]),
            )
        )
    return tuple(faces)


def _groups(faces: Sequence[GroupedFace]) -> tuple[Group, ...]:
    members, several = defaultdict[int, list[GroupedFace]](list), Counter(face.path for face in faces)
    for face in faces:
        if face.group is not None:
            members[face.group].append(face)
    found = []
    for number, those in sorted(members.items()):
        central = min(those, key=lambda face: face.distance or 0.0)
        which = central.face if several[central.path] > 1 else None
        found.append(Group(number=number, faces=len(those), central=central.path, face=which))
    return tuple(found)


def _scores(rows: Rows, numbers: NDArray[np.int64]) -> tuple[int, ClusterScores | None]:
    """Scores the groups on labeled faces.

    Photographs with several faces are excluded, since it is unknown which face shows the labeled person.
    """
    alone = Counter(rows.paths)
    scored = [
        row
        for row, (path, name) in enumerate(zip(rows.paths, rows.identities, strict=True))
        if name is not None and alone[path] == 1
    ]
    if not scored:
        return 0, None
    return len(scored), cluster_scores([str(rows.identities[row]) for row in scored], numbers[scored])
