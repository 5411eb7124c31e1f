"""`faceclr benchmark`: several encoders on several sets of verification pairs, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.datasets.group_lists import GroupList, read_groups
from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.embeddings.benchmark_sets import BenchmarkSet, find_benchmark_sets
from faceclr_cli.core.embeddings.crop_source import Listing
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.benchmark.benchmark_result import (
    BenchmarkCell,
    BenchmarkedSet,
    BenchmarkMean,
    BenchmarkResult,
    TrainingOverlap,
)
from faceclr_cli.core.evaluation.benchmark.contestants import Contestant, describe_contestant, load_contestants
from faceclr_cli.core.evaluation.benchmark.encoder_comparisons import EncoderComparison, compare_encoders
from faceclr_cli.core.evaluation.benchmark.group_cells import draw_group_cells, measure_set_groups, require_grouped_set
from faceclr_cli.core.evaluation.benchmark.recipe_groups import (
    find_recipes,
    measure_group,
)
from faceclr_cli.core.evaluation.benchmark.set_embeddings import SetEmbeddings, embed_pictures
from faceclr_cli.core.evaluation.benchmark.template_sets import TemplateSet, find_template_sets, measure_template_set
from faceclr_cli.core.evaluation.benchmark.training_overlap import (
    embed_training_faces,
    find_near_duplicates,
    find_seen_pairs,
    find_shared_people,
    select_pairs,
)
from faceclr_cli.core.evaluation.differentials.group_plot import require_group_plot
from faceclr_cli.core.evaluation.verification.all_pairs_protocol import FARS as TEMPLATE_FARS
from faceclr_cli.core.evaluation.verification.pair_evidence import Evidence, ScoredPairs, score_pairs
from faceclr_cli.core.evaluation.verification.pairs_protocol import measure_evidence
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.cross_validation import FoldAccuracy, k_fold_accuracy
from faceclr_cli.core.metrics.insightface_rule import grid_accuracy
from faceclr_cli.core.sources.containers import path_exists
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

FARS = (1e-2, 1e-3, 1e-4)
_NAMED_FAILURES = 5


def benchmark(config: BenchmarkConfig, reporter: Reporter) -> BenchmarkResult:
    """Evaluates encoders on sets of labeled pairs.

    Each picture is embedded once for each encoder; a cache keeps the embeddings for later runs.

    Raises:
        DataError: A set cannot be read, or no encoder could be measured on any set.
        ConfigError: A store was given without pairs, or a device is not available.
        ModelError: An encoder does not exist, is damaged, or computes embeddings that are not finite.
    """
    for folder in config.trained_on:
        if not path_exists(folder):
            raise DataError(f"--trained-on {display_path(folder)}: no such file or folder")
    require_group_plot(config.groups_plot)
    groups = None if config.groups is None else read_groups(config.groups)
    sets: Sequence[BenchmarkSet] = (
        find_benchmark_sets(config.sets, config.pairs)
        if config.template is None
        else find_template_sets(config.sets, config.pairs, config.template_list)
    )
    require_grouped_set(groups, sets)
    if config.rule == "insightface":
        _report_uniform_folds(sets, config.folds, reporter)
    contestants = load_contestants(config, has_pictures=any(found.listing is not None for found in sets))
    for each in contestants:
        for found in sets:
            if found.listing is not None:
                each.cells.append(_measure_set(found, found.listing, each, config, groups, reporter))
        each.training = None  # These embeddings may fill the memory.
    contestants += [_measure_store(found, config, groups, reporter) for found in sets if found.listing is None]
    result = _collect(sets, contestants, config)
    if all(cell.reason for cell in result.cells):
        raise DataError(f"no encoder could be measured on any set (first: {result.cells[0].reason})")
    _report_failures(result, reporter)
    draw_group_cells(config.groups_plot, result.cells)
    return result


def _collect(
    sets: Sequence[BenchmarkSet], contestants: Sequence[Contestant], config: BenchmarkConfig
) -> BenchmarkResult:
    fars = FARS if config.template is None else TEMPLATE_FARS
    cells = [cell for found in sets for each in contestants for cell in each.cells if cell.set == found.name]
    means = [
        BenchmarkMean.of(each.name, each.cells, fars)
        for each in contestants
        if len(sets) > 1 and len(each.cells) == len(sets)
    ]
    recipes = find_recipes(
        {each.name: each.pattern for each in contestants},
        {each.name: each.about for each in contestants},
        by_seed=config.seeds,
    )
    return BenchmarkResult(
        rule=config.rule,
        folds=config.folds,
        template=config.template,
        fars=fars,
        sets=tuple(_describe_set(found, contestants) for found in sets),
        encoders=tuple(describe_contestant(each) for each in contestants),
        cells=tuple(cells),
        means=tuple(means),
        comparisons=tuple(comparison for found in sets for comparison in _compare(found, contestants)),
        groups=tuple(measure_group(name, members, cells, means, fars) for name, members in recipes.items()),
    )


def _measure_store(
    found: BenchmarkSet, config: BenchmarkConfig, groups: GroupList | None, reporter: Reporter
) -> Contestant:
    place = display_path(found.place)
    store = choose_faces(read_store(found.place), config.face or "largest", str(found.place), reporter)
    contestant = Contestant(
        name=store.encoder,
        model=str(found.place),
        digest=store.encoder_digest,
        dim=store.dim,
        flip=store.flip,
        encoder=None,
    )
    if isinstance(found, TemplateSet):
        contestant.cells.append(_measure_templates(found, store, contestant, config, reporter))
        return contestant
    scored = score_pairs(store, found.name, found.pairs, place, lambda name: f"{display_path(name)}: not in {place}")
    given = Evidence(judged=scored, other=None, encoder=store.encoder, content_hashes=_hashes(store))
    cell, _ = _measure(found, store.encoder, given, config)
    contestant.cells.append(replace(cell, group_reports=measure_set_groups(scored, store.encoder, groups, reporter)))
    return contestant


def _measure_set(
    found: BenchmarkSet,
    listing: Listing,
    contestant: Contestant,
    config: BenchmarkConfig,
    groups: GroupList | None,
    reporter: Reporter,
) -> BenchmarkCell:
    """Embeds the pictures of a set and measures an encoder. The cell records an error of this combination alone."""
    encoder, name = contestant.encoder, contestant.name
    if encoder is None:
        raise ValueError(f"{name} has no encoder")
    try:
        embedded = embed_pictures(found.place, listing, config, encoder, contestant.model, reporter)
        contestant.embedded += embedded.embedded
        contestant.seconds += embedded.seconds if embedded.embedded else 0.0
        if isinstance(found, TemplateSet):
            cell = _measure_templates(found, embedded.rows, contestant, config, reporter)
            return replace(cell, not_enrolled=embedded.not_enrolled)
        given = Evidence(
            judged=_score(found, embedded),
            other=None,
            source=str(found.place),
            encoder=name,
            content_hashes=_hashes(embedded.rows),
        )
        cell, contestant.right_on[found.name] = _measure(found, name, given, config)
    except DataError as error:
        return BenchmarkCell(set=found.name, encoder=name, reason=str(error))
    overlap = _find_overlap(found, listing, contestant, embedded.rows, given, config, reporter)
    reports = measure_set_groups(given.judged, name, groups, reporter)
    return replace(cell, not_enrolled=embedded.not_enrolled, overlap=overlap, group_reports=reports)


def _measure_templates(
    found: TemplateSet, rows: Rows, contestant: Contestant, config: BenchmarkConfig, reporter: Reporter
) -> BenchmarkCell:
    cell, result = measure_template_set(found, rows, contestant.name, config.template or "mean", reporter)
    contestant.pairs_of[found.name] = result.genuine, result.impostor
    return cell


def _find_overlap(
    found: BenchmarkSet,
    listing: Listing,
    contestant: Contestant,
    rows: Rows,
    given: Evidence,
    config: BenchmarkConfig,
    reporter: Reporter,
) -> TrainingOverlap | None:
    """Finds the part of a set that the encoder has seen in training, and measures the encoder without that part."""
    encoder = contestant.encoder
    if encoder is None or not (encoder.trained_on or config.trained_on):
        return None
    if config.trained_on and contestant.training is None:
        contestant.training = embed_training_faces(config, encoder, contestant.model, reporter)
    training, copies = contestant.training, None
    names = set(encoder.trained_on or ())
    if training is not None:
        names |= training.people
        copies = find_near_duplicates(rows, listing, training, config, encoder)
    people = find_shared_people(found.pairs, names)
    seen = find_seen_pairs(found.pairs, people or (), copies or ())
    overlap = TrainingOverlap(
        people=people,
        pictures=None if copies is None else len(copies),
        examples=tuple((copies or {}).items())[:_NAMED_FAILURES],
        pairs=int(seen.sum()),
    )
    if not seen.any():
        return overlap
    try:
        cell, _ = _measure(found, contestant.name, replace(given, judged=select_pairs(given.judged, ~seen)), config)
    except DataError:
        return overlap  # Too few pairs remain.
    return replace(overlap, accuracy=cell.accuracy, spread=cell.spread, auc=cell.auc)


def _compare(found: BenchmarkSet, contestants: Sequence[Contestant]) -> Iterator[EncoderComparison]:
    right_of = {each.name: each.right_on[found.name] for each in contestants if found.name in each.right_on}
    return compare_encoders(found.name, found.pairs, right_of)


def _score(found: BenchmarkSet, embedded: SetEmbeddings) -> ScoredPairs:
    def absence(name: str) -> str:
        # The reasons are known only for the first failures.
        known = (reason for reason in embedded.failures if display_path(name) in reason)
        return found.absent.get(name) or next(known, f"{display_path(name)}: no face found")

    return score_pairs(embedded.rows, found.name, found.pairs, display_path(found.place), absence)


def _hashes(rows: Rows) -> dict[str, str]:
    return dict(zip(rows.paths, rows.content_hashes, strict=True))


def _measure(
    found: BenchmarkSet, encoder: str, given: Evidence, config: BenchmarkConfig
) -> tuple[BenchmarkCell, NDArray[np.bool_]]:
    """Returns the metrics, and the mask of pairs with a correct verdict."""
    scored = given.judged
    reasons = tuple(dict.fromkeys(reason for reason in scored.reasons if reason))
    try:
        result, _ = measure_evidence(given, config.folds, reasons[:_NAMED_FAILURES], FARS)
        by_folds = _accuracy(scored, config)
    except ValueError as error:
        raise DataError(f"{found.name}: {error}") from error
    own = config.rule == "faceclr"
    cell = BenchmarkCell(
        set=found.name,
        encoder=encoder,
        accuracy=by_folds.mean,
        spread=result.judged.standard_error if own else float(by_folds.accuracies.std()),
        spread_over=result.judged.standard_error_over if own else "deviation",
        fold_accuracies=tuple(by_folds.accuracies.tolist()),
        fold_thresholds=tuple(by_folds.thresholds.tolist()),
        auc=result.auc,
        eer=result.eer,
        tar_at_far=result.tar_at_far,
        missing=result.missing,
        failures=result.failures,
    )
    return cell, (by_folds.accepted == scored.same) & ~scored.missing


def _accuracy(scored: ScoredPairs, config: BenchmarkConfig) -> FoldAccuracy:
    scores = scored.scores.copy()
    scores[scored.missing] = 0.0
    rule = k_fold_accuracy if config.rule == "faceclr" else grid_accuracy
    return rule(scores, scored.same, config.folds, scored.missing)


def _describe_set(found: BenchmarkSet, contestants: Sequence[Contestant]) -> BenchmarkedSet:
    people = people_in_pairs(found.pairs)
    genuine = sum(bool(pair.same) for pair in found.pairs)
    impostor = len(found.pairs) - genuine
    if isinstance(found, TemplateSet):
        genuine, impostor = next(
            (each.pairs_of[found.name] for each in contestants if found.name in each.pairs_of), (0, 0)
        )
    return BenchmarkedSet(
        name=found.name,
        source=str(found.source),
        pictures=None if found.listing is None else len(found.listing.photos),
        genuine=genuine,
        impostor=impostor,
        people=None if people is None else len(people[2]),
    )


def _report_uniform_folds(sets: Sequence[BenchmarkSet], folds: int, reporter: Reporter) -> None:
    """Warns about sets whose folds in file order contain only one kind of pair, as in LFW's lists for development."""
    for found in sets:
        parts = np.array_split([bool(pair.same) for pair in found.pairs], folds)
        uniform = sum(len(np.unique(part)) == 1 for part in parts)
        if uniform:
            text = (
                f"{found.name}: {uniform} of {folds} folds in file order contain only genuine or only impostor pairs, "
                "so accuracy by insightface's rule is not informative; mix the lines, or use the default rule"
            )
            reporter.report(Notice(text=text, level="warning"))


def _report_failures(result: BenchmarkResult, reporter: Reporter) -> None:
    """Reports pairs that could not be compared, and people that an encoder was trained on."""
    sets = {each.name: each for each in result.sets}
    for cell in result.cells:
        where = f"{cell.encoder} on {cell.set}"
        if cell.reason:
            reporter.report(Notice(text=f"{where}: not measured: {cell.reason}", level="warning"))
        elif cell.missing:
            pairs = count(sets[cell.set].pairs, "pair")
            text = f"{cell.missing} of {pairs} could not be compared and count as wrong (first: {cell.failures[0]})"
            reporter.report(Notice(text=f"{where}: {text}", level="warning"))
        if cell.overlap is not None and cell.overlap.pairs:
            text = f"the encoder has seen people or pictures of {count(cell.overlap.pairs, 'pair')} in training"
            reporter.report(Notice(text=f"{where}: {text}", level="warning"))
