"""Faces that a landmark file gives instead of a detector, for the photographs of a `prepare` job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.preparing.ledger import Row
from faceclr_cli.core.preparing.photo_worker import CropJob
from faceclr_cli.core.sources.landmark_file import ORDER, GivenFaces, LandmarkFile, read_landmarks
from faceclr_cli.core.text import display_path

_MOST_LINES = 3
"""Maximum number of lines or names in a notice."""


def attach_given_faces(work: Sequence[CropJob], path: Path, config: PrepareConfig, reporter: Reporter) -> list[CropJob]:
    """Returns the photos with the faces that a landmark file gives for them.

    Args:
        work: The photos.
        path: The landmark file.
        config: The options.
        reporter: Receives notices about lines that cannot be used.

    Raises:
        DataError: The file is missing or malformed, contains none of the photos, or lacks scores or boxes that an
            option needs.
    """
    origin = display_path(path)
    content = read_landmarks(path)
    if not content.has_scores and (config.face == "best" or config.min_score is not None):
        raise DataError(
            f"{origin}: not every line has a score, which --face best and --min-score require; "
            "add scores, or omit these options"
        )
    if not content.has_boxes and config.align != "arcface":
        raise DataError(
            f"{origin}: not every line has a box, which --align {config.align} requires; "
            "add boxes, or use --align arcface"
        )
    found = content.of_photos((item.path for item in work), config.source)
    if not found:
        first = display_path(next(iter(content.faces)))
        raise DataError(
            f"{origin}: none of the photographs in it, such as {first}, is in {display_path(config.source)}; paths "
            "must be relative to it"
        )
    _report_unused(content, found.values(), config.source, reporter)
    if content.swapped:
        text = f"{_lines(origin, content.swapped)}: the points are in the wrong order; it must be {ORDER}"
        reporter.report(Notice(text=text, level="warning"))
    least = config.min_score
    return [replace(item, given=_with_scores(found.get(item.path), least)) for item in work]


def report_outside(work: Iterable[CropJob], rows: Iterable[Row], config: PrepareConfig, reporter: Reporter) -> None:
    """Reports the lines of the landmark file whose points are outside their photos."""
    bad = {row.path for row in rows if row.reason is Reason.BAD_LANDMARKS}
    lines = [item.given.lines for item in work if item.path in bad and item.given is not None and item.given.is_sound]
    if lines and config.landmarks is not None:
        where = _lines(display_path(config.landmarks), sorted(line for group in lines for line in group))
        text = "the points are outside the photograph; they must be pixels of the upright photograph at full size"
        reporter.report(Notice(text=f"{where}: {text}", level="warning"))


def _report_unused(content: LandmarkFile, used: Iterable[GivenFaces], source: Path, reporter: Reporter) -> None:
    lines = {line for faces in used for line in faces.lines}
    unused = [name for name, faces in content.faces.items() if lines.isdisjoint(faces.lines)]
    if unused:
        names = ", ".join(map(display_path, unused[:_MOST_LINES]))
        more = f" and {len(unused) - _MOST_LINES:,} more" if len(unused) > _MOST_LINES else ""
        text = f"{display_path(content.path)}: not in {display_path(source)}: {names}{more}"
        reporter.report(Notice(text=text, level="warning"))


def _lines(origin: str, lines: Sequence[int]) -> str:
    numbers = ", ".join(map(str, lines[:_MOST_LINES]))
    more = f" and {len(lines) - _MOST_LINES:,} more" if len(lines) > _MOST_LINES else ""
    return f"{origin}:{numbers}{more}"


def _with_scores(given: GivenFaces | None, least: float | None) -> GivenFaces | None:
    """Returns the faces with at least this score."""
    if given is None or least is None:
        return given
    return replace(given, faces=tuple(face for face in given.faces if face.score >= least))
