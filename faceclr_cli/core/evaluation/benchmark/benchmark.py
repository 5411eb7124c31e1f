"""`faceclr benchmark`: several encoders on several sets of verification pairs, side by side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.embeddings.crop_source import Listing
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.benchmark.benchmark_result import (
    BenchmarkCell,
    BenchmarkedEncoder,
    BenchmarkedSet,
    BenchmarkMean,
    BenchmarkResult,
)
from faceclr_cli.core.evaluation.benchmark.benchmark_sets import BenchmarkSet, find_benchmark_sets
from faceclr_cli.core.evaluation.benchmark.set_embeddings import SetEmbeddings, embed_set
from faceclr_cli.core.evaluation.verification.pair_evidence import Evidence, ScoredPairs, score_pairs
from faceclr_cli.core.evaluation.verification.pairs_protocol import measure_evidence
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.insightface_rule import grid_accuracy
from faceclr_cli.core.metrics.roc import FoldAccuracy, k_fold_accuracy
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

FARS = (1e-2, 1e-3, 1e-4)
_NAMED_FAILURES = 5


@dataclass(kw_only=True, eq=False)
class _Contestant:
    """An encoder and what this run did with it. `encoder` is None if a store contains its embeddings."""

    name: str
    model: str
    digest: str
    dim: int
    encoder: Encoder | None
    embedded: int = 0
    seconds: float = 0.0
    cells: list[BenchmarkCell] = field(default_factory=list)


def benchmark(config: BenchmarkConfig, reporter: Reporter) -> BenchmarkResult:
    """Evaluates encoders on sets of labeled pairs.

    Each picture is embedded once for each encoder; a cache keeps the embeddings for later runs.

    Raises:
        DataError: A set cannot be read, or no encoder could be measured on any set.
        ConfigError: A store was given without pairs, or a device is not available.
        ModelError: An encoder does not exist, is damaged, or computes embeddings that are not finite.
    """
    sets = find_benchmark_sets(config.sets, config.pairs)
    contestants = _load_contestants(config, has_pictures=any(found.listing is not None for found in sets))
    for found in sets:
        if found.listing is None:
            contestants.append(_measure_store(found, config, reporter))
            continue
        for each in contestants:
            if each.encoder is not None:
                each.cells.append(_measure_set(found, found.listing, each, each.encoder, config, reporter))
    result = BenchmarkResult(
        rule=config.rule,
        folds=config.folds,
        fars=FARS,
        sets=tuple(_describe_set(found) for found in sets),
        encoders=tuple(_describe_encoder(each) for each in contestants),
        cells=tuple(cell for found in sets for each in contestants for cell in each.cells if cell.set == found.name),
        means=tuple(
            BenchmarkMean.of(each.name, each.cells, FARS)
            for each in contestants
            if len(sets) > 1 and len(each.cells) == len(sets)
        ),
    )
    if all(cell.reason for cell in result.cells):
        raise DataError(f"no encoder could be measured on any set (first: {result.cells[0].reason})")
    _report_failures(result, reporter)
    return result


def _load_contestants(config: BenchmarkConfig, *, has_pictures: bool) -> list[_Contestant]:
    if not has_pictures:
        if config.model:
            raise ConfigError("--model: cannot be combined with a store, which contains its encoder's embeddings")
        return []
    # All of them before the first picture, so that a mistyped name is not found after hours.
    encoders = [(model, load_encoder(model, config.device)) for model in config.models]
    names = Counter(encoder.name for _, encoder in encoders)
    return [
        _Contestant(
            name=encoder.name if names[encoder.name] == 1 else display_path(model),
            model=model,
            digest=encoder.digest,
            dim=encoder.dim,
            encoder=encoder,
        )
        for model, encoder in encoders
    ]


def _measure_store(found: BenchmarkSet, config: BenchmarkConfig, reporter: Reporter) -> _Contestant:
    """Measures the encoder of a store."""
    place = display_path(found.place)
    store = choose_faces(read_store(found.place), config.face or "largest", str(found.place), reporter)
    scored = score_pairs(store, found.name, found.pairs, place, lambda name: f"{display_path(name)}: not in {place}")
    given = Evidence(judged=scored, other=None, encoder=store.encoder, content_hashes=_hashes(store))
    return _Contestant(
        name=store.encoder,
        model=str(found.place),
        digest=store.encoder_digest,
        dim=store.dim,
        encoder=None,
        cells=[_measure(found, store.encoder, given, config)],
    )


def _measure_set(
    found: BenchmarkSet,
    listing: Listing,
    contestant: _Contestant,
    encoder: Encoder,
    config: BenchmarkConfig,
    reporter: Reporter,
) -> BenchmarkCell:
    """Embeds the pictures of a set and measures an encoder. An error that concerns only the two is part of the cell."""
    try:
        embedded = embed_set(found, listing, config, encoder, contestant.model, reporter)
        contestant.embedded += embedded.embedded
        contestant.seconds += embedded.seconds if embedded.embedded else 0.0
        given = Evidence(
            judged=_score(found, embedded),
            other=None,
            source=str(found.place),
            encoder=contestant.name,
            trained_on=encoder.trained_on,
            content_hashes=_hashes(embedded.rows),
        )
        cell = _measure(found, contestant.name, given, config)
    except DataError as error:
        return BenchmarkCell(set=found.name, encoder=contestant.name, reason=str(error))
    return replace(cell, not_enrolled=embedded.not_enrolled)


def _score(found: BenchmarkSet, embedded: SetEmbeddings) -> ScoredPairs:
    def absence(name: str) -> str:
        # The reasons of the first failures only are known.
        known = (reason for reason in embedded.failures if display_path(name) in reason)
        return found.absent.get(name) or next(known, f"{display_path(name)}: no face found")

    return score_pairs(embedded.rows, found.name, found.pairs, display_path(found.place), absence)


def _hashes(rows: Rows) -> dict[str, str]:
    return dict(zip(rows.paths, rows.content_hashes, strict=True))


def _measure(found: BenchmarkSet, encoder: str, given: Evidence, config: BenchmarkConfig) -> BenchmarkCell:
    scored = given.judged
    reasons = tuple(dict.fromkeys(reason for reason in scored.reasons if reason))
    try:
        result, _ = measure_evidence(given, config.folds, reasons[:_NAMED_FAILURES], FARS)
        by_folds = _accuracy(scored, config)
    except ValueError as error:
        raise DataError(f"{found.name}: {error}") from error
    own = config.rule == "faceclr"
    return BenchmarkCell(
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
        shared=result.shared,
    )


def _accuracy(scored: ScoredPairs, config: BenchmarkConfig) -> FoldAccuracy:
    scores = scored.scores.copy()
    scores[scored.missing] = 0.0
    rule = k_fold_accuracy if config.rule == "faceclr" else grid_accuracy
    return rule(scores, scored.same, config.folds, scored.missing)


def _describe_set(found: BenchmarkSet) -> BenchmarkedSet:
    people = people_in_pairs(found.pairs)
    genuine = sum(bool(pair.same) for pair in found.pairs)
    return BenchmarkedSet(
        name=found.name,
        source=str(found.source),
        pictures=None if found.listing is None else len(found.listing.photos),
        genuine=genuine,
        impostor=len(found.pairs) - genuine,
        people=None if people is None else len(people[2]),
    )


def _describe_encoder(each: _Contestant) -> BenchmarkedEncoder:
    return BenchmarkedEncoder(
        name=each.name,
        model=each.model,
        digest=each.digest,
        dim=each.dim,
        embedded=each.embedded,
        faces_per_second=round(each.embedded / each.seconds, 1) if each.embedded else None,
    )


def _report_failures(result: BenchmarkResult, reporter: Reporter) -> None:
    """Reports pairs that could not be compared, and people whom an encoder was trained on."""
    sets = {each.name: each for each in result.sets}
    for cell in result.cells:
        where = f"{cell.encoder} on {cell.set}"
        if cell.reason:
            reporter.report(Notice(text=f"{where}: not measured: {cell.reason}", level="warning"))
        elif cell.missing:
            pairs = count(sets[cell.set].pairs, "pair")
            text = f"{cell.missing} of {pairs} could not be compared and count as wrong (first: {cell.failures[0]})"
            reporter.report(Notice(text=f"{where}: {text}", level="warning"))
        if cell.shared:
            people = sets[cell.set].people
            text = f"the encoder was trained on {len(cell.shared)} of the {people} people, such as {cell.shared[0]}"
            reporter.report(Notice(text=f"{where}: {text}", level="warning"))
