"""`faceclr review`: the questions about groups as a page, or as the sheet that `cluster --review` writes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.review import ReviewConfig
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.clustering.group_memory import MEMORY
from faceclr_cli.core.evaluation.clustering.review_questions import (
    ANSWERS,
    COLUMNS,
    QUESTIONS,
    Question,
    read_questions,
    write_questions,
)
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.faces.decode import Picture
from faceclr_cli.core.plots.face_square import face_square
from faceclr_cli.core.plots.review_page import ReviewSide, ReviewTask, write_review_page
from faceclr_cli.core.sources.file_trees import leads_out, read_file
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

SHEET, PAGE = "review.jpg", "review.html"
_ON_SHEET, _ON_PAGE = 4, 6
"""Number of faces of a group that are shown."""
_SIDE = 144


@dataclass(frozen=True, kw_only=True)
class ReviewResult:
    """The result of `review`.

    Attributes:
        page: The page.
        questions: Number of questions on it.
        answered: Number of them that had an answer already.
    """

    page: Path
    questions: int
    answered: int

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {"page": str(self.page), "questions": self.questions, "answered": self.answered}


def review(config: ReviewConfig, reporter: Reporter) -> ReviewResult:
    """Writes a page with the questions of `cluster --review`, with the answers given so far.

    Raises:
        ConfigError: The folder has no questions.
        DataError: The folder was not written by `cluster`, or its files are damaged.
    """
    groups = config.groups or Path()
    if not (groups / MEMORY).is_file():
        raise DataError(
            f"{display_path(groups)}: not a folder of groups; first run: faceclr cluster PHOTOS -o {groups}"
        )
    if not (groups / QUESTIONS).is_file():
        raise ConfigError(f"{display_path(groups)}: has no questions; run faceclr cluster with --review 20")
    questions = read_questions(groups / QUESTIONS)
    samples = _Samples(groups)
    tasks = []
    for each in track(questions, reporter, "reading faces", total=len(questions), unit="questions"):
        cells = (str(each.number), each.kind, each.face, each.first, each.second, f"{each.similarity:.4f}")
        tasks.append(
            ReviewTask(
                cells=cells,
                answers=ANSWERS[each.kind],
                answer=each.answer,
                face=samples.of(each.face, 1)[0] if each.face else None,
                sides=tuple(
                    ReviewSide(name=_caption(side), size=samples.size(side), pictures=samples.of(side, _ON_PAGE))
                    for side in (each.first, each.second)
                ),
            )
        )
    page = config.out or groups / PAGE
    try:
        with atomic_path(page) as temporary:
            write_review_page(temporary, tasks, COLUMNS, file_name=QUESTIONS, folder=str(groups))
    except OSError as error:
        raise DataError(f"{display_path(page)}: cannot be written ({error.strerror or error})") from error
    return ReviewResult(page=page, questions=len(tasks), answered=sum(bool(each.answer) for each in questions))


def write_review(out: Path, questions: Sequence[Question] | None) -> None:
    """Writes the table and the sheet of questions, replacing those of the last run, whose answers are in the memory.

    Args:
        out: The folder of groups.
        questions: The questions, or None to ask none.

    Raises:
        DataError: A file cannot be written.
    """
    try:
        for name in (QUESTIONS, SHEET, PAGE):
            (out / name).unlink(missing_ok=True)
        if questions is not None:
            write_questions(out, questions)
        if questions:
            _draw_sheet(out, questions)
    except OSError as error:
        raise DataError(f"{display_path(error.filename or out)}: cannot be written ({error.strerror})") from error


def _draw_sheet(out: Path, questions: Sequence[Question]) -> None:
    from faceclr_cli.core.plots.figure_style import plain_style, save_whole
    from faceclr_cli.core.plots.tiles import Section, Tile, compose_tiles

    samples = _Samples(out)
    sections = []
    for each in questions:
        middle = [Tile(image=samples.of(each.face, 1)[0], name="this face")] if each.face else []
        first, second = (
            [Tile(image=image, name=f"{number}: {_caption(side)}") for image in samples.of(side, _ON_SHEET)]
            for number, side in (("first", each.first), ("second", each.second))
        )
        sides = " | ".join(
            f"{_caption(side)} ({count(samples.size(side), 'face')})" for side in (each.first, each.second)
        )
        tiles = first[: _ON_SHEET - len(middle)] + middle + second
        sections.append(Section(tiles=tiles, heading=f"{each.number}. {each.kind} {sides}"))
    with plain_style():
        figure = compose_tiles(
            f"{count(len(questions), 'question')} about groups", f"answer them in {QUESTIONS}", sections
        )
        save_whole(figure, out / SHEET)


def _caption(side: str) -> str:
    return "a single face" if side.startswith("_/") else side


class _Samples:
    """Pictures of the faces in a folder of groups, the most central first."""

    def __init__(self, groups: Path) -> None:
        self._groups = groups
        self._members = defaultdict[str, list[dict[str, Any]]](list)
        try:
            lines = (groups / "faces.jsonl").read_text(encoding="ascii").splitlines()
            rows = [json.loads(line) for line in lines]
            for row in sorted(rows, key=lambda row: row["distance"] or 0.0):
                if row["link"] is not None:
                    link = str(row["link"])
                    self._members[link].append(row)
                    self._members[link.rpartition("/")[0]].append(row)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{display_path(groups / 'faces.jsonl')}: damaged, or missing: {error}") from error

    def size(self, side: str) -> int:
        return len(self._members[side])

    def of(self, side: str, most: int) -> list[NDArray[np.uint8] | None]:
        """Returns the most central faces of a group, or a single face; None where the picture cannot be read."""
        return [self._picture(row) for row in self._members[side][:most]] or [None]

    def _picture(self, row: dict[str, Any]) -> NDArray[np.uint8] | None:
        if leads_out(row["link"]):
            return None
        path = self._groups / row["link"]
        try:
            return face_square(Picture(read_file(path), path), row["box"] or [np.nan] * 4, _SIDE)
        except (DataError, OSError):
            return None
