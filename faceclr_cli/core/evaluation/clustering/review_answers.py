"""Answers of the user to the questions of `--review`, as decisions in the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from faceclr_cli.core.evaluation.clustering.folder_corrections import Corrected
from faceclr_cli.core.evaluation.clustering.group_memory import RememberedGroup
from faceclr_cli.core.evaluation.clustering.review_questions import SAME, Question
from faceclr_cli.core.wording import count


def apply_answers(before: Corrected, links: Sequence[str | None], questions: Sequence[Question]) -> Corrected:
    """Records answers as if the user had moved the links.

    An answer about a group that no longer exists, or about a face that the user has moved since, has no effect.

    Args:
        before: The folder of groups, with the corrections of the user.
        links: The link of each face when the questions were written.
        questions: The questions with their answers.
    """
    answers = _Answers(before, links)
    for question in questions:
        if question.answer:
            answers.apply(question)
    return answers.corrected()


class _Answers:
    def __init__(self, before: Corrected, links: Sequence[str | None]) -> None:
        self._before = before
        self._groups = dict(before.memory.groups)
        self._faces = list(before.memory.faces)
        self._rows = {link: row for row, link in enumerate(links) if link is not None}
        self._folders = dict(before.folders)
        self._applied = self._stale = 0

    def corrected(self) -> Corrected:
        memory = replace(self._before.memory, groups=self._groups, faces=tuple(self._faces))
        summary = [f"{count(self._applied, 'question')} answered"] if self._applied else []
        if self._stale:
            summary.append(f"{count(self._stale, 'answer')} about groups that have changed ignored")
        summary = [*self._before.summary, *summary]
        memory = memory.renamed(self._folders)
        return replace(self._before, memory=memory, folders=self._folders, summary=tuple(summary))

    def apply(self, question: Question) -> None:
        second = self._group(question.second)
        done = second is not None
        if second is not None and question.kind == SAME:
            first = self._group(question.first)
            if first is not None:
                self._answer_groups(first, second, is_same=question.answer == "yes")
            else:
                done = self._answer_face(question.first, None, second, is_in=question.answer == "yes")
        elif second is not None:
            first = self._group(question.first)
            done = first is not None and self._answer_between(question, first, second)
        self._applied += done
        self._stale += not done

    def _group(self, folder: str) -> RememberedGroup | None:
        name = folder
        while name in self._folders and self._folders[name] != name:
            name = self._folders[name]
        return next((group for group in self._groups.values() if group.folder == name), None)

    def _answer_groups(self, first: RememberedGroup, second: RememberedGroup, *, is_same: bool) -> None:
        if first.number == second.number:
            return
        if not is_same:
            apart = tuple(sorted({*first.apart, second.folder}))
            self._groups[first.number] = replace(self._groups[first.number], apart=apart)
            return
        sizes = {group.number: sum(face.group == group.number for face in self._faces) for group in (first, second)}
        kept, merged = sorted(
            (first, second), key=lambda group: (not group.is_named, not group.is_fixed, -sizes[group.number])
        )
        self._faces = [
            replace(face, group=kept.number) if face.group == merged.number else face for face in self._faces
        ]
        del self._groups[merged.number]
        self._folders[merged.folder] = kept.folder
        self._confirm(kept)

    def _answer_face(self, link: str, own: RememberedGroup | None, group: RememberedGroup, *, is_in: bool) -> bool:
        row = self._rows.get(link)
        if row is None or self._faces[row].group != (None if own is None else own.number):
            return False
        face = self._faces[row]
        if is_in:
            self._confirm(group)
            apart = set(face.apart) - {group.folder} | ({own.folder} if own is not None else set())
            self._faces[row] = replace(face, group=group.number, apart=tuple(sorted(apart)), removed=False)
        else:
            self._faces[row] = replace(face, apart=tuple(sorted({*face.apart, group.folder})))
        return True

    def _answer_between(self, question: Question, first: RememberedGroup, second: RememberedGroup) -> bool:
        if first.number == second.number:
            return False
        if question.answer == "second":
            return self._answer_face(question.face, first, second, is_in=True)
        if not self._answer_face(question.face, first, second, is_in=False):
            return False
        if question.answer == "first":
            self._confirm(first)
        else:
            row = self._rows[question.face]
            face = self._faces[row]
            self._faces[row] = replace(face, group=None, apart=tuple(sorted({*face.apart, first.folder})))
        return True

    def _confirm(self, group: RememberedGroup) -> None:
        self._groups[group.number] = replace(self._groups[group.number], confirmed=True)
