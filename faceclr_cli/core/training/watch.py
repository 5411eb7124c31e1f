"""A look at faces that are not trained on, after each epoch: is each recognised, and do they differ at all?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from faceclr_cli.core.datasets.folder import is_face_folder
from faceclr_cli.core.datasets.joined import JoinedFaces
from faceclr_cli.core.encoders.calibration import Calibration, FarPoint
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.losses.gather import world
from faceclr_cli.core.metrics.contrast import alignment, effective_rank, mean_cosine, uniformity, views_top1
from faceclr_cli.core.metrics.knn import knn_accuracy
from faceclr_cli.core.metrics.verification import (
    auc,
    balanced_threshold,
    best_threshold,
    cosine_scores,
    every_pair,
    k_fold_accuracy,
    tar_at_far,
)
from faceclr_cli.core.training.embedded import embedded_by_all
from faceclr_cli.core.training.exactly import chances, exactly
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.sets import ListedPairs, Sets
from faceclr_cli.core.training.stopping import Stop, agree
from faceclr_cli.core.training.task import Seen

if TYPE_CHECKING:
    from faceclr_cli.core.training.tasks import Task

KNN, RANK, TOP1, ACCURACY, LOSS = "val_knn", "val_rank", "val_top1", "val_accuracy", "val_loss"
COSINE = "cosine"
_THRESHOLD, _FAR, _TAR = "val_threshold", "val_far", "val_tar"
_FARS = ("1e-1", "1e-2", "1e-3")
_BATCH = 256
_VIEWED = 512  # Pictures of which views are compared: enough to tell epochs apart.
_PAIRED = 2000  # Faces of which all pairs are verified: two million.
_FOLDS = 10
_PROBED = 64  # Pictures that are trained on, to see whether embeddings differ where nothing else is watched.


def val_beside(data: Path) -> Path | None:
    """The val part of the split whose train part is given, or None."""
    split, val = data.resolve().parent, data.resolve().with_name("val")
    return val if data.resolve().name == "train" and (split / "split.json").is_file() and is_face_folder(val) else None


class Watch:
    """Looks at what training never sees.

    Args:
        sets: What there is to look at. Numbers about people need strangers with two or more pictures.
        lfw_every: Epochs from one verification of the listed pairs to the next.
    """

    def __init__(self, sets: Sets, lfw_every: int) -> None:
        self._sets = sets
        self._lfw_every = lfw_every
        self._known = watchable(sets.strangers) if sets.strangers is not None else np.empty(0, np.int64)

    def __len__(self) -> int:
        return sum(len(faces) for faces in (self._sets.strangers, self._sets.fellows) if faces is not None)

    def look(self, task: Task, epoch: int, device: torch.device, stop: Stop) -> Row:
        """Measures the encoder of a task. All processes embed together; what the first returns is all.

        Args:
            task: What is learned.
            epoch: Counted from 1.
            device: Of the encoder.
            stop: Cuts it short; then nothing is measured.

        Returns:
            - `val_loss`, and what else the task measures; see `TaskModule.measure`.
            - `val_knn`: share of the strangers whose nearest other face, by cosine similarity, is of the same person.
            - `val_accuracy`: share of their pairs judged right at `val_threshold`, the best one, if genuine pairs count
              as much as impostor pairs; `val_far`, `val_tar`: shares of impostor and of genuine pairs accepted there.
            - `val_tar@1e-1`, ...: share of genuine pairs accepted where that share of impostor pairs is.
            - `cosine`: mean cosine similarity of pairs of watched pictures, or else of some that are trained on.
            - `val_rank`: effective rank of the embeddings, 1 to the smaller of their number and length.
            - `val_alignment`, `val_uniformity` of random views and `val_top1`, the share of views whose twin is the
              nearest; where the task makes two views.
            - `lfw_accuracy`, by folds, `lfw_auc` and `lfw_threshold`, the best one, of the listed pairs.
        """
        sets = self._sets
        due = sets.lfw is not None and epoch % self._lfw_every == 0
        strangers, fellows, listed = (
            self._seen(faces, task, device, stop)
            for faces in (sets.strangers, sets.fellows, sets.lfw.faces if sets.lfw is not None and due else None)
        )
        watched = strangers or fellows or self._seen(_some(sets.trained), task, device, stop)
        if any(agree(device, stop.flag.value)):
            return {}
        row = task.measure(strangers if len(self._known) else None, fellows)
        if world()[0]:
            return row
        if watched is not None and len(watched.embeddings) > 1:
            row = {COSINE: mean_cosine(watched.embeddings.cpu().numpy()), **row}
        if strangers is not None:
            rows = strangers.embeddings.cpu().numpy()
            if len(self._known):
                row |= _people(rows[self._known], strangers.labels.cpu().numpy()[self._known])
            row[RANK] = effective_rank(rows)
        if strangers is not None and task.views == 2:
            first, second = self._viewed(task, device)
            row["val_alignment"] = alignment(first, second)
            row["val_uniformity"] = uniformity(first)
            row[TOP1] = views_top1(first, second)
        if sets.lfw is not None and listed is not None:
            row |= _pairs(sets.lfw, listed)
        return row

    def _seen(self, faces: JoinedFaces | None, task: Task, device: torch.device, stop: Stop) -> Seen | None:
        if faces is None:
            return None
        embeddings = embedded_by_all(task.encoder, faces, np.arange(len(faces)), device, stop)
        if not embeddings.isfinite().all():  # Weights that are finite and huge overflow on the way.
            raise ModelError(
                "the encoder produced NaN or infinite embeddings after this epoch; training diverged: lower --lr"
            )
        return Seen(embeddings, torch.from_numpy(faces.labels).to(device))

    @torch.inference_mode()
    def _viewed(self, task: Task, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings of two views of some of the faces, the same views each time."""
        faces = self._sets.strangers
        if faces is None:
            raise ValueError("nothing is watched")
        some = np.linspace(0, len(faces) - 1, min(_VIEWED, len(faces))).round().astype(np.int64)
        chance = chances(len(some), 2, task.augment.draws, torch.Generator().manual_seed(0))
        parts = []
        for start in range(0, len(some), _BATCH):
            block = slice(start, start + _BATCH)
            crops = torch.from_numpy(faces.crops(some[block])).to(device)
            embeddings = task.encoder(exactly(task.augment, crops, chance[block])).float().cpu().numpy()
            parts.append(np.stack(np.split(embeddings, 2)))
        first, second = np.concatenate(parts, axis=1)
        return first, second


def _some(faces: JoinedFaces) -> JoinedFaces:
    return faces.take(np.linspace(0, len(faces) - 1, min(_PROBED, len(faces))).round().astype(np.int64))


def calibration(row: Row, faces: JoinedFaces | None) -> Calibration | None:
    """What the strangers of an epoch say of a threshold, for the encoder to keep.

    Args:
        row: The numbers of the epoch.
        faces: The strangers.
    """
    if faces is None or _THRESHOLD not in row:
        return None
    known = watchable(faces)
    people = len(np.unique(faces.labels[known]))
    return Calibration(
        points=(FarPoint(far=row[_FAR], threshold=row[_THRESHOLD], tar=row[_TAR]),),
        source=f"all pairs of {min(_PAIRED, len(known))} pictures of {people} people watched in training",
    )


def _people(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> Row:
    """How well people are recognised. Shapes: (N, D) and (N,)."""
    row: Row = {KNN: knn_accuracy(embeddings, labels)}
    # People are whole where there are too many for all pairs, so that there are genuine ones.
    some = np.argsort(labels, kind="stable")[:_PAIRED]
    scores, same = every_pair(embeddings[some], labels[some])
    if same.all() or not same.any():
        return row
    row[_THRESHOLD], row[ACCURACY] = balanced_threshold(scores, same)
    accepted = scores >= row[_THRESHOLD]
    row[_FAR], row[_TAR] = float(accepted[~same].mean()), float(accepted[same].mean())
    for far in _FARS:
        # A rate that allows for not a single pair cannot be measured.
        if float(far) * (~same).sum() >= 1:
            row[f"val_tar@{far}"] = tar_at_far(scores, same, float(far)).tar
    return row


def _pairs(pairs: ListedPairs, seen: Seen) -> Row:
    """The listed pairs; in the accuracy one with a missing picture is judged wrong."""
    embeddings, missing = seen.embeddings.cpu().numpy(), pairs.missing
    scores = np.zeros(len(missing))
    scores[~missing] = cosine_scores(embeddings[pairs.left[~missing]], embeddings[pairs.right[~missing]])
    folds = min(_FOLDS, int(pairs.same.sum()), int((~pairs.same).sum()))
    return {
        "lfw_accuracy": k_fold_accuracy(scores, pairs.same, folds, missing).mean,
        "lfw_auc": auc(scores[~missing], pairs.same[~missing]),
        "lfw_threshold": best_threshold(scores[~missing], pairs.same[~missing]),
    }


def watchable(faces: JoinedFaces) -> NDArray[np.int64]:
    """Pictures of people of whom there are two or more; none if that is one person only. Shape: (M,)."""
    counts = np.bincount(faces.labels[faces.labels >= 0], minlength=1)
    if (counts > 1).sum() < 2:
        return np.empty(0, np.int64)
    return np.flatnonzero((faces.labels >= 0) & (counts[faces.labels] > 1))
