"""Photographs in any layout become a folder of aligned faces that says how it was made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import exclusive, stamp, write_json
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.prepare import STANDARD_INPUT, PrepareConfig
from faceclr_cli.core.errors import ConfigError, DataError, StoppedError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.align import DEFAULT_MARGIN, Alignment
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops, fingerprint_of
from faceclr_cli.core.faces.detect import Selection
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.reasons import WANTED
from faceclr_cli.core.preparing.crop_paths import default_faces_folder, plan_crops
from faceclr_cli.core.preparing.engine import Effort, Standing, check_sources, first_round, make_faces
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger, Row, RowState
from faceclr_cli.core.preparing.photo_worker import CropJob, Recipe
from faceclr_cli.core.preparing.picture_limits import PictureLimits
from faceclr_cli.core.preparing.relocation import SOURCE, agree, find_relocation
from faceclr_cli.core.preparing.template_check import require_arcface
from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.sources.layouts import Layout, Photos, find_photos
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import require_processes
from faceclr_cli.core.workers.pool import WORKER_BYTES, Crew, Processes

_PASSING = ("sheet", "plot", "dry_run", "retry", "workers", "cluster")
"""Options that have no part in what the faces are."""


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """What a folder of faces holds after `prepare`, and what this run did for it.

    Attributes:
        out: The folder.
        ledger: The SQLite file with one row for each photograph.
        layout: How people were told apart.
        photos: How many photographs the ledger has.
        faces: How many crops there are; one of each photograph that is `done`, or more with `--face all`.
        people: How many people have a face.
        states: Photographs by state; the three add up to `photos`.
        reasons: Photographs without a crop by reason, the most frequent first.
        processed: Photographs that this run worked on; the others were done before.
        removed: Photographs that are gone from the source since.
        seconds: What this run took for them.
    """

    out: Path
    ledger: Path
    layout: Layout
    photos: int
    faces: int
    people: int
    states: dict[str, int]
    reasons: dict[str, int]
    processed: int
    removed: int
    seconds: float

    @property
    def photos_per_second(self) -> float | None:
        """The speed of this run, or None if there was nothing to do."""
        return self.processed / self.seconds if self.processed and self.seconds else None

    @property
    def bad(self) -> int:
        """Photographs that gave no crop although none of the user's own filters left them out."""
        wanted = sum(self.reasons.get(reason.value, 0) for reason in WANTED)
        return self.photos - self.states[RowState.DONE] - wanted

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        content = asdict(self) | {"out": str(self.out), "ledger": str(self.ledger)}
        return content | {"photos_per_second": self.photos_per_second}


@dataclass(frozen=True, kw_only=True)
class PreparePlan:
    """What `prepare` would do: the outcome of a dry run.

    Attributes:
        out: The folder that it would write to.
        layout: How people would be told apart.
        photos: How many photographs the source holds.
        people: How many people it names.
        todo: How many photographs it would look at; more, where some of a person's turn out to be no good.
        finished: How many photographs have their crops already.
        removed: How many photographs are gone from the source, whose crops would be removed.
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
    """Detects, aligns and writes the faces of photographs.

    A second run does only what is new or changed since, and an interrupted one is continued. A file that
    cannot be decoded (`failed`) or shows no face (`skipped`) does not end the run: it is in the ledger
    with its reason, and both count against `max_bad`. A script that calls this with more than one worker
    needs the guard `if __name__ == "__main__":`.

    Args:
        config: What to do; `out=None` writes `SOURCE-faces` in the working directory.
        reporter: Told of every photograph.

    Returns:
        What the folder holds now, or of a dry run what would be done.

    Raises:
        ConfigError: The output folder holds something else, or faces that were made otherwise; or a detector
            or cluster is not here, or the crops are not what `assume` says.
        DataError: There is no such source, it holds no pictures, or none of them gave a face.
        TooManyBadFilesError: Everything was written, but more files are bad than `max_bad` allows.
        LockedError: Another run is writing the same folder.
        ModelError: The detector's weights are missing.
    """
    out = config.out or default_faces_folder(config.source)
    require_processes("--workers", config.workers or 1, WORKER_BYTES)
    found = find_photos(config.source, config.layout, null=config.null, depth=config.depth)
    for text in found.notices:
        reporter.report(Notice(text=text, level="warning"))
    if not found.is_complete:
        found = _without_faces(found, out, reporter)
    if config.face == "all" and any(photo.identity for photo in found.photos):
        text = "with --face all, every face in a photograph counts as the person of that photograph"
        reporter.report(Notice(text=text, level="warning"))
    _require_fit(config, found, out)
    recipe, work = _recipe(config, out.absolute() if config.cluster else out), plan_crops(found, f".{config.format}")
    if config.dry_run:
        return _dry_run(config, found, work, recipe)
    if config.assume is not None:
        require_arcface(work, display_path(config.source))
    is_new, is_single = not out.exists(), found.layout == "flat" and len(found.photos) == 1
    try:
        with exclusive(out):
            result = replace(_fill(config, found, work, recipe, reporter), out=out, ledger=out / LEDGER)
            if result.faces == 0 and is_new and is_single:
                # Of a single file the message says all.
                result.ledger.unlink()
                out.rmdir()
    except (KeyboardInterrupt, StoppedError):
        text = f"what is done is kept in {display_path(out)}; the same command goes on from there"
        reporter.report(Notice(text=text, level="warning"))
        raise
    except OSError as error:
        raise DataError(
            f"{display_path(error.filename or out)}: cannot be written ({error.strerror or error})"
        ) from error
    _judge(config, result, is_single=is_single)
    return result


def _require_fit(config: PrepareConfig, found: Photos, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{display_path(out)}: is a file, not a folder; choose another -o")
    if _is_inside(out, config.source):
        raise ConfigError(
            f"{display_path(out)}: lies inside the photographs, so its faces would become photographs; choose "
            "another -o"
        )
    for name, target in (("--sheet", config.sheet), ("--plot", config.plot)):
        if target is not None and is_picture(target.name) and _is_inside(target, config.source):
            raise ConfigError(
                f"{name} {display_path(target)}: lies inside the photographs and would become one; name another place"
            )
    if out.is_dir() and not (out / LEDGER).is_file():
        foreign = sorted(entry.name for entry in os.scandir(out) if not entry.name.startswith("."))
        if foreign:
            raise ConfigError(
                f"{display_path(out)}: holds {display_path(foreign[0])}, which prepare did not write; choose "
                "another -o, or remove it"
            )
    if (config.min_images or config.max_per_identity) and not any(photo.identity for photo in found.photos):
        raise ConfigError(
            f"{display_path(config.source)}: nobody's name is known here, so --min-images and --max-per-identity have "
            "nothing to count; name a --layout that tells people apart"
        )


def _is_inside(path: Path, source: Path) -> bool:
    return source.is_dir() and path.resolve().is_relative_to(source.resolve())


def _without_faces(found: Photos, out: Path, reporter: Reporter) -> Photos:
    """Takes from a list what an earlier run wrote, which `find .` lists with the rest."""
    folder = f"{out.absolute()}{os.sep}"
    # By name: where a link leads does not matter.
    within = (os.path.abspath(photo.path).startswith(folder) for photo in found.photos)
    photos = tuple(photo for photo, is_face in zip(found.photos, within, strict=True) if not is_face)
    if len(photos) == len(found.photos):
        return found
    text = (
        f"{len(found.photos) - len(photos)} of the paths lie in {display_path(out)}, which is for faces; "
        "they are left out"
    )
    reporter.report(Notice(text=text, level="warning"))
    if not photos:
        raise DataError(f"{display_path(out)}: all paths of the list lie in it")
    return replace(found, photos=photos)


def _recipe(config: PrepareConfig, out: Path) -> Recipe:
    if config.detector == "none":
        fingerprint = fingerprint_for_foreign_crops(config.assume, config.size)
    else:
        margin = DEFAULT_MARGIN if config.margin is None else config.margin
        alignment = Alignment(method=config.align, margin=margin, padding=config.pad, size=config.size)
        fingerprint = fingerprint_of(config.detector, alignment)
    return Recipe(
        out=out,
        fingerprint=fingerprint,
        selection=Selection(choice=config.face, min_size=config.min_size, min_score=config.min_score),
        suffix=f".{config.format}",
        quality=config.quality,
        min_sharpness=config.min_sharpness,
    )


def _terms(config: PrepareConfig, fingerprint: Fingerprint) -> dict[str, Any]:
    """What all faces of a folder have in common."""
    is_list = config.source == STANDARD_INPUT
    names = ("face", "min_size", "min_score", "min_sharpness", "format", "quality")
    return {
        # The paths of a list are as they were given, so they mean what they mean in the working directory.
        SOURCE: "standard input" if is_list else str(config.source.resolve()),
        **fingerprint.to_json(),
        **{name: getattr(config, name) for name in names},
    }


def _bounds(config: PrepareConfig) -> PictureLimits:
    return PictureLimits(least=config.min_images, most=config.max_per_identity)


def _crew(config: PrepareConfig, out: Path) -> Crew:
    if config.cluster is None:
        return Processes(config.workers)
    from faceclr_cli.core.workers.dask_cluster import DaskCluster

    # The ledger shows that workers see the folder that they write to, and not another of that name.
    source = () if config.source == STANDARD_INPUT else (config.source.absolute(),)
    return DaskCluster(config.cluster, (*source, out.absolute() / LEDGER))


def _look(config: PrepareConfig, found: Photos, work: Sequence[CropJob], out: Path, rows: Iterable[Row]) -> Standing:
    retry = None if config.retry is None else RowState(config.retry)
    return check_sources(work, out, rows, retry, is_complete=found.is_complete)


def _dry_run(config: PrepareConfig, found: Photos, work: Sequence[CropJob], recipe: Recipe) -> PreparePlan:
    path = recipe.out / LEDGER
    if path.is_file():
        terms = _terms(config, recipe.fingerprint)
        relocation = find_relocation(path, config.source, terms[SOURCE], work)
        touched = {} if relocation is None else {row.path: row for row in relocation.touched}
        with Ledger.open_to_read(path, agree(terms, relocation)) as ledger:
            rows = (touched.get(row.path, row) for row in ledger.rows())
            standing = _look(config, found, work, recipe.out, rows)
    else:
        standing = _look(config, found, work, recipe.out, ())
    return PreparePlan(
        out=recipe.out,
        layout=found.layout,
        photos=len(work),
        people=len({item.identity for item in work} - {None}),
        todo=len(first_round(work, _bounds(config), standing)),
        finished=sum(standing.is_finished(row) for row in standing.rows.values()),
        removed=standing.gone,
    )


def _fill(
    config: PrepareConfig, found: Photos, work: Sequence[CropJob], recipe: Recipe, reporter: Reporter
) -> PrepareResult:
    terms = _terms(config, recipe.fingerprint)
    relocation = find_relocation(recipe.out / LEDGER, config.source, terms[SOURCE], work)
    with Ledger.open(recipe.out / LEDGER, agree(terms, relocation)) as ledger:
        if relocation is not None:
            text = f"the photographs are those of {display_path(relocation.former)}; their faces are kept"
            reporter.report(Notice(text=text))
            for row in relocation.touched:
                ledger.add(row)
            ledger.commit()
            ledger.change_term(SOURCE, terms[SOURCE])
        standing = _look(config, found, work, recipe.out, ledger.rows())
        effort = make_faces(work, recipe, _bounds(config), ledger, standing, reporter, _crew(config, recipe.out))
        ledger.commit()
        result = _summary(recipe.out, found, ledger, effort)
    if result.faces:
        _describe(config, recipe.fingerprint, result)
    else:
        (recipe.out / DESCRIPTION).unlink(missing_ok=True)
    return result


def _summary(out: Path, found: Photos, ledger: Ledger, effort: Effort) -> PrepareResult:
    counts = ledger.counts()
    return PrepareResult(
        out=out,
        ledger=ledger.path,
        layout=found.layout,
        photos=sum(counts.values()),
        faces=ledger.faces(),
        people=ledger.people(),
        states={state.value: counts.get(state, 0) for state in RowState},
        reasons={reason.value: count for reason, count in ledger.reasons().items()},
        processed=effort.processed,
        removed=effort.removed,
        seconds=round(effort.seconds, 3),
    )


def _describe(config: PrepareConfig, fingerprint: Fingerprint, result: PrepareResult) -> None:
    # Nothing here depends on when, where or in how many attempts the folder came about.
    lasting = {name: value for name, value in to_json(config).items() if name not in _PASSING}
    content = {
        **stamp("faces", lasting),
        "fingerprint": fingerprint.to_json(),
        "faces": result.faces,
        "people": result.people,
        "states": result.states,
        "reasons": result.reasons,
    }
    write_json(result.out / DESCRIPTION, content)


def _judge(config: PrepareConfig, result: PrepareResult, *, is_single: bool) -> None:
    if is_single and result.faces == 0:
        raise DataError(f"{display_path(config.source)}: {next(iter(result.reasons))}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.reasons.items())
    if result.faces == 0:
        raise DataError(
            f"{display_path(config.source)}: none of the {result.photos} files gave a face ({reasons}); see "
            f"{result.ledger}"
        )
    if result.bad > config.max_bad * result.photos:
        chosen = {reason.value for reason in WANTED}
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.reasons.items() if reason not in chosen)
        raise TooManyBadFilesError(
            f"{result.bad} of {result.photos} files gave no face ({reasons}), more than --max-bad {config.max_bad:g} "
            f"allows; the other {result.faces} are in {display_path(result.out)}, and "
            f"{display_path(result.ledger)} names each",
            result,
        )
