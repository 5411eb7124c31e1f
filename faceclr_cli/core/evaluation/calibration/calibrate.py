"""`faceclr calibrate`: thresholds for false accept rates, measured on labeled faces and saved with the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import exclusive, read_json, write_json
from faceclr_cli.core.configs.calibrate import USUAL_FARS, CalibrateConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.datasets.group_lists import GroupList, read_groups
from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.datasets.pairs.pair_files import Pair, locate_pairs, read_labeled_pairs
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint, write_calibration
from faceclr_cli.core.encoders.description import DESCRIPTION, read_description
from faceclr_cli.core.encoders.loader import BUILT_IN, load_encoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.calibration.labeled_faces import LabeledFaces, load_labeled_faces
from faceclr_cli.core.evaluation.differentials.group_measurement import (
    GroupRequest,
    measure_groups_of_faces,
    measure_groups_of_pairs,
)
from faceclr_cli.core.evaluation.differentials.group_plot import draw_group_reports, require_group_plot
from faceclr_cli.core.evaluation.differentials.group_report import GroupReport
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.all_pairs import count_scores
from faceclr_cli.core.metrics.far_thresholds import (
    FarThreshold,
    count_people_pairs,
    far_thresholds,
    listed_far_thresholds,
    pairs_needed,
)
from faceclr_cli.core.metrics.probability import Logistic, fit_logistic, fit_logistic_counts
from faceclr_cli.core.metrics.roc import cosine_scores
from faceclr_cli.core.sources.picture_names import PictureNames

_IN_A_RUN = "encoder"


@dataclass(frozen=True, kw_only=True)
class CalibrateResult:
    """The result of a calibration.

    Attributes:
        encoder: Name of the encoder.
        out: The file with the calibration: the encoder's description, or the requested output file.
        faces: Number of faces.
        people: Number of people; 0 if unknown.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        failures: Why no face was found, one line for each such picture.
        calibration: The thresholds.
        group_reports: The error rates of groups of people, one report for each attribute.
    """

    encoder: str
    out: Path
    faces: int
    people: int
    genuine: int
    impostor: int
    failures: tuple[str, ...]
    calibration: Calibration
    group_reports: tuple[GroupReport, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        plain = {"out": str(self.out), "failures": list(self.failures), "calibration": self.calibration.to_json()}
        return asdict(self) | plain | {"group_reports": [report.to_json() for report in self.group_reports]}


def calibrate(config: CalibrateConfig, reporter: Reporter) -> CalibrateResult:
    """Measures thresholds on all pairs of faces, or on listed pairs, and writes them.

    Raises:
        ConfigError: The thresholds cannot be saved with the encoder.
        DataError: The faces or the pairs cannot be read, do not match, or are too few for a rate.
        ModelError, FingerprintError: The encoder does not exist, or did not make the store.
        LockedError: The encoder's run is being trained.
    """
    out = config.out or _description_path(config.model)
    # Lock the run before the weights are read; otherwise training could replace them before the thresholds are saved.
    with nullcontext() if config.out is not None else exclusive(_run_of(out)):
        return _run(config, out, reporter)


def _run(config: CalibrateConfig, out: Path, reporter: Reporter) -> CalibrateResult:
    require_group_plot(config.groups_plot, config.root)
    groups = None if config.groups is None else read_groups(config.groups)
    encoder = load_encoder(config.model)
    faces = load_labeled_faces(config, encoder, reporter)
    try:
        measure = _measure_all_pairs if config.all_pairs else _measure_listed_pairs
        measured = measure(config, faces, reporter)
    except ValueError as error:
        raise DataError(f"{faces.origin}: {error}") from error
    reports = () if groups is None else _measure_groups(config, groups, faces, measured.calibration, reporter)
    if config.groups_plot is not None:
        draw_group_reports(config.groups_plot, {encoder.name: reports})
    if config.out is not None:
        write_calibration(config.out, measured.calibration, encoder, to_json(config))
    else:
        write_json(out, read_json(out) | {"calibration": measured.calibration.to_json()})
    return CalibrateResult(
        encoder=encoder.name,
        out=out,
        faces=len(faces.rows),
        people=len(faces.rows.people),
        genuine=measured.genuine,
        impostor=measured.impostor,
        failures=faces.failures,
        calibration=measured.calibration,
        group_reports=reports,
    )


def _measure_groups(
    config: CalibrateConfig, groups: GroupList, faces: LabeledFaces, measured: Calibration, reporter: Reporter
) -> tuple[GroupReport, ...]:
    """Measures groups at the threshold that `verify` uses by default."""
    point = measured.default_point_at_most(1.0)
    request = GroupRequest(groups=groups, far=point.far, rounds=config.rounds, seed=config.seed)
    if config.all_pairs:
        thresholds = {point.far: point.threshold}
        return measure_groups_of_faces(request, faces.rows, thresholds, faces.failed, faces.origin, reporter)
    pairs, scores = _score_listed_pairs(config, faces)
    there = set(faces.rows.paths)
    failed = {name for pair in pairs for name in (pair.a, pair.b) if name not in there}
    return measure_groups_of_pairs(request, pairs, scores, failed, faces.origin, reporter)


def _description_path(model: str) -> Path:
    """Returns the file in which an encoder stores its thresholds."""
    if model in BUILT_IN:
        raise ConfigError(
            f"--model {model}: built-in encoders cannot be changed; use -o FILE, and verify --calibration FILE"
        )
    if Path(model).is_file():
        raise ConfigError(
            f"--model {model}: not an encoder folder; calibrate the run that it came from, or use -o FILE"
        )
    return read_description(Path(model)).folder / DESCRIPTION


def _run_of(own: Path) -> Path:
    """Returns the folder to lock while the encoder changes: the run that contains it, or its own folder."""
    folder = own.resolve().parent
    return folder.parent if folder.name == _IN_A_RUN else folder


@dataclass(frozen=True, kw_only=True)
class MeasuredThresholds:
    """Thresholds with the number of pairs that they were measured on.

    Attributes:
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        calibration: The thresholds.
    """

    genuine: int
    impostor: int
    calibration: Calibration


def _measure_all_pairs(config: CalibrateConfig, faces: LabeledFaces, reporter: Reporter) -> MeasuredThresholds:
    rows = faces.rows
    labels = np.unique([str(name) for name in rows.identities], return_inverse=True)[1]
    return measure_thresholds(
        rows.embeddings, labels, faces.origin, config.far, reporter, rounds=config.rounds, seed=config.seed
    )


def measure_thresholds(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    origin: str,
    fars: Sequence[float],
    reporter: Reporter,
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> MeasuredThresholds:
    """Measures thresholds on all pairs of labeled faces.

    Args:
        embeddings: Shape: (N, D).
        labels: Number of the person of each row, from 0. Shape: (N,).
        origin: Name of the faces.
        fars: False accept rates; empty for the usual ones for which there are enough people.
        reporter: Receives notices about rates without enough people.
        rounds: Number of resamples for the intervals.
        seed: Seed of the resamples.

    Raises:
        ValueError: There are too few pairs for a rate.
    """
    centers, genuine, impostor = count_scores(embeddings, labels)
    pairs = int(genuine.sum()), int(impostor.sum())
    people = int(labels.max(initial=-1)) + 1
    rates = _rates(fars, pairs[1], people * (people - 1) // 2, reporter)
    points = far_thresholds(embeddings, labels, rates, rounds=rounds, seed=seed)
    source = f"all {pairs[0]:,} pairs of one and {pairs[1]:,} of two people among {len(embeddings):,} faces, {origin}"
    return _summarize(pairs, points, fit_logistic_counts(centers, genuine, impostor), source)


def _measure_listed_pairs(config: CalibrateConfig, faces: LabeledFaces, reporter: Reporter) -> MeasuredThresholds:
    given, every = _score_listed_pairs(config, faces)
    found = [pair for pair, score in zip(given, every.tolist(), strict=True) if not np.isnan(score)]
    if len(found) < len(given):
        text = f"{len(given) - len(found)} of {len(given)} pairs have a picture without a face and are skipped"
        reporter.report(Notice(text=text, level="warning"))
    same, scores = np.array([bool(pair.same) for pair in found], bool), every[~np.isnan(every)]
    people = people_in_pairs(found)
    if people is None:
        # If the people are unknown, each picture counts as a person, and the intervals are slightly too narrow.
        names = np.unique([name for pair in found for name in (pair.a, pair.b)], return_inverse=True)[1]
        first, second = names.reshape(-1, 2).T
    else:
        first, second = people[:2]
    pairs = int(same.sum()), int((~same).sum())
    rates = _rates(config.far, pairs[1], count_people_pairs(first, second), reporter)
    points = listed_far_thresholds(scores, same, first, second, rates, rounds=config.rounds, seed=config.seed)
    source = f"{pairs[0]:,} pairs of one and {pairs[1]:,} of two people, {faces.origin}"
    return _summarize(pairs, points, fit_logistic(scores, same), source)


def _score_listed_pairs(config: CalibrateConfig, faces: LabeledFaces) -> tuple[list[Pair], NDArray[np.float64]]:
    """Returns the pairs of `--pairs` with the actual names of their pictures, and their scores; NaN without a face."""
    if config.pairs is None:
        raise ConfigError("give --pairs FILE, the pairs to measure on")
    row_of = {name: row for row, name in enumerate(faces.rows.paths)}
    located, absent = locate_pairs(read_labeled_pairs(config.pairs), PictureNames(row_of))
    is_found = np.array([name is None for name in absent], bool)
    found = [pair for pair, name in zip(located, absent, strict=True) if name is None]
    left, right = [row_of[pair.a] for pair in found], [row_of[pair.b] for pair in found]
    scores = np.full(len(located), np.nan)
    scores[is_found] = cosine_scores(faces.rows.embeddings[left], faces.rows.embeddings[right])
    return located, scores


def _rates(fars: Sequence[float], impostors: int, people_pairs: int, reporter: Reporter) -> Sequence[float]:
    """Returns the requested rates, or the default rates that the number of people allows, at least the highest."""
    rates = sorted(set(fars), reverse=True)
    if not rates:
        rates = [far for far in USUAL_FARS if people_pairs >= pairs_needed(far)] or [max(USUAL_FARS)]
        if impostors < pairs_needed(rates[0]):
            return rates  # The measurement raises an error.
        for far in USUAL_FARS[len(rates) :]:
            text = f"FAR {far:g} needs {pairs_needed(far):,} pairs of people, there are {people_pairs:,}"
            reporter.report(Notice(text=f"{text}; not measured"))
    for far in rates:
        if impostors >= pairs_needed(far) > people_pairs:
            text = (
                f"FAR {far:g} needs {pairs_needed(far):,} pairs of people, there are {people_pairs:,}: with other "
                "people the rate may be several times as high, and no interval is given; add people, not pictures"
            )
            reporter.report(Notice(text=text, level="warning"))
    return rates


def _summarize(
    pairs: tuple[int, int], points: Sequence[FarThreshold], probability: Logistic, source: str
) -> MeasuredThresholds:
    kept = tuple(
        FarPoint(far=point.far, threshold=point.threshold, tar=point.tar, low=point.low, high=point.high)
        for point in points
    )
    return MeasuredThresholds(
        genuine=pairs[0],
        impostor=pairs[1],
        calibration=Calibration(points=kept, probability=probability, source=source),
    )
