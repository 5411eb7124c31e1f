"""Page on which a user answers questions about groups of faces; it saves the answers as a table."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.plots.page_document import fill_page
from faceclr_cli.core.text import display_path

_QUALITY = 82


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewSide:
    """A group of faces.

    Attributes:
        name: Its name.
        size: Number of its faces.
        pictures: Some of its faces, square RGB; None for a picture that cannot be read.
    """

    name: str
    size: int
    pictures: Sequence[NDArray[np.uint8] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewTask:
    """A question.

    Attributes:
        cells: The cells of its row in the table, without the answer. The second is the question.
        answers: The possible answers, two or three.
        answer: The answer given so far, or empty.
        face: The face that the question is about, or None if it is about the two groups.
        sides: The two groups.
    """

    cells: Sequence[str]
    answers: Sequence[str]
    answer: str
    face: NDArray[np.uint8] | None
    sides: Sequence[ReviewSide]


def write_review_page(
    path: Path, tasks: Sequence[ReviewTask], columns: Sequence[str], *, file_name: str, folder: str
) -> None:
    """Writes the page; the same arguments give the same bytes.

    Names may contain anything: they are stored as data, not as markup. A content security policy blocks other scripts
    and all network requests.

    Args:
        path: Output file.
        tasks: The questions.
        columns: The header of the table; the last column is the answer.
        file_name: Name of the file that the page saves.
        folder: The folder for the saved file.
    """
    data = {
        "columns": list(columns),
        "file": file_name,
        "folder": display_path(folder),
        "tasks": [
            {
                "cells": [_plain(cell) for cell in task.cells],
                "answers": list(task.answers),
                "answer": task.answer,
                "face": None if task.face is None else _encoded(task.face),
                "sides": [
                    {
                        "name": display_path(side.name),
                        "size": side.size,
                        "pictures": [None if each is None else _encoded(each) for each in side.pictures],
                    }
                    for side in task.sides
                ],
            }
            for task in tasks
        ],
    }
    path.write_text(fill_page(Path(__file__), "Questions about groups", data), encoding="utf-8")


def _plain(cell: str) -> str:
    """Replaces bytes that are not UTF-8, which a page cannot contain. The answer in such a row is not recognized."""
    return cell.encode("utf-8", "replace").decode("utf-8")


def _encoded(picture: NDArray[np.uint8]) -> str:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError(f"a picture of {picture.shape} cannot be written as JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
