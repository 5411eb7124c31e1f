"""From folders to what is trained on and what is watched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.datasets.folder import open_faces
from faceclr_cli.core.datasets.holdout import hold_out
from faceclr_cli.core.datasets.joined import JoinedFaces, join
from faceclr_cli.core.datasets.packed import pack
from faceclr_cli.core.events import Reporter


def opened(folders: Sequence[Path], reporter: Reporter) -> JoinedFaces:
    """Folders of prepared faces as one set, decoded once.

    Raises:
        DataError: A folder is missing, unreadable, or its crops are of another making than the others'.
    """
    return join([(folder, pack(open_faces(folder), reporter)) for folder in folders])


def trained_and_watched(
    config: TrainConfig, data: Sequence[Path], val: Sequence[Path], reporter: Reporter
) -> tuple[JoinedFaces, JoinedFaces | None]:
    """The faces to train on, and those to watch, if any: of the val parts, or else held out."""
    faces = opened(data, reporter)
    if val:
        return faces, opened(val, reporter)
    kept, held = hold_out(faces, config.hold_out, config.seed)
    return (faces.take(kept), faces.take(held)) if len(held) else (faces, None)
