"""Output of `faceclr identify`: the row of each face, and the table of an open-set evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faceclr_cli.commands.console import Console, format_facts, format_percent, format_probability, table, wrap_sentence
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from pathlib import Path

    from faceclr_cli.core.evaluation.identification.film_identification import Appearance
    from faceclr_cli.core.evaluation.identification.folder_identification import FilmResult, FolderFilms
    from faceclr_cli.core.evaluation.identification.identify import IdentifyResult
    from faceclr_cli.core.evaluation.identification.match import Match
    from faceclr_cli.core.evaluation.identification.open_set_protocol import OpenSetResult

_FILM_COLUMNS = ("from", "to", "name", "probability")
_CSV_COLUMNS = ("photo", "face", "name", "probability", "similarity", "closest", "reason")
_FOLDER_COLUMNS = ("photo", "from", "to", *_CSV_COLUMNS[1:])
_TERMINAL_COLUMNS = ("photo", "face", "answer")


@dataclass(frozen=True)
class _FilmRow:
    """An appearance with its answer as text."""

    appearance: Appearance

    def to_json(self) -> dict[str, Any]:
        return self.appearance.to_json() | {"answer": _answer(self.appearance.name, self.appearance.match)}


@dataclass(frozen=True)
class _Row:
    """A face with its answer as text."""

    face: IdentifyResult

    def to_json(self) -> dict[str, Any]:
        return self.face.to_json() | {"answer": self._answer()}

    def _answer(self) -> str:
        if self.face.reason is not None:
            return self.face.reason
        if not self.face.matches:
            return f"not identified ({self.face.notes[0]})"
        return _answer(self.face.name, self.face.matches[0])


@dataclass(frozen=True)
class _FolderFilmRow:
    """An appearance in one of several films, with its answer as text."""

    film: FilmResult

    def to_json(self) -> dict[str, Any]:
        return self.film.to_json() | {"answer": _answer(self.film.appearance.name, self.film.appearance.match)}


def show_folder(config: IdentifyConfig, films: FolderFilms, console: Console) -> None:
    """Prints a row for each face in the photographs of a folder, and for each time that a person is seen in its films.

    Raises:
        DataError: More photographs and films than `max_bad` allows have no face.
    """
    from faceclr_cli.core.evaluation.identification.folder_identification import FilmResult, identify_folder

    photos, seen, known, failed = set[str](), 0, 0, 0
    with console.rows(_FOLDER_COLUMNS, on_terminal=("photo", "from", "to", "answer")) as (write, reporter):
        for found in identify_folder(config, films, reporter):
            if isinstance(found, FilmResult):
                write(_FolderFilmRow(found))
                seen, known = seen + 1, known + (found.appearance.name is not None)
                continue
            write(_Row(found))
            photos.add(found.photo)
            failed += found.reason is not None
            seen += found.reason is None
            known += found.name is not None
    files = len(photos | set(films.names))
    pictures = count(files - len(films.names), "photograph")
    console.note(f"{pictures}, {count(len(films.names), 'film')}: {known} known, {seen - known} unknown")
    if failed > config.max_bad * files:
        raise DataError(f"{failed} of {files} photographs and films failed, more than --max-bad {config.max_bad:g}")


def show_faces(config: IdentifyConfig, console: Console) -> int:
    """Prints a row for each face as soon as it is identified.

    Returns:
        The number of faces that belong to people of the gallery.

    Raises:
        DataError: More photographs than `max_bad` allows have no face.
    """
    from faceclr_cli.core.evaluation.identification.identify import identify

    photos, faces, known, failed = set[str](), 0, 0, 0
    with console.rows(_CSV_COLUMNS, on_terminal=_TERMINAL_COLUMNS) as (write, reporter):
        for found in identify(config, reporter):
            write(_Row(found))
            photos.add(found.photo)
            failed += found.reason is not None
            faces += found.reason is None
            known += found.name is not None
    subject = f"{count(len(photos), 'photograph')}, {count(faces, 'face')}"
    if config.template is not None:
        subject = count(len(photos), "template")
    console.note(f"{subject}: {known} known, {faces - known} unknown")
    if config.annotate is not None:
        console.note(f"{config.annotate}: {count(len(photos) - failed, 'photograph')} with boxes and names")
    if failed > config.max_bad * len(photos):
        raise DataError(f"{failed} of {len(photos)} photographs failed, more than --max-bad {config.max_bad:g}")
    return known


def show_appearances(config: IdentifyConfig, film: Path, console: Console) -> None:
    """Prints a row for each time that a person is seen in a film."""
    from faceclr_cli.core.evaluation.identification.film_identification import identify_film

    with console.rows(_FILM_COLUMNS, on_terminal=("from", "to", "answer")) as (write, reporter):
        appearances = identify_film(config, film, reporter)
        for appearance in appearances:
            write(_FilmRow(appearance))
    people = {appearance.name for appearance in appearances} - {None}
    unknown = sum(appearance.name is None for appearance in appearances)
    known = f"{len(appearances) - unknown} of {count(len(people), 'person', 'people')}"
    console.note(f"{count(len(appearances), 'appearance')}: {known}, {unknown} unknown")
    if config.webvtt is not None:
        console.note(f"{config.webvtt}: {count(len(appearances) - unknown, 'subtitle')}")


def show_open_set(result: OpenSetResult, console: Console) -> None:
    """Shows the rank-1 and rank-5 rates, the effect of the threshold, and DIR at each FAR."""
    rule = result.rule
    left_out = "" if result.left_out is None else f", {result.left_out} excluded because they are in the gallery"
    kind = "templates" if result.template else "photographs"
    rows = {
        "encoder": result.encoder,
        "gallery": f"{result.people:,} people",
        kind: f"{result.known:,} of known people, {result.unknown:,} of unknown people{left_out}",
        "no face": f"{result.failed:,}; counted as missed if known, as rejected if unknown",
        "rank 1": format_percent(result.rank1),
        "rank 5": format_percent(result.rank5),
        "threshold": f"{rule.threshold:.3f}, {result.meaning}",
        "decisions": f"known: {format_percent(rule.named)} named, {format_percent(rule.misnamed)} misnamed; "
        f"unknown: {format_percent(rule.rejected)} rejected",
    }
    points = [
        [f"{point.far:g}", format_percent(point.dir), "" if point.threshold is None else f"{point.threshold:.3f}"]
        for point in result.dir_at_far
    ]
    reasons = [wrap_sentence(f"FAR {point.far:g} {point.reason}") for point in result.dir_at_far if point.reason]
    console.show(result, format_facts(rows), table(["FAR", "DIR", "threshold"], points), *reasons)


def _answer(name: str | None, best: Match) -> str:
    """`chris_evans 98.7%`, or the closest person if the face is unknown."""
    score = f"{best.similarity:.3f}" if best.probability is None else format_probability(best.probability)
    return f"{name} {score}" if name is not None else f"unknown (closest: {best.name}, {score})"
