"""`faceclr clean`: finds wrong names, duplicates, junk and people of test sets, and applies what was proposed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import numpy as np

from faceclr_cli.core.configs.clean import CleanConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.datasets.input_discovery import find_prepared_folders, no_faces_error
from faceclr_cli.core.datasets.splitting.duplicates import Duplicate, find_repeated_pictures
from faceclr_cli.core.embeddings.benchmark_sets import find_benchmark_sets
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures
from faceclr_cli.core.embeddings.embedding_cache import CLEANING, embed_cached
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.store import is_store, read_store_of
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError, LockedError, NoFaceError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.sources.insightface_bin import SUFFIX as BIN_SUFFIX
from faceclr_cli.core.text import display_path
from faceclr_cli.core.upkeep.case_sheet import draw_cases, require_sheet
from faceclr_cli.core.upkeep.cleaned_folder import set_name
from faceclr_cli.core.upkeep.junk_faces import Junk, find_junk
from faceclr_cli.core.upkeep.label_review import LabelReview, review_labels
from faceclr_cli.core.upkeep.proposals import Finding, Proposal, odds_of, write_proposals
from faceclr_cli.core.upkeep.test_set_overlap import find_test_people

_CERTAIN = math.log(100)
_MOST_COPIES = 20
"""Copies of a file that are compared; the number of pairs grows quadratically."""


@dataclass(frozen=True, kw_only=True)
class CleanResult:
    """The proposals for a set of faces.

    Attributes:
        out: The file of the proposals.
        faces: Number of faces.
        people: Number of people.
        counts: Number of proposals by what was found.
        wrong_names: Estimated share of wrong names; None if names were not judged.
        proposals: The proposals.
        sheets: The drawn sheets.
    """

    out: Path
    faces: int
    people: int
    counts: dict[Finding, int]
    wrong_names: float | None
    proposals: tuple[Proposal, ...]
    sheets: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object, without the proposals."""
        return {
            "out": str(self.out),
            "faces": self.faces,
            "people": self.people,
            "counts": dict(self.counts),
            "wrong_names": None if self.wrong_names is None else round(self.wrong_names, 4),
            "sheets": list(map(str, self.sheets)),
        }


def clean(config: CleanConfig, reporter: Reporter) -> CleanResult:
    """Proposes what to change in a set of prepared faces, and writes a CSV file. The faces are not changed.

    The embeddings are kept in the user's cache by the content of the pictures, so that a second run is fast and an
    interrupted one continues.

    Raises:
        ConfigError: No faces were given, the output exists, or the sheet cannot be drawn.
        DataError: The faces or a test set cannot be read, or the output cannot be written.
        ModelError, FingerprintError: The encoder does not exist, or does not match the faces or a store.
    """
    if config.faces is None:
        raise no_faces_error("clean", find_prepared_folders(Path()))
    out = config.out or Path(f"{set_name(config.faces)}-clean.csv")
    if out.exists():
        raise ConfigError(f"{display_path(out)}: exists and may have been edited; choose another -o, or remove it")
    if config.sheet is not None:
        require_sheet(config.sheet)
    faces = open_face_set(config.faces)
    encoder = load_encoder(config.model)
    tests = [_embed_test_set(path, encoder, config, reporter) for path in config.against]
    rows = _embed_set(config.faces, encoder, config, reporter)
    named, review = _review(rows, config.min_odds, reporter)
    junk = find_junk(faces, reporter)
    repeated = find_repeated_pictures(faces.read_path, faces.paths, faces.identities, reporter)
    found = [*(review.proposals if review else ())]
    for path, test in zip(config.against, tests, strict=True):
        found += _overlap(path, test, review, config.min_odds)
    found += _junk(faces, junk, _certain_faces(rows, review))
    found += _repeated(faces, rows, repeated, found)
    found = _in_order(found)
    write_proposals(out, found)
    counts = Counter(each.what for each in found)
    result = CleanResult(
        out=out,
        faces=len(faces),
        people=len(faces.people),
        counts=dict(counts),
        wrong_names=None if review is None else review.odds.share,
        proposals=tuple(found),
    )
    if config.sheet is None or not found:
        return result
    return replace(result, sheets=draw_cases(config.sheet, faces, found, _examples(named, review), reporter))


def _examples(named: Rows, review: LabelReview | None) -> dict[str, list[str]]:
    """Returns the faces of each name that are in the core of its person."""
    found = defaultdict[str, list[str]](list)
    if review is not None:
        for row in np.flatnonzero(review.albums.is_core).tolist():
            if str(named.identities[row]) in review.names[int(review.albums.labels[row])]:
                found[str(named.identities[row])].append(named.paths[row])
    return found


def _embed_set(root: Path, encoder: Encoder, config: CleanConfig, reporter: Reporter) -> Rows:
    options = EmbedConfig(faces=root, model=config.model)
    return _embed(root, list_pictures(options, root, encoder.fingerprint, reporter), options, encoder, reporter)


def _embed_test_set(path: Path, encoder: Encoder, config: CleanConfig, reporter: Reporter) -> Rows:
    if is_store(path):
        return read_store_of(path, encoder, config.model)
    if path.suffix.lower() != BIN_SUFFIX or path.is_dir():
        return _embed_set(path, encoder, config, reporter)
    listing = find_benchmark_sets((path,), None)[0].listing
    if listing is None or listing.crops is None:
        raise DataError(f"{display_path(path)}: contains no crops")
    listing.crops.require_same_crops(encoder.fingerprint, display_path(path), f"the encoder {config.model}")
    return _embed(path, listing, EmbedConfig(faces=path, model=config.model), encoder, reporter)


def _embed(root: Path, listing: Listing, options: EmbedConfig, encoder: Encoder, reporter: Reporter) -> Rows:
    try:
        return embed_cached(CLEANING, root, listing, options, encoder, reporter)[0]
    except NoFaceError:
        raise
    except (OSError, LockedError, DataError) as error:
        text = f"{display_path(root)}: the embeddings are not kept in the cache: {error}"
        reporter.report(Notice(text=text, level="warning"))
        return embed_listing(listing, "largest", encoder, reporter).rows


def _review(rows: Rows, min_odds: float, reporter: Reporter) -> tuple[Rows, LabelReview | None]:
    """Judges the names. Returns the faces with a name, and the review; None if fewer than two people have one."""
    named = rows.take(np.flatnonzero([name is not None for name in rows.identities]))
    if len(named.people) < 2:
        text = "names are not judged, and people of test sets not searched for, since there are fewer than two people"
        reporter.report(Notice(text=text, level="warning"))
        return named, None
    reporter.report(Notice(text=f"judging the names of {len(named):,} faces"))
    return named, review_labels(
        named.embeddings, named.norms, named.paths, [str(name) for name in named.identities], min_odds
    )


def _certain_faces(rows: Rows, review: LabelReview | None) -> set[str]:
    """Returns the faces that match the others of their person so well that they certainly show a single face."""
    if review is None:
        return set()
    named = [path for path, name in zip(rows.paths, rows.identities, strict=True) if name is not None]
    return {named[row] for row in np.flatnonzero(review.odds.own >= _CERTAIN)}


def _overlap(path: Path, test: Rows, review: LabelReview | None, min_odds: float) -> Iterable[Proposal]:
    if review is None:
        return
    for found in find_test_people(review.albums, review.odds.match, test, math.log(min_odds)):
        # A person may have several names.
        for name in review.names[found.person]:
            yield Proposal(
                face=name,
                what="test-set",
                odds=odds_of(found.log_odds),
                other=f"{display_path(path)}/{found.picture}",
                action="remove",
            )


def _junk(faces: FaceFolder, junk: dict[int, Junk], certain: set[str]) -> Iterable[Proposal]:
    for place, what in junk.items():
        path = faces.paths[place]
        if what != "no-face" or path not in certain:
            yield Proposal(face=path, what=what, odds=None, other="", action="remove")


def _repeated(
    faces: FaceFolder, rows: Rows, pairs: Sequence[Duplicate], others: Sequence[Proposal]
) -> Iterable[Proposal]:
    """Proposes to remove all but the first crop of the same photograph, if all of them will have the same name."""
    hashes = dict(zip(rows.paths, rows.content_hashes, strict=True))
    copies = defaultdict[str, list[str]](list)
    for path in faces.paths:
        if path in hashes:
            copies[hashes[path]].append(path)
    exact = {pair for group in copies.values() for pair in combinations(group[:_MOST_COPIES], 2)}
    near = {(pair.earlier, pair.later) for pair in pairs if hashes.get(pair.earlier) != hashes.get(pair.later)}
    owner_of = dict(zip(faces.paths, faces.identities, strict=True))
    moved = {each.face: each.other for each in others if each.action == "move"}
    gone = {each.face for each in others if each.action == "remove"}
    pairs_found: list[tuple[tuple[str, str], Finding]] = [(pair, "duplicate") for pair in sorted(exact)]
    pairs_found += [(pair, "near-duplicate") for pair in sorted(near)]
    for (one, other), what in pairs_found:
        if gone & {one, other, str(owner_of[one]), str(owner_of[other])}:
            continue
        kept, dropped = (other, one) if one in moved and other not in moved else (one, other)
        same = _new_owner(kept, owner_of, moved) == _new_owner(dropped, owner_of, moved)
        if same:
            gone.add(dropped)
        yield Proposal(face=dropped, what=what, odds=None, other=kept, action="remove" if same else "keep")


def _new_owner(path: str, owner_of: dict[str, str | None], moved: dict[str, str]) -> str | None:
    name = moved.get(path, owner_of[path])
    seen = set[str]()
    while name is not None and name in moved and name not in seen:
        seen.add(name)
        name = moved[name]
    return name


_ORDER = {what: rank for rank, what in enumerate(get_args(Finding))}


def _in_order(found: Sequence[Proposal]) -> list[Proposal]:
    return sorted(found, key=lambda each: (_ORDER[each.what], -(each.odds or 0.0), each.face, each.other))
