"""The engine of `prepare`: a list of photographs becomes crops and rows of the ledger, and only what is new is done."""

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
from faceclr_cli.core.faces.fingerprint import UNKNOWN
from faceclr_cli.core.faces.reasons import PASSING, Reason
from faceclr_cli.core.preparing.ledger import Ledger, Row, RowState
from faceclr_cli.core.preparing.photo_worker import PART, WRITING, CropJob, Recipe, further_mark, make_face, stamp_of
from faceclr_cli.core.preparing.picture_limits import PictureLimits, select_needed
from faceclr_cli.core.sources.archive import Archive
from faceclr_cli.core.workers.pool import Crew, Processes, map_ordered

_WORTH_A_PROCESS = 16
"""Photographs for which starting one more process pays."""

_FURTHER = re.compile(r"-([0-9a-f]{8})-\d+\.(?:jpg|png)$")


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What one run of the engine did."""

    processed: int
    removed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What of an earlier run still holds.

    Attributes:
        rows: Of photographs that are as they were, by path.
        stale: Rows of photographs that changed or are gone.
        gone: How many are gone.
        present: All crops in the folder.
        unfinished: What a killed run of an earlier release was writing.
    """

    rows: dict[str, Row]
    stale: list[Row]
    gone: int
    present: set[str]
    unfinished: list[Path]

    def is_finished(self, row: Row) -> bool:
        """Whether all crops of a photograph are in their places."""
        return row.state is RowState.DONE and self.present.issuperset(row.outputs)


def check_sources(
    work: Sequence[CropJob], out: Path, known: Iterable[Row], retry: RowState | None = None, *, is_complete: bool = True
) -> Standing:
    """Compares the photographs with what the ledger says of them.

    Args:
        work: All photographs, each path and each output once.
        out: The folder of crops, which need not exist.
        known: The rows of its ledger.
        retry: Photographs in this state are to be tried again.
        is_complete: Whether photographs that are not in the list are gone.
    """
    present, unfinished = _scan(out)
    asked = {item.path: item for item in work}
    rows, stale, gone = {}, [], 0
    for row in known:
        item = asked.get(row.path)
        if item is None:
            if is_complete:
                stale.append(row)
                gone += 1
        elif row.state is not retry and _is_current(item, row, present):
            rows[row.path] = row
        else:
            stale.append(row)
    return Standing(rows=rows, stale=stale, gone=gone, present=present, unfinished=unfinished)


def first_round(work: Sequence[CropJob], bounds: PictureLimits, standing: Standing) -> list[CropJob]:
    """The photographs that a run would look at first; all of them, unless somebody's turn out to be no good."""
    good, bad, finished = _verdicts(standing.rows.values(), standing)
    return select_needed(work, bounds, good, bad, finished).todo


def make_faces(
    work: Sequence[CropJob],
    recipe: Recipe,
    bounds: PictureLimits,
    ledger: Ledger,
    standing: Standing,
    reporter: Reporter,
    crew: Crew | None = None,
) -> Effort:
    """Brings an output folder and its ledger up to date with a list of photographs.

    What the ledger has as it is now (same size and date of change, crop in its place) is left alone.
    Crops of photographs that are gone or changed are removed first, so that whenever the run ends,
    a crop has a row or will be written again with the same bytes.

    Args:
        work: All photographs, each path and each output once.
        recipe: How crops are made.
        bounds: How many photographs each person is to have.
        ledger: The open ledger of the output folder.
        standing: What of it still holds.
        reporter: Told of every photograph.
        crew: Who does it; None for one process per core.

    Raises:
        DataError: A crop cannot be written, for instance because the disk is full.
        ModelError: The recipe asks for what is not here.
        ConfigError: The detector or the cluster is not here.
    """
    if recipe.fingerprint.detector != UNKNOWN:
        PhotoCropper(recipe.fingerprint)  # a missing model shows here, not in every worker
    if standing.gone:
        reporter.report(Notice(text=f"{standing.gone} photos are gone from the source; their faces were removed"))
    begun, processed = perf_counter(), 0
    rows = dict(standing.rows)
    try:
        _clear(work, recipe.out, ledger, standing)
        good, bad, finished = _verdicts(rows.values(), standing)
        while (plan := select_needed(work, bounds, good, bad, finished)).todo:
            with _place_to_write(recipe.out), closing(_round(plan.todo, recipe, reporter, crew)) as made:
                for row in made:
                    ledger.add(row)
                    rows[row.path] = row
                    processed += 1
                    if row.state is RowState.DONE:
                        good.add(row.path)
                        finished.add(row.path)
                    else:
                        bad.add(row.path)
        _leave_out(work, plan.left_out, rows, recipe.out, ledger)
    except OSError as error:
        raise DataError(
            f"{recipe.out}: a face cannot be written ({error.strerror or error}); "
            "the same command continues from here once that is mended"
        ) from error
    return Effort(processed=processed, removed=standing.gone, seconds=perf_counter() - begun)


@contextmanager
def _place_to_write(out: Path) -> Iterator[None]:
    """A folder for crops that are being written. What a worker leaves there that is lost goes with it."""
    folder = out / WRITING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _round(
    todo: Sequence[CropJob], recipe: Recipe, reporter: Reporter, crew: Crew | None
) -> Generator[Row, None, None]:
    todo = sorted(todo, key=lambda item: (item.position, item.path))
    crew = (crew or Processes()).at_most(-(-len(todo) // _WORTH_A_PROCESS))
    with ExitStack() as open_archives:
        items = _with_data(todo, open_archives)
        with closing(map_ordered(partial(make_face, recipe), items, crew, _crashed)) as rows:
            yield from track(rows, reporter, "detecting faces", total=len(todo), unit="photos")


def _with_data(todo: Iterable[CropJob], open_archives: ExitStack) -> Iterator[CropJob]:
    """Reads members of archives here, one after the other, since a compressed one can be read in its order alone."""
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


def _crashed(work: CropJob) -> Row:
    return Row(path=work.path, identity=work.identity, part=work.part, state=RowState.FAILED, reason=Reason.CRASHED)


def _is_current(item: CropJob, row: Row, present: set[str]) -> bool:
    if (row.identity, row.part) != (item.identity, item.part) or row.reason in PASSING:
        return False
    if row.state is RowState.DONE and (row.output != item.output or not present.issuperset(row.outputs)):
        return False
    return (row.size, row.mtime_ns) == stamp_of(item)


def _verdicts(rows: Iterable[Row], standing: Standing) -> tuple[set[str], set[str], set[str]]:
    """The paths that give a face, those that give none, and those whose crops are there."""
    good, bad, finished = set(), set(), set()
    for row in rows:
        if row.state is RowState.DONE:
            good.add(row.path)
            if standing.is_finished(row):
                finished.add(row.path)
        elif row.reason is Reason.FEW and row.sha256 is not None:
            good.add(row.path)
        elif row.reason not in (Reason.FEW, Reason.SURPLUS):
            bad.add(row.path)
    return good, bad, finished


def _clear(work: Sequence[CropJob], out: Path, ledger: Ledger, standing: Standing) -> None:
    """Removes what is out of date, and what a killed run wrote without noting it."""
    stale = {output for row in standing.stale for output in row.outputs}
    unnoted = [item for item in work if item.path not in standing.rows]
    stale.update(item.output for item in unnoted)
    marks = {further_mark(item) for item in unnoted}
    stale.update(name for name in standing.present if (found := _FURTHER.search(name)) and found[1] in marks)
    kept = {output for row in standing.rows.values() for output in row.outputs}
    _unlink(out, (stale & standing.present) - kept)
    for path in standing.unfinished:
        path.unlink(missing_ok=True)
    ledger.remove(row.path for row in standing.stale)


def _leave_out(
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
            _unlink(out, row.outputs)
        if row is None or reason is Reason.SURPLUS:
            # Nobody has to look at it, and whether somebody did must not show.
            size, mtime_ns = stamp_of(item) or (None, None)
            row = Row(
                path=item.path,
                identity=item.identity,
                part=item.part,
                state=RowState.SKIPPED,
                size=size,
                mtime_ns=mtime_ns,
            )
        ledger.add(replace(row, state=RowState.SKIPPED, reason=reason, output=None, more=None))


def _scan(out: Path) -> tuple[set[str], list[Path]]:
    """The crops in a folder, and what a killed run of an earlier release was writing beside them just then."""
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
