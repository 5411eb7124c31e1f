"""`faceclr cluster`: groups faces of unknown people by person."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.quality_columns import find_low_quality
from faceclr_cli.core.embeddings.store import store_required_error
from faceclr_cli.core.encoders.decision_rule import Rule, choose_rule
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult, Group, GroupedFace
from faceclr_cli.core.evaluation.clustering.crop_photographs import describe_faces, read_track_links
from faceclr_cli.core.evaluation.clustering.face_collection import FaceCollection, collect_faces
from faceclr_cli.core.evaluation.clustering.group_assignment import (
    KnownGroups,
    Labels,
    assign_numbers,
    recall_groups,
)
from faceclr_cli.core.evaluation.clustering.group_folder import open_groups, require_free, write_groups
from faceclr_cli.core.evaluation.clustering.group_memory import GroupMemory, RememberedFace, RememberedGroup
from faceclr_cli.core.evaluation.clustering.known_names import KnownNames, read_known_names
from faceclr_cli.core.evaluation.clustering.link_plan import plan_links
from faceclr_cli.core.evaluation.clustering.review import write_review
from faceclr_cli.core.evaluation.clustering.review_questions import choose_questions
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.grouping import linkage as grouping
from faceclr_cli.core.grouping.center_linkage import join_centers
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.density_clustering import cluster_by_density
from faceclr_cli.core.grouping.looks import join_by_look
from faceclr_cli.core.grouping.match_linkage import join_matches
from faceclr_cli.core.grouping.neighbor_graph import is_large, is_search_approximate, is_search_long
from faceclr_cli.core.metrics.cluster_agreement import ClusterScores, cluster_scores
from faceclr_cli.core.sources.containers import path_exists
from faceclr_cli.core.text import display_path

_FALSE_MATCHES = 0.1
"""Number of false matches per face that the FAR allows to be expected."""
_CENTER_FAR = 2e-6
"""FAR of the threshold for the centers of groups. Two centers of different people are more similar than two faces."""


def cluster(config: ClusterConfig, reporter: Reporter) -> ClusterResult:
    """Groups the faces of a store or a folder; writes or updates a folder of links for each group if requested.

    Raises:
        ConfigError: No source was given, the encoder has no threshold and none was given, the output folder exists
            without groups.
        DataError: The faces or pictures cannot be read, or the output folder cannot be written.
        LockedError: Another run is updating the output folder.
        ModelError, FingerprintError: The encoder does not exist, or does not match the store or the faces.
    """
    if config.source is None:
        raise ConfigError(store_required_error("cluster"))
    if config.gallery is not None and not path_exists(config.gallery):
        raise DataError(f"--gallery {display_path(config.gallery)}: no such file or folder")
    if config.out is not None:
        require_free(config)
    with open_groups(config) as before:
        if before is not None and before.summary:
            text = f"{display_path(config.out or '')}: {', '.join(before.summary)} since the last run"
            reporter.report(Notice(text=text))
        found = collect_faces(config, reporter)
        faces = describe_faces(found.rows, found.prepared)
        memory = GroupMemory() if before is None else before.memory
        names = read_known_names(config, found, faces, memory, reporter)
        known = recall_groups(memory, faces, names, read_track_links(found.rows, found.prepared))
        grouped = _group_faces(config, found, faces, names, known, reporter)
        if config.out is None:
            return grouped.result
        plan = plan_links(faces, grouped.numbers, known.matches, grouped.memory, before, found.faceless)
        result = replace(
            grouped.result,
            new=int(np.count_nonzero(known.matches < 0)),
            corrections=() if before is None else before.summary,
        )
        questions = None
        if config.review and result.threshold is not None:
            questions = choose_questions(
                found.rows.embeddings,
                grouped.numbers,
                plan,
                known.constraints.apart,
                result.threshold,
                config.review,
            )
            result = replace(result, questions=len(questions))
        result = write_groups(config, found, result, plan, is_update=before is not None, reporter=reporter)
        write_review(config.out, questions)
        return result


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grouped:
    """Groups with their numbers: -1 for single faces."""

    result: ClusterResult
    numbers: Labels
    memory: GroupMemory


def _group_faces(
    config: ClusterConfig,
    found: FaceCollection,
    described: Sequence[RememberedFace],
    names: KnownNames,
    known: KnownGroups,
    reporter: Reporter,
) -> _Grouped:
    rows = found.rows
    gallery = np.empty((0, rows.dim), np.float32) if names.gallery is None else names.gallery.embeddings
    # A million embeddings take much memory, so they are copied only if necessary.
    embeddings = np.concatenate([rows.embeddings, gallery]) if len(gallery) else rows.embeddings
    photographs = np.unique([face.photo for face in described], return_inverse=True)[1]
    # The photographs of the gallery count as different ones, even if the same file is in both.
    photographs = np.concatenate([photographs, len(rows) + np.arange(len(gallery))])
    low = find_low_quality(rows, config.quality_limits, display_path(found.origin))
    # A zero embedding has no similarity to anything, so its face stays single.
    some = np.flatnonzero(embeddings.any(axis=1) & ~np.append(known.removed | low, np.zeros(len(gallery), bool)))
    used = embeddings[some] if len(some) < len(embeddings) else embeddings
    labels, probabilities = np.full(len(embeddings), grouping.NONE, np.int64), np.full(len(rows), np.nan)
    threshold, meaning, linked = None, None, None
    reporter.report(Notice(text=f"grouping {len(some):,} faces{_how(config, len(some))}"))
    constraints = known.constraints.take(some)
    if config.method == "hdbscan":
        labels[some], sure = cluster_by_density(used, photographs[some], config.min_size, constraints)
        probabilities[some[some < len(rows)]] = sure[some < len(rows)]
    else:
        # Each face is compared with all others.
        highest = _FALSE_MATCHES / max(1, len(some))
        rule = choose_rule(found.encoder, replace(config, model=found.model), highest_far=highest)
        threshold, meaning = rule.threshold, rule.meaning
        linked = grouping.link_faces(used, photographs[some], threshold, constraints)
        joined = _join_divided(used, photographs[some], linked.groups, rule, constraints)
        labels[some] = join_by_look(used, photographs[some], joined, threshold, constraints)
    numbers, memory = assign_numbers(known, labels, config.min_size)
    distances = grouping.distances_to_groups(rows.embeddings, numbers)
    scored, scores = _scores(rows, numbers)
    faces = _faces(rows, numbers, distances, probabilities, memory.groups)
    ignored = sum(number != grouping.NONE and memory.groups[number].ignored for number in numbers.tolist())
    result = ClusterResult(
        source=found.origin,
        encoder=found.encoder.name,
        method=config.method,
        threshold=threshold,
        meaning=meaning,
        search=None if linked is None else linked.search,
        recall=None if linked is None else linked.recall,
        faces=faces,
        groups=_groups(faces),
        scored=scored,
        scores=scores,
        no_face=len(found.faceless),
        low_quality=int(low.sum()),
        ignored=ignored + int(known.removed.sum()),
    )
    return _Grouped(result=result, numbers=numbers, memory=memory)


def _join_divided(
    embeddings: NDArray[np.float32], photographs: Labels, groups: Labels, rule: Rule, constraints: Constraints
) -> Labels:
    """Joins groups of one person, unless the user chose the threshold or too few rates are calibrated."""
    least = None if rule.calibration is None else rule.calibration.threshold_beyond(_CENTER_FAR)
    if rule.calibration is None or least is None:
        return groups
    groups = join_centers(embeddings, photographs, groups, max(least, rule.threshold), constraints)
    if is_large(len(embeddings)):
        return groups
    # With a higher FAR of the user's choice, two matches would often be by chance.
    strict = rule.calibration.default_point_at_most(_FALSE_MATCHES / max(1, len(embeddings))).threshold
    return join_matches(embeddings, photographs, groups, max(strict, rule.threshold), constraints)


def _how(config: ClusterConfig, faces: int) -> str:
    """Describes how the neighbors of many faces are searched."""
    if config.method == "agglomerative" and is_search_approximate(faces):
        return "; their neighbors are searched approximately, with FAISS"
    if config.method == "agglomerative" and is_search_long(faces):
        return "; all pairs are compared, which takes long; the extra faceclr[search] adds an approximate search"
    return ""


def _faces(
    rows: Rows,
    numbers: Labels,
    distances: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    groups: Mapping[int, RememberedGroup],
) -> tuple[GroupedFace, ...]:
    seen, faces = Counter[str](), []
    for row, path in enumerate(rows.paths):
        seen[path] += 1
        box = rows.boxes[row].tolist()
        group = groups.get(int(numbers[row]))
        single = group is None or group.ignored
        faces.append(
            GroupedFace(
                path=path,
                face=seen[path],
                box=None if np.isnan(box).any() else tuple(box),
                group=None if group is None or single else group.number,
                distance=None if single or np.isnan(distances[row]) else float(distances[row]),
                probability=None if single or np.isnan(probabilities[row]) else float(probabilities[row]),
                name=group.folder if group is not None and group.is_named and not single else None,
            )
        )
    return tuple(faces)


def _groups(faces: Sequence[GroupedFace]) -> tuple[Group, ...]:
    """Returns the groups, largest first."""
    members, several = defaultdict[int, list[GroupedFace]](list), Counter(face.path for face in faces)
    for face in faces:
        if face.group is not None:
            members[face.group].append(face)
    found = []
    for number, those in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        central = min(those, key=lambda face: face.distance or 0.0)
        which = central.face if several[central.path] > 1 else None
        name = central.name
        found.append(Group(number=number, name=name, faces=len(those), central=central.path, face=which))
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
