"""Photographs in any layout become a folder of aligned faces that says how it was made."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import exclusive, stamp, write_json
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.datasets.folder import DESCRIPTION, NOBODY
from faceclr_cli.core.datasets.layouts import Layout, Photo, Photos, find_photos
from faceclr_cli.core.errors import ConfigError, DataError, TooManyBadFilesError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.ledger import LEDGER, Ledger, State
from faceclr_cli.core.faces.prepare import Effort, Recipe, Work, make_faces
from faceclr_cli.core.faces.reasons import shown
from faceclr_cli.core.faces.weights import YUNET

_LONGEST_STEM = 255 - len(".jpg")


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """What a folder of faces holds after `prepare`, and what this run did for it.

    Attributes:
        out: The folder.
        ledger: The SQLite file with one row for each photograph.
        layout: How people were told apart.
        photos: How many photographs the source holds.
        faces: How many of them gave a face.
        people: How many people have a face.
        states: Photographs by state; the three add up to `photos`.
        reasons: Photographs without a face by reason, the most frequent first.
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
        """Photographs without a face: unreadable ones and those that show none."""
        return self.photos - self.faces

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        content = asdict(self) | {"out": str(self.out), "ledger": str(self.ledger)}
        return content | {"photos_per_second": self.photos_per_second}


def run(config: PrepareConfig, reporter: Reporter) -> PrepareResult:
    """Detects, aligns and writes the largest face of every photograph.

    A second run does only what is new or changed since, and an interrupted one is continued. A file that
    cannot be decoded (`failed`) or shows no face (`skipped`) does not end the run: it is in the ledger
    with its reason, and both count against `max_bad`. A script that calls this with more than one worker
    needs the guard `if __name__ == "__main__":`.

    Args:
        config: What to do; `out=None` writes `SOURCE-faces` in the working directory.
        reporter: Told of every photograph.

    Raises:
        ConfigError: The output folder holds something else, or faces that were made otherwise.
        DataError: There is no such source, it holds no pictures, or none of them gave a face.
        TooManyBadFilesError: Everything was written, but more files are bad than `max_bad` allows.
        LockedError: Another run is writing the same folder.
        ModelError: The detector's weights are missing.
    """
    out = config.out or default_out(config.source)
    found = find_photos(config.source, config.layout)
    for text in found.notices:
        reporter.report(Notice(text=text, level="warning"))
    _require_fit(config.source, out)
    YUNET.path()  # if the weights are missing, before anything is made
    is_new, is_file = not out.exists(), not config.source.is_dir()
    try:
        with exclusive(out):
            result = _fill(config, found, out, reporter)
            if result.faces == 0 and is_new and is_file:
                # Of a single file the message says all.
                result.ledger.unlink()
                out.rmdir()
    except OSError as error:
        raise DataError(f"{shown(error.filename or out)}: cannot be written ({error.strerror or error})") from error
    _judge(config, result, is_file=is_file)
    return result


def default_out(source: Path) -> Path:
    """`celeba/` -> `celeba-faces`, `me.jpg` -> `me-faces`, in the working directory."""
    name = source.resolve().name if source.is_dir() else source.stem
    return Path(f"{name}-faces" if name else "faces")


def plan(photos: Sequence[Photo]) -> list[Work]:
    """Gives every photograph the place of its crop: `<identity>/<name>.jpg`.

    Where several would have the same place (`a.jpg` and `a.png`), the first keeps it and the others
    get a few digits that depend on their own names alone.
    """
    rivals: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for photo in photos:
        stem = os.path.splitext(photo.name.rsplit("/", 1)[-1])[0].lstrip(".")
        rivals[photo.identity or NOBODY, stem].append(photo)
    work = []
    for (folder, stem), group in rivals.items():
        for rank, photo in enumerate(sorted(group, key=lambda photo: photo.name)):
            output = f"{folder}/{_crop_name(stem, photo.name, is_first=rank == 0)}"
            work.append(Work(source=photo.path, path=photo.name, identity=photo.identity, output=output))
    return sorted(work, key=lambda item: item.path)


def _crop_name(stem: str, name: str, *, is_first: bool) -> str:
    if is_first and stem and len(os.fsencode(stem)) <= _LONGEST_STEM:
        return f"{stem}.jpg"
    digits = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    while len(os.fsencode(stem)) > _LONGEST_STEM - len(digits) - 1:
        stem = stem[:-1]
    return f"{stem}-{digits}.jpg"


def _require_fit(source: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{shown(out)}: is a file, not a folder; choose another -o")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"{shown(out)}: lies inside the photographs, so its faces would become photographs; choose another -o"
        )
    if out.is_dir() and not (out / LEDGER).is_file():
        foreign = sorted(entry.name for entry in os.scandir(out) if not entry.name.startswith("."))
        if foreign:
            raise ConfigError(
                f"{shown(out)}: holds {shown(foreign[0])}, which prepare did not write; choose another -o, or remove it"
            )


def _fill(config: PrepareConfig, found: Photos, out: Path, reporter: Reporter) -> PrepareResult:
    fingerprint = default_fingerprint(config.size)
    terms = {
        "source": str(config.source.resolve()),
        **fingerprint.to_json(),
        "min_score": config.min_score,
        "quality": config.quality,
    }
    recipe = Recipe(out=out, fingerprint=fingerprint, min_score=config.min_score, quality=config.quality)
    with Ledger.open(out / LEDGER, terms) as ledger:
        effort = make_faces(plan(found.photos), recipe, ledger, reporter, config.workers)
        ledger.commit()
        result = _summary(out, found, ledger, effort)
    if result.faces:
        _describe(config, fingerprint, result)
    else:
        (out / DESCRIPTION).unlink(missing_ok=True)
    return result


def _summary(out: Path, found: Photos, ledger: Ledger, effort: Effort) -> PrepareResult:
    counts = ledger.counts()
    return PrepareResult(
        out=out,
        ledger=ledger.path,
        layout=found.layout,
        photos=sum(counts.values()),
        faces=counts.get(State.DONE, 0),
        people=ledger.people(),
        states={state.value: counts.get(state, 0) for state in State},
        reasons={reason.value: count for reason, count in ledger.reasons().items()},
        processed=effort.processed,
        removed=effort.removed,
        seconds=round(effort.seconds, 3),
    )


def _describe(config: PrepareConfig, fingerprint: Fingerprint, result: PrepareResult) -> None:
    # Nothing here depends on when or in how many attempts the folder came about.
    content = {
        **stamp("faces", to_json(config)),
        "fingerprint": fingerprint.to_json(),
        "faces": result.faces,
        "people": result.people,
        "states": result.states,
        "reasons": result.reasons,
    }
    write_json(result.out / DESCRIPTION, content)


def _judge(config: PrepareConfig, result: PrepareResult, *, is_file: bool) -> None:
    if is_file and result.faces == 0:
        raise DataError(f"{shown(config.source)}: {next(iter(result.reasons))}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.reasons.items())
    if result.faces == 0:
        raise DataError(
            f"{shown(config.source)}: none of the {result.photos} files gave a face ({reasons}); see {result.ledger}"
        )
    if result.bad > config.max_bad * result.photos:
        raise TooManyBadFilesError(
            f"{result.bad} of {result.photos} files gave no face ({reasons}), more than --max-bad {config.max_bad:g} "
            f"allows; the other {result.faces} are in {shown(result.out)}, and {shown(result.ledger)} names each",
            result,
        )
