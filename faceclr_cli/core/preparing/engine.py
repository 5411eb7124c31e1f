"""The engine of `prepare`: makes crops and ledger rows for new and changed photos."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.fingerprint import LANDMARKS, UNKNOWN
from faceclr_cli.core.faces.reasons import TRANSIENT_REASONS, Reason
from faceclr_cli.core.preparing.film_worker import make_crops
from faceclr_cli.core.preparing.ledger import Ledger, Row, RowState
from faceclr_cli.core.preparing.photo_worker import PART, WRITING, CropJob, Recipe, extra_crop_mark, stamp_of
from faceclr_cli.core.preparing.picture_limits import PictureLimits, select_needed
from faceclr_cli.core.sources.archive import Archive
from faceclr_cli.core.workers.pool import Crew, Processes, map_ordered

_PHOTOS_PER_PROCESS = 16
"""Minimum number of photos per worker process; for fewer, starting a process takes longer than it saves."""

_EXTRA_CROP = re.compile(r"-([0-9a-f]{8})-\d+\.(?:jpg|png)$")


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """The work of one run of the engine.

    Attributes:
        processed: Number of photos processed.
        removed: Number of photos that no longer exist in the source.
        seconds: Wall time.
    """

    processed: int
    removed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LedgerState:
    """The comparison of a ledger with the photos and crops that exist now.

    Attributes:
        rows: Rows of unchanged photos, by path.
        stale: Rows of photos that changed or no longer exist.
        gone: Number of photos that no longer exist.
        present: Crops in the folder.
        unfinished: Partial files left by a killed run of an earlier release.
    """

    rows: dict[str, Row]
    stale: list[Row]
    gone: int
    present: set[str]
    unfinished: list[Path]

    def is_finished(self, row: Row) -> bool:
        """Returns True if all crops of a photo exist."""
        return row.state is RowState.DONE and self.present.issuperset(row.crops)


def check_sources(
    work: Sequence[CropJob],
    out: Path,
    known: Iterable[Row],
    retry: RowState | None = None,
    *,
    given_digests: Mapping[str, str] | None = None,
    is_complete: bool = True,
) -> LedgerState:
    """Compares the photos with their rows in the ledger.

    Args:
        work: All photos, each path and each output once.
        out: The folder of crops; it need not exist.
        known: The rows of its ledger.
        retry: Process photos in this state again.
        given_digests: Digests of the landmarks from which the crops of the ledger were made, by path.
        is_complete: True if photos that are not in `work` no longer exist.
    """
    present, unfinished = _scan(out)
    digests = given_digests or {}
    asked = {item.path: item for item in work}
    rows, stale, gone = {}, [], 0
    for row in known:
        item = asked.get(row.path)
        if item is None:
            if is_complete:
                stale.append(row)
                gone += 1
        elif (
            row.state is not retry and digests.get(row.path) == _given_digest(item) and _is_current(item, row, present)
        ):
            rows[row.path] = row
        else:
            stale.append(row)
    return LedgerState(rows=rows, stale=stale, gone=gone, present=present, unfinished=unfinished)


def plan_first_round(work: Sequence[CropJob], limits: PictureLimits, state: LedgerState) -> list[CropJob]:
    """Returns the photos that a run processes first; it may need more if some of them yield no face."""
    good, bad, finished = _classify_paths(state.rows.values(), state)
    return select_needed(work, limits, good, bad, finished).todo


def make_faces(
    work: Sequence[CropJob],
    recipe: Recipe,
    limits: PictureLimits,
    ledger: Ledger,
    state: LedgerState,
    reporter: Reporter,
    crew: Crew | None = None,
) -> EngineRun:
    """Brings an output folder and its ledger up to date with a list of photos.

    Photos with an up-to-date row (same size and modification time, crops present) are skipped. Crops of photos that
    changed or no longer exist are removed first. Therefore, at any point at which the run may end, a crop either has
    a row or will be rewritten with the same bytes.

    Args:
        work: All photos, each path and each output once.
        recipe: How crops are made.
        limits: Limits on the number of photos per person.
        ledger: The open ledger of the output folder.
        state: The state of the ledger, from `check_sources`.
        reporter: Receives the progress.
        crew: The workers; None for one process per core.

    Raises:
        DataError: A crop cannot be written, for example because the disk is full.
        ModelError: The recipe needs a detector, template or weights that this version lacks.
        ConfigError: The detector is not installed, or the cluster does not respond.
    """
    if recipe.fingerprint.detector not in (UNKNOWN, LANDMARKS):
        PhotoCropper(recipe.fingerprint)  # report a missing model here, not in every worker
    if state.gone:
        text = f"{state.gone} photographs no longer exist in the source; their faces were removed"
        reporter.report(Notice(text=text))
    begun, processed = perf_counter(), 0
    digests = {item.path: _given_digest(item) for item in work if item.given is not None}
    if digests:
        ledger.prepare_for_given_faces()
    rows = dict(state.rows)
    try:
        _remove_stale(work, recipe.out, ledger, state)
        good, bad, finished = _classify_paths(rows.values(), state)
        while (plan := select_needed(work, limits, good, bad, finished)).todo:
            with _writing_folder(recipe.out), closing(_run_round(plan.todo, recipe, reporter, crew)) as made:
                for row in made:
                    ledger.add(row, digests.get(row.path))
                    rows[row.path] = row
                    processed += 1
                    if row.state is RowState.DONE:
                        good.add(row.path)
                        finished.add(row.path)
                    else:
                        bad.add(row.path)
        _record_left_out(work, plan.left_out, rows, recipe.out, ledger)
    except OSError as error:
        raise DataError(
            f"{recipe.out}: cannot write a face ({error.strerror or error}); "
            "fix this, then run the same command to continue"
        ) from error
    return EngineRun(processed=processed, removed=state.gone, seconds=perf_counter() - begun)


@contextmanager
def _writing_folder(out: Path) -> Iterator[None]:
    """Creates the folder for crops that are being written, and removes it with all leftovers of lost workers."""
    folder = out / WRITING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_round(
    todo: Sequence[CropJob], recipe: Recipe, reporter: Reporter, crew: Crew | None
) -> Generator[Row, None, None]:
    todo = sorted(todo, key=lambda item: (item.position, item.path))
    films = [item for item in todo if item.piece is not None]
    photos = [item for item in todo if item.piece is None]
    label = "aligning faces" if recipe.fingerprint.detector == LANDMARKS else "detecting faces"
    with closing(_map_jobs(photos, films, recipe, crew or Processes())) as rows:
        yield from track(rows, reporter, label, total=len(todo), unit="photos")


def _map_jobs(
    photos: Sequence[CropJob], films: Sequence[CropJob], recipe: Recipe, crew: Crew
) -> Generator[Row, None, None]:
    if photos:
        few = crew.at_most(-(-len(photos) // _PHOTOS_PER_PROCESS))
        with ExitStack() as open_archives:
            items = _read_members(photos, open_archives)
            with closing(map_ordered(partial(make_crops, recipe), items, few, _crash_row)) as rows:
                yield from rows
    if films:
        few = crew.at_most(len(films))
        # Each piece of a film takes minutes, so its result must not wait for others.
        with closing(map_ordered(partial(make_crops, recipe), films, few, _crash_row, chunk_size=1)) as rows:
            yield from rows


def _read_members(todo: Iterable[CropJob], open_archives: ExitStack) -> Iterator[CropJob]:
    """Reads archive members in the parent process, because a compressed archive is only fast to read in order."""
    archives: dict[Path, Archive] = {}
    for item in todo:
        if item.member is None or item.refused is not None:
            yield item
            continue
        if item.source not in archives:
            archives[item.source] = open_archives.enter_context(Archive(item.source))
        try:
            yield replace(item, data=archives[item.source].read(item.member))
        except DataError:
            yield replace(item, refused=Reason.UNREADABLE)


def _crash_row(work: CropJob) -> Row:
    return Row(path=work.path, identity=work.identity, part=work.part, state=RowState.FAILED, reason=Reason.CRASHED)


def _given_digest(item: CropJob) -> str | None:
    return None if item.given is None else item.given.digest


def _is_current(item: CropJob, row: Row, present: set[str]) -> bool:
    if (row.identity, row.part) != (item.identity, item.part) or row.reason in TRANSIENT_REASONS:
        return False
    if row.state is RowState.DONE and (row.output != item.output or not present.issuperset(row.crops)):
        return False
    return (row.size, row.mtime_ns) == stamp_of(item)


def _classify_paths(rows: Iterable[Row], state: LedgerState) -> tuple[set[str], set[str], set[str]]:
    """Returns the paths that yield a face, the paths that yield none, and the paths whose crops exist."""
    good, bad, finished = set(), set(), set()
    for row in rows:
        if row.state is RowState.DONE:
            good.add(row.path)
            if state.is_finished(row):
                finished.add(row.path)
        elif row.reason is Reason.FEW and row.sha256 is not None:
            good.add(row.path)
        elif row.reason not in (Reason.FEW, Reason.SURPLUS):
            bad.add(row.path)
    return good, bad, finished


def _remove_stale(work: Sequence[CropJob], out: Path, ledger: Ledger, state: LedgerState) -> None:
    """Removes stale crops and rows, and crops that a killed run wrote without recording them."""
    stale = {output for row in state.stale for output in row.crops}
    unrecorded = [item for item in work if item.path not in state.rows]
    stale.update(item.output for item in unrecorded)
    marks = {extra_crop_mark(item) for item in unrecorded}
    stale.update(name for name in state.present if (found := _EXTRA_CROP.search(name)) and found[1] in marks)
    kept = {output for row in state.rows.values() for output in row.crops}
    _unlink(out, (stale & state.present) - kept)
    for path in state.unfinished:
        path.unlink(missing_ok=True)
    ledger.remove(row.path for row in state.stale)


def _record_left_out(
    work: Iterable[CropJob], left_out: Mapping[str, Reason], rows: Mapping[str, Row], out: Path, ledger: Ledger
) -> None:
    for item in work:
        reason = left_out.get(item.path)
        if reason is None:
            continue
        row = rows.get(item.path)
        if row is not None and row.reason is reason:
            continue
        if row is not None:
            _unlink(out, row.crops)
        if row is None or reason is Reason.SURPLUS:
            # The photo need not be processed, and the row must not depend on whether an earlier run did so.
            size, mtime_ns = stamp_of(item) or (None, None)
            row = Row(
                path=item.path,
                identity=item.identity,
                part=item.part,
                state=RowState.SKIPPED,
                size=size,
                mtime_ns=mtime_ns,
            )
        ledger.add(
            replace(row, state=RowState.SKIPPED, reason=reason, output=None, more=None, tracks=()), _given_digest(item)
        )


def _scan(out: Path) -> tuple[set[str], list[Path]]:
    """Lists the crops in a folder, and the partial files of a killed run of an earlier release."""
    found: set[str] = set()
    unfinished: list[Path] = []
    for person in os.scandir(out) if out.is_dir() else ():
        if person.is_dir(follow_symlinks=False) and not person.name.startswith("."):
            for entry in os.scandir(person.path):
                if entry.name.startswith(".") and entry.name.endswith(PART):
                    unfinished.append(Path(entry.path))
                else:
                    found.add(f"{person.name}/{entry.name}")
    return found, unfinished


def _unlink(out: Path, outputs: Iterable[str]) -> None:
    for output in outputs:
        crop = out / output
        crop.unlink(missing_ok=True)
        if crop.parent.is_dir() and not any(crop.parent.iterdir()):
            crop.parent.rmdir()
