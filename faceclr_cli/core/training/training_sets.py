"""The data sets of a run: training faces, held-out faces and listed pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.train import LabeledConfig, Pixels, TrainConfig
from faceclr_cli.core.datasets.face_sets import find_face_set, open_face_set
from faceclr_cli.core.datasets.holdout import hold_out, hold_out_pictures, remember
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, join
from faceclr_cli.core.datasets.pairs.pair_files import locate_pairs, read_pairs
from faceclr_cli.core.datasets.pixel_choice import open_pixels
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.sources.picture_names import PictureNames
from faceclr_cli.core.text import display_path
from faceclr_cli.core.training.teacher import TeacherEmbeddings, embed_with_teachers


@dataclass(frozen=True, kw_only=True, eq=False)
class ListedPairs:
    """Pairs of a list and the pictures that it names.

    Attributes:
        faces: The pictures.
        left: Index of the first picture of each pair, -1 if it is missing. Shape: (pairs,).
        right: Index of the second picture, -1 if it is missing. Shape: (pairs,).
        same: True if both pictures show the same person. Shape: (pairs,).
    """

    faces: JoinedFaces
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """True if a picture of the pair is missing. Shape: (pairs,)."""
        return (self.left < 0) | (self.right < 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSets:
    """The data sets of a run. No picture belongs to two of them.

    Attributes:
        train: The training faces.
        new_people: Validation faces of people who are not in the training set: the val folders, or held-out people.
        known_people: Held-out pictures of people in the training set, with the labels of `train`. Only for classifiers.
        lfw: Listed pairs to verify.
        teacher: The teacher's embeddings of `train` and `new_people`; only for a distillation.
    """

    train: JoinedFaces
    new_people: JoinedFaces | None
    known_people: JoinedFaces | None
    lfw: ListedPairs | None
    teacher: TeacherEmbeddings | None = None


@dataclass(frozen=True, kw_only=True)
class FaceListing:
    """The folders of a run, listed but not decoded.

    Attributes:
        data: The training faces.
        val: The validation faces; if empty, some of `data` are held out.
        lfw: The pictures of the listed pairs.
    """

    data: tuple[FaceFolder, ...]
    val: tuple[FaceFolder, ...]
    lfw: FaceFolder | None


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenFaces:
    """The decoded folders of a run.

    Attributes:
        data: The training faces, including those to hold out if there is no `val`.
        val: The validation faces.
        lfw: The pictures of the listed pairs.
    """

    data: JoinedFaces
    val: JoinedFaces | None
    lfw: JoinedFaces | None


def list_faces(config: TrainConfig, data: Sequence[Path], val: Sequence[Path]) -> FaceListing:
    """Lists the folders of a run. This is fast: it neither imports torch nor decodes pictures.

    Raises:
        DataError: A folder is missing, unreadable or empty, or contains photographs instead of prepared faces.
    """
    lfw = config.lfw if isinstance(config, LabeledConfig) else None
    pictures = None if lfw is None else find_face_set(lfw)
    if lfw is not None and pictures is None:
        raise DataError(
            f"--lfw {display_path(lfw)}: not a folder of prepared faces; prepare it like the training faces: "
            f"faceclr prepare {display_path(lfw)} -o {display_path(lfw.with_name(lfw.name + '-faces'))}"
        )
    return FaceListing(
        data=tuple(map(open_face_set, data)),
        val=tuple(map(open_face_set, val)),
        lfw=pictures,
    )


def decode_listing(listing: FaceListing, pixels: Pixels, reporter: Reporter) -> OpenFaces:
    """Decodes the listed folders, or prepares to decode them in step with training; see `open_pixels`.

    Raises:
        DataError: A picture is damaged, or the crops of two folders were prepared differently.
    """
    return OpenFaces(
        data=_pack_and_join(listing.data, pixels, reporter),
        val=_pack_and_join(listing.val, pixels, reporter) if listing.val else None,
        lfw=None if listing.lfw is None else _pack_and_join([listing.lfw], pixels, reporter),
    )


def open_face_folders(folders: Sequence[Path], reporter: Reporter) -> JoinedFaces:
    """Opens folders of prepared faces as one data set, and decodes them if necessary.

    Raises:
        DataError: A folder is missing or unreadable, or the crops of two folders were prepared differently.
    """
    return _pack_and_join([open_face_set(folder) for folder in folders], "auto", reporter)


def _pack_and_join(folders: Sequence[FaceFolder], pixels: Pixels, reporter: Reporter) -> JoinedFaces:
    return join([(folder.root, open_pixels(folder, pixels, reporter)) for folder in folders])


def open_sets(
    config: TrainConfig, faces: OpenFaces, data: Sequence[Path], val: Sequence[Path], reporter: Reporter
) -> TrainingSets:
    """Divides the faces of a run into training and held-out faces, and opens the listed pairs.

    Args:
        config: The options.
        faces: The decoded folders.
        data: The folders of the training faces.
        val: The folders of the validation faces.
        reporter: Receives progress and warnings.

    Raises:
        DataError: See `open_pairs`.
        ModelError: There is no such teacher.
    """
    trained, new_people, known_people, lfw = faces.data, faces.val, None, None
    if new_people is None:
        kept, held = remember(hold_out, trained, config.hold_out, config.seed)
        if len(held):
            trained, new_people = trained.take(kept), trained.take(held)
    if isinstance(config, CenterConfig):
        kept, held = remember(hold_out_pictures, trained, config.hold_out, config.seed)
        if len(held):
            # Every person keeps some training pictures, so people and their order do not change.
            labels = trained.labels[held]
            known_people = replace(trained.take(held), labels=labels, people=trained.people)
            trained = trained.take(kept)
    if isinstance(config, LabeledConfig) and config.lfw is not None and config.pairs is not None and faces.lfw:
        lfw = open_pairs(faces.lfw, config.lfw, config.pairs, trained, str(config.data[0]), reporter)
    teacher = None
    if isinstance(config, DistillConfig):
        teacher = embed_with_teachers(config.teacher, data, val, trained, new_people, reporter)
    return TrainingSets(train=trained, new_people=new_people, known_people=known_people, lfw=lfw, teacher=teacher)


def open_pairs(
    faces: JoinedFaces, folder: Path, file: Path, trained: JoinedFaces, name: str, reporter: Reporter
) -> ListedPairs:
    """Finds the pictures of listed pairs.

    Args:
        faces: The pictures.
        folder: Folder of the pictures.
        file: The list of pairs.
        trained: The training faces; their crops must have the same fingerprint.
        name: Name of the training faces in error messages.
        reporter: Receives warnings.

    Raises:
        DataError: The list is missing or damaged, a pair has no label, or pictures of almost all genuine or impostor
            pairs are missing.
        FingerprintError: The faces were prepared differently from the training faces.
    """
    faces.fingerprint.require_same_crops(trained.fingerprint, display_path(folder), name)
    pairs = read_pairs(file)
    if any(pair.same is None for pair in pairs):
        raise DataError(f"{display_path(file)}: a pair has no label; each pair needs 'same' as 1 or 0")
    rows = {path: row for row, path in enumerate(faces.paths)}
    pairs, _ = locate_pairs(pairs, PictureNames(rows))
    sides = np.array([[rows.get(pair.a, -1), rows.get(pair.b, -1)] for pair in pairs], dtype=np.int64)
    same = np.array([bool(pair.same) for pair in pairs])
    there = (sides >= 0).min(axis=1)
    if there[same].sum() < 2 or there[~same].sum() < 2:
        raise DataError(
            f"{display_path(folder)}: has too few of the pictures listed in {display_path(file)}, such as {pairs[0].a}"
        )
    if not there.all():
        text = (
            f"{display_path(file)}: {(~there).sum()} of {len(pairs)} pairs have a picture that is missing from "
            f"{display_path(folder)}"
        )
        reporter.report(Notice(level="warning", text=f"{text}; these pairs count as errors"))
    named = np.unique(sides[there])
    left, right = np.where(there[:, None], np.searchsorted(named, sides), -1).T
    return ListedPairs(faces=faces.take(named), left=left, right=right, same=same)
