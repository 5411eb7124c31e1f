"""The data sets of a run: training faces, held-out faces and listed pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import LabeledConfig, Pixels, TrainConfig
from faceclr_cli.core.datasets.face_sets import find_face_set, open_face_set
from faceclr_cli.core.datasets.holdout import hold_out, hold_out_pictures, remember
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, join
from faceclr_cli.core.datasets.packed_faces import open_packed
from faceclr_cli.core.datasets.pairs.pair_files import Pair, locate_pairs, read_pairs
from faceclr_cli.core.datasets.photo_mates import find_photographs, find_track_links
from faceclr_cli.core.datasets.pixel_choice import open_pixels
from faceclr_cli.core.embeddings.benchmark_sets import find_benchmark_sets
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.sources.picture_names import PictureNames
from faceclr_cli.core.text import display_path
from faceclr_cli.core.training.benchmark_faces import find_black, list_benchmark_faces

if TYPE_CHECKING:
    from faceclr_cli.core.training.teacher import TeacherEmbeddings

BENCHMARK = "benchmark"
"""Name of the mean over all sets of pairs."""
_LFW = "lfw"


@dataclass(frozen=True, kw_only=True, eq=False)
class ListedPairs:
    """Pairs of a list and the pictures that it names.

    Attributes:
        name: Name of the list in the columns of the history.
        every: Epochs between verifications.
        faces: The pictures.
        left: Index of the first picture of each pair, -1 if it is missing. Shape: (pairs,).
        right: Index of the second picture, -1 if it is missing. Shape: (pairs,).
        same: True if both pictures show the same person. Shape: (pairs,).
    """

    name: str
    every: int
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
        benchmarks: Listed pairs to verify.
        teacher: The teacher's embeddings of `train` and `new_people`; only for a distillation.
        photographs: Index of the photograph of each face of `train`; only for rounds of clustering. Shape: (N,).
        tracks: The constraints on the faces of `train` that follow from the tracks of films; only for rounds of
            clustering.
    """

    train: JoinedFaces
    new_people: JoinedFaces | None
    known_people: JoinedFaces | None
    benchmarks: tuple[ListedPairs, ...] = ()
    teacher: TeacherEmbeddings | None = None
    photographs: NDArray[np.int64] | None = None
    tracks: Constraints | None = None


@dataclass(frozen=True, kw_only=True)
class PairList:
    """A list of pairs to verify during training.

    Attributes:
        name: Name of the list in the columns of the history.
        every: Epochs between verifications.
        file: The list, or the folder or file that contains it.
        folder: The folder or file of the pictures.
        pairs: The pairs.
    """

    name: str
    every: int
    file: Path
    folder: Path
    pairs: Sequence[Pair]


@dataclass(frozen=True, kw_only=True)
class FaceListing:
    """The folders of a run, listed but not decoded.

    Attributes:
        data: The training faces.
        val: The validation faces; if empty, some of `data` are held out.
        benchmarks: The sets of pairs, and their pictures.
    """

    data: tuple[FaceFolder, ...]
    val: tuple[FaceFolder, ...]
    benchmarks: tuple[tuple[PairList, FaceFolder], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenFaces:
    """The decoded folders of a run.

    Attributes:
        data: The training faces, including those to hold out if there is no `val`.
        val: The validation faces.
        benchmarks: The sets of pairs, and their pictures.
    """

    data: JoinedFaces
    val: JoinedFaces | None
    benchmarks: tuple[tuple[PairList, JoinedFaces], ...]


def list_faces(config: TrainConfig, data: Sequence[Path], val: Sequence[Path]) -> FaceListing:
    """Lists the folders of a run. This is fast: it neither imports torch nor decodes pictures.

    Raises:
        DataError: A folder is missing, unreadable or empty, or contains photographs instead of prepared faces.
    """
    faces = tuple(map(open_face_set, data))
    return FaceListing(
        data=faces,
        val=tuple(map(open_face_set, val)),
        benchmarks=tuple(_list_benchmarks(config, faces[0].fingerprint)),
    )


def _list_benchmarks(config: TrainConfig, wanted: Fingerprint) -> Iterator[tuple[PairList, FaceFolder]]:
    names = set[str]()
    if isinstance(config, LabeledConfig) and config.lfw is not None and config.pairs is not None:
        lfw = config.lfw
        pictures = find_face_set(lfw)
        if pictures is None:
            raise DataError(
                f"--lfw {display_path(lfw)}: not a folder of prepared faces; prepare it like the training faces: "
                f"faceclr prepare {display_path(lfw)} -o {display_path(lfw.with_name(lfw.name + '-faces'))}"
            )
        pairs = read_pairs(config.pairs)
        names.add(_LFW)
        listed = PairList(name=_LFW, every=config.lfw_every, file=config.pairs, folder=lfw, pairs=pairs)
        yield listed, pictures
    store = next((path for path in config.benchmark if is_store(path)), None)
    if store is not None:
        raise ConfigError(f"--benchmark {display_path(store)}: a store has no pictures to embed; give the pictures")
    for found in find_benchmark_sets(config.benchmark, None) if config.benchmark else ():
        # The columns of the history must be unique.
        name = display_path(found.source) if found.name in names | {"val", "teacher", BENCHMARK} else found.name
        names.add(name)
        every, place = config.benchmark_every, found.place
        listed = PairList(name=name, every=every, file=found.source, folder=place, pairs=found.pairs)
        yield listed, list_benchmark_faces(found, wanted)
    choices = names | ({BENCHMARK} if len(names) > 1 else set())
    if config.benchmark_name is not None and config.benchmark_name not in choices:
        text = f"no such set of pairs; choose {' or '.join(sorted(choices))}"
        raise ConfigError(f"--best-by {config.benchmark_name}: {text}")


def decode_listing(listing: FaceListing, pixels: Pixels, reporter: Reporter) -> OpenFaces:
    """Decodes the listed folders, or prepares to decode them in step with training; see `open_pixels`.

    Raises:
        DataError: A picture is damaged, or the crops of two folders were prepared differently.
    """
    return OpenFaces(
        data=_pack_and_join(listing.data, pixels, reporter),
        val=_pack_and_join(listing.val, pixels, reporter) if listing.val else None,
        benchmarks=tuple(
            (listed, join([(folder.root, open_packed(folder, reporter))])) for listed, folder in listing.benchmarks
        ),
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
    trained, new_people, known_people = faces.data, faces.val, None
    teachers = None
    if isinstance(config, DistillConfig):
        # PyTorch, which it imports, must not delay the errors of `list_faces`.
        from faceclr_cli.core.training.teacher import embed_with_teachers

        # Before faces are held out, so that the selection does not depend on when damaged faces are found.
        teachers = embed_with_teachers(config.teacher, data, val, reporter)
        trained = teachers.leave_out_damaged(trained, reporter)
        if new_people is not None:
            new_people = teachers.leave_out_damaged(new_people, reporter, is_val=True)
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
    benchmarks = tuple(
        open_pairs(pictures, listed, trained, str(config.data[0]), reporter) for listed, pictures in faces.benchmarks
    )
    photographs, tracks = None, None
    if isinstance(config, PretrainConfig) and config.rounds:
        photographs, tracks = find_photographs(trained, data), find_track_links(trained, data)
    return TrainingSets(
        train=trained,
        new_people=new_people,
        known_people=known_people,
        benchmarks=benchmarks,
        teacher=None if teachers is None else teachers.of(trained, new_people),
        photographs=photographs,
        tracks=tracks,
    )


def open_pairs(
    faces: JoinedFaces, listed: PairList, trained: JoinedFaces, name: str, reporter: Reporter
) -> ListedPairs:
    """Finds the pictures of listed pairs.

    Args:
        faces: The pictures.
        listed: The list of pairs.
        trained: The training faces; their crops must have the same fingerprint.
        name: Name of the training faces in error messages.
        reporter: Receives warnings.

    Raises:
        DataError: A pair has no label, or pictures of almost all genuine or impostor pairs are missing.
        FingerprintError: The faces were prepared differently from the training faces.
    """
    pairs, file, folder = listed.pairs, listed.file, listed.folder
    faces.fingerprint.require_same_crops(trained.fingerprint, display_path(folder), name)
    if any(pair.same is None for pair in pairs):
        raise DataError(f"{display_path(file)}: a pair has no label; every pair needs 'same' as 1 or 0")
    rows = {path: row for row, path in enumerate(faces.paths)}
    pairs, _ = locate_pairs(pairs, PictureNames(rows))
    used = sorted({rows[name] for pair in pairs for name in (pair.a, pair.b) if name in rows})
    for name in find_black(faces.take(np.array(used, np.int64))):
        del rows[name]
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
            f"{display_path(folder)}, or without a face"
        )
        reporter.report(Notice(level="warning", text=f"{text}; these pairs count as errors"))
    named = np.unique(sides[there])
    left, right = np.where(there[:, None], np.searchsorted(named, sides), -1).T
    return ListedPairs(name=listed.name, every=listed.every, faces=faces.take(named), left=left, right=right, same=same)
