"""From folders to what is trained on, what is watched and what is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.train import LabelledConfig, TrainConfig
from faceclr_cli.core.datasets.folder import is_face_folder, open_faces
from faceclr_cli.core.datasets.holdout import hold_out, hold_out_pictures
from faceclr_cli.core.datasets.joined import JoinedFaces, join
from faceclr_cli.core.datasets.packed import pack
from faceclr_cli.core.datasets.pairs import locate_pairs, read_pairs
from faceclr_cli.core.datasets.picture_names import PictureNames
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.reasons import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class ListedPairs:
    """Pairs of a list, with the pictures that it names.

    Attributes:
        faces: The pictures.
        left: Index of one picture of each pair, -1 where it is missing. Shape: (pairs,).
        right: Of the other. Shape: (pairs,).
        same: Whether they show one person. Shape: (pairs,).
    """

    faces: JoinedFaces
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Whether a picture of the pair is missing. Shape: (pairs,)."""
        return (self.left < 0) | (self.right < 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sets:
    """What a run works with. No picture is in two of them.

    Attributes:
        trained: The faces to train on.
        strangers: Faces to watch: of the val parts, or else held out, of people who are not trained on.
        fellows: Pictures of people who are trained on, held out, with the labels of `trained`; where a classifier is
            trained.
        lfw: Pairs to verify.
    """

    trained: JoinedFaces
    strangers: JoinedFaces | None
    fellows: JoinedFaces | None
    lfw: ListedPairs | None


def opened(folders: Sequence[Path], reporter: Reporter) -> JoinedFaces:
    """Folders of prepared faces as one set, decoded once.

    Raises:
        DataError: A folder is missing, unreadable, or its crops are of another making than the others'.
    """
    return join([(folder, pack(open_faces(folder), reporter)) for folder in folders])


def open_sets(config: TrainConfig, data: Sequence[Path], val: Sequence[Path], reporter: Reporter) -> Sets:
    """Opens and divides what a config names.

    Raises:
        DataError: See `opened` and `open_pairs`.
    """
    trained, strangers, fellows, lfw = opened(data, reporter), None, None, None
    if val:
        strangers = opened(val, reporter)
    else:
        kept, held = hold_out(trained, config.hold_out, config.seed)
        if len(held):
            trained, strangers = trained.take(kept), trained.take(held)
    if isinstance(config, CenterConfig):
        kept, held = hold_out_pictures(trained, config.hold_out, config.seed)
        if len(held):
            # Of everybody some are kept, so people and their order stay.
            labels = trained.labels[held]
            fellows = replace(trained.take(held), labels=labels, people=trained.people)
            trained = trained.take(kept)
    if isinstance(config, LabelledConfig) and config.lfw is not None and config.pairs is not None:
        lfw = open_pairs(config.lfw, config.pairs, trained, str(data[0]), reporter)
    return Sets(trained=trained, strangers=strangers, fellows=fellows, lfw=lfw)


def open_pairs(folder: Path, file: Path, trained: JoinedFaces, name: str, reporter: Reporter) -> ListedPairs:
    """Finds the pictures of listed pairs.

    Args:
        folder: Prepared faces.
        file: The list.
        trained: What is trained on; the crops must be made alike.
        name: What to call it in errors.
        reporter: Hears about progress.

    Raises:
        DataError: A file is missing or damaged, the folder holds photographs, a pair has no label, or pictures of all
            genuine or all impostor pairs are missing.
        FingerprintError: The faces were prepared in another way than those that are trained on.
    """
    if not is_face_folder(folder):
        raise DataError(
            f"--lfw {shown(folder)}: no prepared faces; make them as those that you train on: faceclr prepare "
            f"{shown(folder)} -o {shown(folder.with_name(folder.name + '-faces'))}"
        )
    faces = opened([folder], reporter)
    faces.fingerprint.require_same_crops(trained.fingerprint, shown(folder), name)
    pairs = read_pairs(file)
    if any(pair.same is None for pair in pairs):
        raise DataError(f"{shown(file)}: a pair without a label can't be measured; each needs 'same' as 1 or 0")
    rows = {path: row for row, path in enumerate(faces.paths)}
    pairs, _ = locate_pairs(pairs, PictureNames(rows))
    sides = np.array([[rows.get(pair.a, -1), rows.get(pair.b, -1)] for pair in pairs], dtype=np.int64)
    same = np.array([bool(pair.same) for pair in pairs])
    there = (sides >= 0).min(axis=1)
    if there[same].sum() < 2 or there[~same].sum() < 2:
        raise DataError(f"{shown(folder)}: holds too few of the pictures that {shown(file)} names, as {pairs[0].a}")
    if not there.all():
        text = f"{shown(file)}: {(~there).sum()} of {len(pairs)} pairs have a picture that {shown(folder)} lacks"
        reporter.report(Notice(level="warning", text=f"{text}; each counts as wrong"))
    named = np.unique(sides[there])
    left, right = np.where(there[:, None], np.searchsorted(named, sides), -1).T
    return ListedPairs(faces=faces.take(named), left=left, right=right, same=same)
