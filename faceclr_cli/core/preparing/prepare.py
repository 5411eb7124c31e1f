"""The job `prepare`: photos in any layout become a folder of aligned faces with a description of its preprocessing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import exclusive, stamp, write_json
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.prepare import STANDARD_INPUT, PrepareConfig
from faceclr_cli.core.errors import ConfigError, DataError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.align import DEFAULT_MARGIN, Alignment
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops, fingerprint_for_landmarks, fingerprint_of
from faceclr_cli.core.faces.detect import Selection
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.heif_decoder import has_heif_decoder
from faceclr_cli.core.faces.reasons import FILTER_REASONS, Reason
from faceclr_cli.core.preparing.crop_paths import default_faces_folder, plan_crops
from faceclr_cli.core.preparing.engine import EngineRun, LedgerState, check_sources, make_faces, plan_first_round
from faceclr_cli.core.preparing.film_pieces import find_photos_and_films
from faceclr_cli.core.preparing.given_faces import attach_given_faces, report_outside
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger, Row, RowState
from faceclr_cli.core.preparing.photo_worker import CropJob, Recipe
from faceclr_cli.core.preparing.picture_limits import PictureLimits
from faceclr_cli.core.preparing.relocation import SOURCE, find_relocation, with_former_source
from faceclr_cli.core.preparing.template_check import read_sample_picture, require_arcface
from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.sources.layouts import Layout, Photos
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count
from faceclr_cli.core.workers.capacity import require_processes
from faceclr_cli.core.workers.pool import WORKER_BYTES, Crew, Processes

_RUN_OPTIONS = ("sheet", "plot", "dry_run", "retry", "workers", "cluster")
"""Options that do not affect the faces."""

_HEIC = (".heic", ".heif", ".hif")


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """The contents of a folder of faces after `prepare`, and the work of this run.

    Attributes:
        out: The folder.
        ledger: The SQLite file with one row per photo.
        layout: How people are identified.
        photos: Number of photos in the ledger.
        faces: Number of crops: one per photo that is `done`, or more with `--face all`.
        people: Number of people with at least one face.
        tracks: Number of tracks of people in films.
        states: Number of photos by state; the three states add up to `photos`.
        reasons: Number of photos without a crop by reason, most frequent first.
        processed: Number of photos processed by this run; the others were done before.
        removed: Number of photos that no longer exist in the source.
        seconds: Wall time of this run.
    """

    out: Path
    ledger: Path
    layout: Layout
    photos: int
    faces: int
    people: int
    tracks: int
    states: dict[str, int]
    reasons: dict[str, int]
    processed: int
    removed: int
    seconds: float

    @property
    def photos_per_second(self) -> float | None:
        """The speed of this run, or None if it processed no photos."""
        return self.processed / self.seconds if self.processed and self.seconds else None

    @property
    def bad(self) -> int:
        """Number of photos without a crop, not counting those rejected by the user's own filters."""
        wanted = sum(self.reasons.get(reason.value, 0) for reason in FILTER_REASONS)
        return self.photos - self.states[RowState.DONE] - wanted

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        content = asdict(self) | {"out": str(self.out), "ledger": str(self.ledger)}
        return content | {"photos_per_second": self.photos_per_second}


@dataclass(frozen=True, kw_only=True)
class PreparePlan:
    """The result of a dry run: what `prepare` would do.

    Attributes:
        out: The output folder.
        layout: How people would be identified.
        photos: Number of photos in the source.
        people: Number of people in the source.
        todo: Number of photos that would be processed first; more may follow if some of them yield no face.
        finished: Number of photos whose crops exist already.
        removed: Number of photos that no longer exist in the source; their crops would be removed.
    """

    out: Path
    layout: Layout
    photos: int
    people: int
    todo: int
    finished: int
    removed: int

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self) | {"out": str(self.out), "dry_run": True}


def prepare(config: PrepareConfig, reporter: Reporter) -> PrepareResult | PreparePlan:
    """Detects, aligns and writes the faces in photos.

    A second run processes only new and changed photos, and an interrupted run can be continued. A file that cannot be
    decoded (`failed`) or shows no face (`skipped`) does not end the run: the ledger records the reason, and the file
    counts against `max_bad`. A script that calls this function with more than one worker needs the guard
    `if __name__ == "__main__":`.

    Args:
        config: The options; with `out=None`, the output is `SOURCE-faces` in the working directory.
        reporter: Receives the progress.

    Returns:
        The contents of the folder, or for a dry run the plan.

    Raises:
        ConfigError: The output folder contains other files, or faces made with other settings; or a detector or the
            cluster is not available; or the crops are not what `assume` claims.
        DataError: The source does not exist, contains no pictures, or no picture yields a face; or the landmark file
            cannot be used.
        TooManyBadFilesError: Everything was written, but more files are bad than `max_bad` allows.
        LockedError: Another run is writing to the same folder.
        ModelError: The weights of the detector are missing.
    """
    out = config.out or default_faces_folder(config.source)
    require_processes("--workers", config.workers or 1, WORKER_BYTES)
    found = find_photos_and_films(config, reporter)
    if not found.is_complete:
        found = _remove_own_output(found, out, reporter)
    if config.face == "all" and any(photo.identity for photo in found.photos):
        text = "with --face all, every face in a photograph is assigned to the person of that photograph"
        reporter.report(Notice(text=text, level="warning"))
    _check_paths(config, found, out)
    recipe, work = _recipe(config, out.absolute() if config.cluster else out), plan_crops(found, f".{config.format}")
    if config.landmarks is not None:
        work = attach_given_faces(work, config.landmarks, config, reporter)
    if config.dry_run:
        return _dry_run(config, found, work, recipe)
    if config.assume is not None:
        origin = f"{display_path(config.source)}: --assume arcface"
        require_arcface(work, read_sample_picture, origin, "remove --detector none or --assume")
    is_new, is_single = not out.exists(), found.layout == "flat" and len(found.photos) == 1
    try:
        with exclusive(out):
            result = replace(_update_folder(config, found, work, recipe, reporter), out=out, ledger=out / LEDGER)
            if result.faces == 0 and is_new and is_single:
                # For a single file, the error message is enough.
                result.ledger.unlink()
                out.rmdir()
    except KeyboardInterrupt:
        text = f"finished faces are kept in {display_path(out)}; run the same command to continue"
        reporter.report(Notice(text=text, level="warning"))
        raise
    except OSError as error:
        raise DataError(
            f"{display_path(error.filename or out)}: cannot be written ({error.strerror or error})"
        ) from error
    _check_result(config, result, is_single=is_single)
    return result


def _check_paths(config: PrepareConfig, found: Photos, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{display_path(out)}: is a file, not a folder; choose another -o")
    if _is_inside(out, config.source):
        raise ConfigError(
            f"{display_path(out)}: is inside the source folder, so its faces would be read as photographs; choose "
            "another -o"
        )
    for name, target in (("--sheet", config.sheet), ("--plot", config.plot)):
        if target is not None and is_picture(target.name) and _is_inside(target, config.source):
            raise ConfigError(
                f"{name} {display_path(target)}: is inside the source folder and would be read as a photograph; choose "
                "another path"
            )
    if out.is_dir() and not (out / LEDGER).is_file():
        foreign = sorted(entry.name for entry in os.scandir(out) if not entry.name.startswith("."))
        if foreign:
            raise ConfigError(
                f"{display_path(out)}: contains {display_path(foreign[0])}, which prepare did not write; choose "
                "another -o, or remove it"
            )
    if (config.min_images or config.max_per_identity) and not any(photo.identity for photo in found.photos):
        raise ConfigError(
            f"{display_path(config.source)}: this source has no identities, which --min-images and --max-per-identity "
            "need; choose a --layout with identities"
        )


def _is_inside(path: Path, source: Path) -> bool:
    return source.is_dir() and path.resolve().is_relative_to(source.resolve())


def _remove_own_output(found: Photos, out: Path, reporter: Reporter) -> Photos:
    """Removes the faces of an earlier run from a list of paths; `find .` lists them with the photos."""
    folder = f"{out.absolute()}{os.sep}"
    # Compare names as given; the target of a link does not matter.
    within = (os.path.abspath(photo.path).startswith(folder) for photo in found.photos)
    photos = tuple(photo for photo, is_face in zip(found.photos, within, strict=True) if not is_face)
    if len(photos) == len(found.photos):
        return found
    text = f"skipped {len(found.photos) - len(photos)} of the paths: they are in the output folder {display_path(out)}"
    reporter.report(Notice(text=text, level="warning"))
    if not photos:
        raise DataError(f"{display_path(out)}: all listed paths are in the output folder")
    return replace(found, photos=photos)


def _recipe(config: PrepareConfig, out: Path) -> Recipe:
    if config.detector == "none":
        fingerprint = fingerprint_for_foreign_crops(config.assume, config.size)
    else:
        margin = DEFAULT_MARGIN if config.margin is None else config.margin
        alignment = Alignment(method=config.align, margin=margin, padding=config.pad, size=config.size)
        if config.landmarks is None:
            fingerprint = fingerprint_of(config.detector, alignment)
        else:
            fingerprint = fingerprint_for_landmarks(alignment)
    return Recipe(
        out=out,
        fingerprint=fingerprint,
        selection=Selection(choice=config.face, min_size=config.min_size, min_score=config.min_score),
        suffix=f".{config.format}",
        quality=config.quality,
        min_sharpness=config.min_sharpness,
        fps=config.fps,
        per_track=config.per_track,
    )


def _terms(config: PrepareConfig, fingerprint: Fingerprint) -> dict[str, Any]:
    """Returns the settings that all faces of a folder have in common."""
    is_list = config.source == STANDARD_INPUT
    names = ("face", "min_size", "min_score", "min_sharpness", "format", "quality", "fps", "per_track")
    return {
        # Listed paths are kept as given, so they refer to the working directory.
        SOURCE: "standard input" if is_list else str(config.source.resolve()),
        **fingerprint.to_json(),
        **{name: getattr(config, name) for name in names},
    }


def _limits(config: PrepareConfig) -> PictureLimits:
    return PictureLimits(least=config.min_images, most=config.max_per_identity)


def _crew(config: PrepareConfig, out: Path) -> Crew:
    if config.cluster is None:
        return Processes(config.workers)
    from faceclr_cli.core.workers.dask_cluster import DaskCluster

    # The ledger proves that workers see the output folder itself and not another folder of the same name.
    source = () if config.source == STANDARD_INPUT else (config.source.absolute(),)
    return DaskCluster(config.cluster, (*source, out.absolute() / LEDGER))


def _compare(
    config: PrepareConfig,
    found: Photos,
    work: Sequence[CropJob],
    out: Path,
    rows: Iterable[Row],
    digests: Mapping[str, str],
) -> LedgerState:
    retry = None if config.retry is None else RowState(config.retry)
    return check_sources(work, out, rows, retry, given_digests=digests, is_complete=found.is_complete)


def _dry_run(config: PrepareConfig, found: Photos, work: Sequence[CropJob], recipe: Recipe) -> PreparePlan:
    path = recipe.out / LEDGER
    if path.is_file():
        terms = _terms(config, recipe.fingerprint)
        relocation = find_relocation(path, config.source, terms[SOURCE], work)
        updated = {} if relocation is None else {row.path: row for row in relocation.updated}
        with Ledger.open_to_read(path, with_former_source(terms, relocation)) as ledger:
            rows = (updated.get(row.path, row) for row in ledger.rows())
            state = _compare(config, found, work, recipe.out, rows, ledger.given_digests())
    else:
        state = _compare(config, found, work, recipe.out, (), {})
    return PreparePlan(
        out=recipe.out,
        layout=found.layout,
        photos=len(work),
        people=len({item.identity for item in work} - {None}),
        todo=len(plan_first_round(work, _limits(config), state)),
        finished=sum(state.is_finished(row) for row in state.rows.values()),
        removed=state.gone,
    )


def _update_folder(
    config: PrepareConfig, found: Photos, work: Sequence[CropJob], recipe: Recipe, reporter: Reporter
) -> PrepareResult:
    terms = _terms(config, recipe.fingerprint)
    relocation = find_relocation(recipe.out / LEDGER, config.source, terms[SOURCE], work)
    with Ledger.open(recipe.out / LEDGER, with_former_source(terms, relocation)) as ledger:
        if relocation is not None:
            text = f"the photographs were moved from {display_path(relocation.former)}; their faces are kept"
            reporter.report(Notice(text=text))
            for row in relocation.updated:
                ledger.add(row)
            ledger.commit()
            ledger.change_term(SOURCE, terms[SOURCE])
        state = _compare(config, found, work, recipe.out, ledger.rows(), ledger.given_digests())
        run = make_faces(work, recipe, _limits(config), ledger, state, reporter, _crew(config, recipe.out))
        ledger.commit()
        _report_heic(ledger.rows(), reporter)
        if config.landmarks is not None:
            report_outside(work, ledger.rows(), config, reporter)
        result = _summarize(recipe.out, found, ledger, run)
    if result.faces:
        _describe(config, recipe.fingerprint, result)
    else:
        (recipe.out / DESCRIPTION).unlink(missing_ok=True)
    return result


def _report_heic(rows: Iterable[Row], reporter: Reporter) -> None:
    """Says what to install if there are HEIC pictures and no decoder."""
    if has_heif_decoder():
        return
    unread = sum(row.reason is Reason.UNSUPPORTED and row.path.lower().endswith(_HEIC) for row in rows)
    if unread:
        text = (
            f"{count(unread, 'HEIC picture')} cannot be read; run: pip install 'faceclr[heif]', then add --retry failed"
        )
        reporter.report(Notice(text=text, level="warning"))


def _summarize(out: Path, found: Photos, ledger: Ledger, run: EngineRun) -> PrepareResult:
    counts = ledger.counts()
    return PrepareResult(
        out=out,
        ledger=ledger.path,
        layout=found.layout,
        photos=sum(counts.values()),
        faces=ledger.faces(),
        people=ledger.people(),
        tracks=sum(1 for _ in ledger.tracks()),
        states={state.value: counts.get(state, 0) for state in RowState},
        reasons={reason.value: count for reason, count in ledger.reasons().items()},
        processed=run.processed,
        removed=run.removed,
        seconds=round(run.seconds, 3),
    )


def _describe(config: PrepareConfig, fingerprint: Fingerprint, result: PrepareResult) -> None:
    # Nothing here may depend on when, where or in how many attempts the folder was made.
    lasting = {name: value for name, value in to_json(config).items() if name not in _RUN_OPTIONS}
    content = {
        **stamp("faces", lasting),
        "fingerprint": fingerprint.to_json(),
        "faces": result.faces,
        "people": result.people,
        "states": result.states,
        "reasons": result.reasons,
    }
    write_json(result.out / DESCRIPTION, content)


def _check_result(config: PrepareConfig, result: PrepareResult, *, is_single: bool) -> None:
    if is_single and result.faces == 0:
        raise DataError(f"{display_path(config.source)}: {next(iter(result.reasons))}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.reasons.items())
    if result.faces == 0:
        raise DataError(
            f"{display_path(config.source)}: none of the {result.photos} files produced a face ({reasons}); see "
            f"{result.ledger}"
        )
    if result.bad > config.max_bad * result.photos:
        chosen = {reason.value for reason in FILTER_REASONS}
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.reasons.items() if reason not in chosen)
        raise TooManyBadFilesError(
            f"{result.bad} of {result.photos} files produced no face ({reasons}), more than --max-bad "
            f"{config.max_bad:g} allows; {result.faces} faces are in {display_path(result.out)}, and "
            f"{display_path(result.ledger)} lists every file",
            result,
        )
