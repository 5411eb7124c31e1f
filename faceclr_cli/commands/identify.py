"""`faceclr identify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faceclr_cli.commands.console import Console, count, likely
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.errors import DataError

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.identify import Identified

EXAMPLE = "faceclr identify party.jpg --gallery faces.h5"


@dataclass(frozen=True)
class _Row:
    """A face as a line shows it."""

    face: Identified

    def to_json(self) -> dict[str, Any]:
        return self.face.to_json() | {"answer": _answer(self.face)}


def run(config: IdentifyConfig, console: Console) -> None:
    """Runs the command."""
    name_faces(config, console)


def name_faces(config: IdentifyConfig, console: Console) -> int:
    """Shows each face as soon as it is known.

    Returns:
        How many of them are of the gallery.
    """
    from faceclr_cli.core.evaluation.identify import identify

    photos, faces, known, failed = set[str](), 0, 0, 0
    with console.rows(("photo", "face", "answer")) as (write, reporter):
        for found in identify(config, reporter):
            write(_Row(found))
            photos.add(found.photo)
            failed += found.reason is not None
            faces += found.reason is None
            known += found.name is not None
    console.note(f"{count(len(photos), 'photograph')}, {count(faces, 'face')}: {known} known, {faces - known} unknown")
    if failed > config.max_bad * len(photos):
        raise DataError(f"{failed} of {len(photos)} photographs gave no face, more than --max-bad {config.max_bad:g}")
    return known


def _answer(face: Identified) -> str:
    """`chris_evans 98.7%`, or who an unknown would be."""
    if face.reason is not None:
        return face.reason
    best = face.matches[0]
    sure = f"{best.similarity:.3f}" if best.probability is None else likely(best.probability)
    return f"{face.name} {sure}" if face.name is not None else f"unknown (closest: {best.name}, {sure})"
