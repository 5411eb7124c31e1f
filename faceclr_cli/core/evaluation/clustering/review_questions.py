"""The most helpful questions about groups, as a table to fill in."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.clustering.group_memory import GroupMemory
from faceclr_cli.core.grouping.linkage import NONE
from faceclr_cli.core.text import decode, display_path

QUESTIONS = "review.csv"
COLUMNS = ("number", "question", "face", "first", "second", "similarity", "answer")
Kind = Literal["same person?", "which person?"]
SAME: Final = "same person?"
WHICH: Final = "which person?"
_KINDS: dict[str | None, Kind] = {SAME: SAME, WHICH: WHICH}
ANSWERS = {SAME: ("yes", "no"), WHICH: ("first", "second", "neither")}
"""The answers to each kind of question."""

_NEAR = 0.1
"""Maximum distance of similarities below the threshold; two groups that are less similar rarely show one person."""
_BETWEEN = 0.12
"""Maximum difference between the similarities of a face to its group and to another. If it is larger, the face is
rarely in the wrong group."""
_BLOCK = 512

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question to the user.

    Attributes:
        number: From 1 for the question that helps most.
        kind: `same person?` about two groups, or `which person?` about a face between two groups.
        face: The link of the face; empty for two groups.
        first: The folder of a group, or the link of a single face.
        second: The folder of a group.
        similarity: Mean similarity of the two groups, or of the face to the second one.
        answer: The answer, or empty.
    """

    number: int
    kind: Kind
    face: str
    first: str
    second: str
    similarity: float
    answer: str = ""


@dataclass(frozen=True)
class _Candidate:
    gain: float
    kind: Kind
    row: int
    left: int
    right: int
    similarity: float


def choose_questions(
    embeddings: NDArray[np.float32],
    numbers: Labels,
    plan: GroupMemory,
    apart: NDArray[np.int64],
    threshold: float,
    count: int,
) -> tuple[Question, ...]:
    """Chooses questions by the expected gain in B-cubed: how many faces the answer concerns, times its uncertainty.

    If two groups of a and b faces are one person, each face gains recall, in total 2ab / (a + b). This is multiplied by
    1 for groups whose similarity just misses the threshold, and by 0 for those 0.1 below it. A face between two groups
    counts twice, for the group that it leaves and the one that it joins, times the closeness of its two similarities.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        numbers: Number of each face's group, or -1. Shape: (faces,).
        plan: The memory, whose first faces are these.
        apart: Pairs of faces of different people, as in `Constraints`; faces beyond `numbers` are of a gallery.
        threshold: Minimum mean similarity within a group.
        count: Maximum number of questions.

    Returns:
        The questions, the most helpful first. No question is about two named people, about what the user has answered
        already, about two faces of the same photograph, or about two tracks that were seen in one frame of a film.
    """
    sides = _Sides(embeddings, numbers, plan, apart)
    found = [*_near_pairs(sides, threshold, 4 * count), *_faces_between(sides, 4 * count)]
    chosen: list[_Candidate] = []
    used = set[int]()
    for candidate in sorted(found, key=lambda each: (-each.gain, each.left, each.right, each.row)):
        single = candidate.row if candidate.row >= 0 else -1 if sides.folders[candidate.left] else candidate.left
        if len(chosen) < count and (single < 0 or single not in used):
            used.add(single)
            chosen.append(candidate)
    return tuple(
        Question(
            number=number,
            kind=each.kind,
            face="" if each.row < 0 else str(plan.faces[each.row].link),
            first=sides.name(each.left),
            second=sides.name(each.right),
            similarity=round(each.similarity, 4),
        )
        for number, each in enumerate(chosen, start=1)
    )


class _Sides:
    """Groups and single faces as sides of questions: first the groups, then the single faces."""

    def __init__(
        self, embeddings: NDArray[np.float32], numbers: Labels, plan: GroupMemory, apart: NDArray[np.int64]
    ) -> None:
        self.plan, self.embeddings = plan, embeddings
        asked = np.array([face.link is not None and not face.removed for face in plan.faces[: len(numbers)]], bool)
        asked &= embeddings.any(axis=1)
        for number, group in plan.groups.items():
            asked[numbers == number] &= not group.ignored
        groups = np.unique(numbers[asked & (numbers != NONE)])
        self.members = [np.flatnonzero(asked & (numbers == number)) for number in groups.tolist()]
        self.groups = [plan.groups[number] for number in groups.tolist()]
        singles = np.flatnonzero(asked & (numbers == NONE))
        self.members += [np.array([row]) for row in singles.tolist()]
        self.folders = [group.folder for group in self.groups] + [""] * len(singles)
        self.sizes = np.array([len(rows) for rows in self.members], np.float64)
        self.sums = np.zeros((len(self.members), embeddings.shape[1]), np.float32)
        self.side_of = np.full(len(numbers), -1, np.int64)
        for side, rows in enumerate(self.members):
            self.sums[side] = embeddings[rows].sum(axis=0)
            self.side_of[rows] = side
        self._photographs = [{plan.faces[row].photo for row in rows.tolist()} for rows in self.members]
        # Photographs do not imply this: the faces that were kept of two tracks may be from different frames.
        self._apart = defaultdict[int, set[int]](set)
        for row, other in apart[(apart < len(numbers)).all(axis=1)].tolist():
            self._apart[row].add(int(self.side_of[other]))
            self._apart[other].add(int(self.side_of[row]))

    def name(self, side: int) -> str:
        return self.folders[side] or str(self.plan.faces[int(self.members[side][0])].link)

    def may_ask(self, left: int, right: int) -> bool:
        """Returns True unless the two are known to be different people."""
        if right >= len(self.groups) or self._photographs[left] & self._photographs[right]:
            return False
        if any(right in self._apart[row] for row in self.members[left].tolist()):
            return False
        other = self.groups[right]
        if left < len(self.groups):
            own = self.groups[left]
            settled = (own.is_named and other.is_named) or own.folder in other.apart or other.folder in own.apart
            if settled:
                return False
        return not any(
            folder in self.plan.faces[row].apart
            for rows, folder in ((self.members[left], other.folder), (self.members[right], self.folders[left]))
            for row in rows.tolist()
        )

    def may_be_in(self, row: int, side: int) -> bool:
        face = self.plan.faces[row]
        is_apart = side in self._apart[row] or self.groups[side].folder in face.apart
        return not is_apart and face.photo not in self._photographs[side]


def _near_pairs(sides: _Sides, threshold: float, count: int) -> list[_Candidate]:
    """Returns pairs of a group with another group or a single face that just miss the threshold."""
    found: list[_Candidate] = []
    groups = len(sides.groups)
    means = sides.sums / sides.sizes[:, None]
    for start in range(0, len(means), _BLOCK):
        similarity = means[start : start + _BLOCK] @ means[:groups].T
        left, right = np.nonzero(similarity > threshold - _NEAR)
        # Each pair of groups once, and each single face with each group.
        first = (left + start >= groups) | (left + start < right)
        left, right = left[first], right[first]
        value = similarity[left, right].astype(np.float64)
        a, b = sides.sizes[left + start], sides.sizes[right]
        gain = np.clip(1 - (threshold - value) / _NEAR, 0, 1) * 2 * a * b / (a + b)
        for place in np.argsort(-gain, kind="stable")[: 4 * count].tolist():
            pair = int(left[place] + start), int(right[place])
            if sides.may_ask(*pair):
                found.append(_Candidate(float(gain[place]), SAME, -1, *pair, float(value[place])))
        found = sorted(found, key=lambda each: -each.gain)[:count]
    return found


def _faces_between(sides: _Sides, count: int) -> list[_Candidate]:
    """Returns faces of a group that are nearly as similar to another group as to their own."""
    found: list[_Candidate] = []
    groups = len(sides.groups)
    rows = np.flatnonzero((sides.side_of >= 0) & (sides.side_of < groups))
    rows = rows[sides.sizes[sides.side_of[rows]] > 2]
    means = sides.sums[:groups] / sides.sizes[:groups, None]
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        own = sides.side_of[some]
        vectors = sides.embeddings[some]
        rest = (np.einsum("ij,ij->i", vectors, sides.sums[own]) - 1) / (sides.sizes[own] - 1)
        similarity = vectors @ means.T
        similarity[np.arange(len(some)), own] = -np.inf
        similarity[:, sides.sizes[:groups] < 2] = -np.inf
        other = similarity.argmax(axis=1) if groups > 1 else own
        value = similarity[np.arange(len(some)), other]
        gain = 2 * np.clip(1 - (rest - value) / _BETWEEN, 0, 1)
        for place in np.flatnonzero(gain > 0).tolist():
            pair = int(own[place]), int(other[place])
            # The user's own decisions are not questioned.
            if sides.may_be_in(int(some[place]), pair[1]) and not sides.groups[pair[0]].is_named:
                found.append(_Candidate(float(gain[place]), WHICH, int(some[place]), *pair, float(value[place])))
        found = sorted(found, key=lambda each: -each.gain)[:count]
    return found


def write_questions(out: Path, questions: Sequence[Question]) -> None:
    """Writes `review.csv` atomically."""
    with atomic_path(out / QUESTIONS) as temporary:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(
            (each.number, each.kind, each.face, each.first, each.second, f"{each.similarity:.4f}", each.answer)
            for each in questions
        )
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape")


def read_questions(path: Path) -> tuple[Question, ...]:
    """Reads `review.csv`, with or without answers.

    Answers may be abbreviated to their first letter.

    Raises:
        DataError: The file cannot be read, is not a table of questions, or an answer is not one of those that the
            question allows; the message gives the line.
    """
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{display_path(path)}: {error}") from error
    # In some countries, spreadsheets use semicolons as separators.
    separator = ";" if text.split("\n", 1)[0].count(";") == len(COLUMNS) - 1 else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise DataError(f"{display_path(path)}: not the questions of faceclr cluster --review")
    return tuple(_read_question(row, f"{display_path(path)}:{reader.line_num}") for row in reader)


def _read_question(row: dict[str, str | None], origin: str) -> Question:
    kind = _KINDS.get(row["question"])
    if kind is None:
        raise DataError(f"{origin}: not a question of faceclr cluster --review")
    given = (row["answer"] or "").strip().lower()
    answer = next((each for each in ANSWERS[kind] if given and each.startswith(given)), "")
    if given and not answer:
        raise DataError(f"{origin}: the answer must be {', '.join(ANSWERS[kind])} or empty, not {given!r}")
    try:
        number, similarity = int(row["number"] or ""), float((row["similarity"] or "").replace(",", "."))
    except ValueError:
        raise DataError(f"{origin}: not a question of faceclr cluster --review") from None
    return Question(
        number=number,
        kind=kind,
        face=row["face"] or "",
        first=row["first"] or "",
        second=row["second"] or "",
        similarity=similarity,
        answer=answer,
    )
