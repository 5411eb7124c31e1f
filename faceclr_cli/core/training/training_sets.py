"""From folders to what is trained on, what is watched and what is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.train import LabeledConfig, TrainConfig
from faceclr_cli.core.datasets.holdout import hold_out, hold_out_pictures
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, join
from faceclr_cli.core.datasets.packed_faces import pack
from faceclr_cli.core.datasets.pairs.pair_files import locate_pairs, read_pairs
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import FaceFolder, is_face_folder, open_faces
from faceclr_cli.core.sources.picture_names import PictureNames
from faceclr_cli.core.text import display_path


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
class TrainingSets:
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


@dataclass(frozen=True, kw_only=True)
class FaceListing:
    """The folders that a run names, listed and not yet decoded.

    Attributes:
        data: The faces to train on.
        val: The faces to watch; none: some of `data` are held out.
        lfw: The pictures of the listed pairs.
    """

    data: tuple[FaceFolder, ...]
    val: tuple[FaceFolder, ...]
    lfw: FaceFolder | None


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenFaces:
    """The same folders, decoded.

    Attributes:
        data: The faces to train on and, where there is no `val`, to hold out.
        val: The faces to watch.
        lfw: The pictures of the listed pairs.
    """

    data: JoinedFaces
    val: JoinedFaces | None
    lfw: JoinedFaces | None


def list_faces(config: TrainConfig, data: Sequence[Path], val: Sequence[Path]) -> FaceListing:
    """Lists the folders that a run names. That takes moments and needs neither torch nor pixels.

    Raises:
        DataError: A folder is missing, unreadable or empty, or holds photographs.
    """
    lfw = config.lfw if isinstance(config, LabeledConfig) else None
    if lfw is not None and not is_face_folder(lfw):
        raise DataError(
            f"--lfw {display_path(lfw)}: no prepared faces; make them as those that you train on: faceclr prepare "
            f"{display_path(lfw)} -o {display_path(lfw.with_name(lfw.name + '-faces'))}"
        )
    return FaceListing(
        data=tuple(map(open_faces, data)),
        val=tuple(map(open_faces, val)),
        lfw=None if lfw is None else open_faces(lfw),
    )


def open_listed(listing: FaceListing, reporter: Reporter) -> OpenFaces:
    """Decodes what was listed, or finds it decoded.

    Raises:
        DataError: See `opened`.
    """
    return OpenFaces(
        data=_packed(listing.data, reporter),
        val=_packed(listing.val, reporter) if listing.val else None,
        lfw=None if listing.lfw is None else _packed([listing.lfw], reporter),
    )


def open_face_folders(folders: Sequence[Path], reporter: Reporter) -> JoinedFaces:
    """Folders of prepared faces as one set, decoded once.

    Raises:
        DataError: A folder is missing, unreadable, or its crops are of another making than the others'.
    """
    return _packed([open_faces(folder) for folder in folders], reporter)


def _packed(folders: Sequence[FaceFolder], reporter: Reporter) -> JoinedFaces:
    return join([(folder.root, pack(folder, reporter)) for folder in folders])


def open_sets(config: TrainConfig, faces: OpenFaces, reporter: Reporter) -> TrainingSets:
    """Divides what a config names.

    Raises:
        DataError: See `open_pairs`.
    """
    trained, strangers, fellows, lfw = faces.data, faces.val, None, None
    if strangers is None:
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
    if isinstance(config, LabeledConfig) and config.lfw is not None and config.pairs is not None and faces.lfw:
        lfw = open_pairs(faces.lfw, config.lfw, config.pairs, trained, str(config.data[0]), reporter)
    return TrainingSets(trained=trained, strangers=strangers, fellows=fellows, lfw=lfw)


def open_pairs(
    faces: JoinedFaces, folder: Path, file: Path, trained: JoinedFaces, name: str, reporter: Reporter
) -> ListedPairs:
    """Finds the pictures of listed pairs.

    Args:
        faces: The pictures.
        folder: Where they lie.
        file: The list.
        trained: What is trained on; the crops must be made alike.
        name: What to call it in errors.
        reporter: Hears about progress.

    Raises:
        DataError: The list is missing or damaged, a pair has no label, or pictures of all genuine or all impostor
            pairs are missing.
        FingerprintError: The faces were prepared in another way than those that are trained on.
    """
    faces.fingerprint.require_same_crops(trained.fingerprint, display_path(folder), name)
    pairs = read_pairs(file)
    if any(pair.same is None for pair in pairs):
        raise DataError(f"{display_path(file)}: a pair without a label can't be measured; each needs 'same' as 1 or 0")
    rows = {path: row for row, path in enumerate(faces.paths)}
    pairs, _ = locate_pairs(pairs, PictureNames(rows))
    sides = np.array([[rows.get(pair.a, -1), rows.get(pair.b, -1)] for pair in pairs], dtype=np.int64)
    same = np.array([bool(pair.same) for pair in pairs])
    there = (sides >= 0).min(axis=1)
    if there[same].sum() < 2 or there[~same].sum() < 2:
        raise DataError(
            f"{display_path(folder)}: holds too few of the pictures that {display_path(file)} names, as {pairs[0].a}"
        )
    if not there.all():
        text = (
            f"{display_path(file)}: {(~there).sum()} of {len(pairs)} pairs have a picture that "
            f"{display_path(folder)} lacks"
        )
        reporter.report(Notice(level="warning", text=f"{text}; each counts as wrong"))
    named = np.unique(sides[there])
    left, right = np.where(there[:, None], np.searchsorted(named, sides), -1).T
    return ListedPairs(faces=faces.take(named), left=left, right=right, same=same)
