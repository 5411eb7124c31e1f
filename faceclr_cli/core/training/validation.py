"""A look at faces that are not trained on, after each epoch: is each recognized, and do they differ at all?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.losses.global_batch import all_gather_labels, world_size
from faceclr_cli.core.metrics.embedding_spread import alignment, effective_rank, mean_cosine, uniformity, views_top1
from faceclr_cli.core.metrics.recognition import recognition
from faceclr_cli.core.metrics.roc import auc, best_threshold, cosine_scores, k_fold_accuracy
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.stop_signals import StopRequest, agree_to_stop
from faceclr_cli.core.training.task import TaskModule, WatchedFaces, in_full_precision, random_uniform
from faceclr_cli.core.training.training_sets import ListedPairs, TrainingSets

KNN, RANK, TOP1, ACCURACY, LOSS = "val_knn", "val_rank", "val_top1", "val_accuracy", "val_loss"
COSINE = "cosine"
FEWEST_PEOPLE = 5
"""People with two or more pictures from whom anything about people is measured, and by whom an epoch is the best."""
FEWEST_FOR_THRESHOLD = 20
"""And from whom a threshold is kept: 190 pairs of people."""
_PICTURES, _PEOPLE, _GENUINE, _IMPOSTOR = "val_pictures", "val_people", "val_genuine", "val_impostor"
_THRESHOLD, _FAR, _TAR = "val_threshold", "val_far", "val_tar"
_STRICT = {"1e-2": 1e-2, "1e-3": 1e-3}
_FARS = {"1e-1": 1e-1, **_STRICT}
_PAIRS_OF_PEOPLE = 3  # That a kept threshold of a rate should have accepted: with fewer, the rate may be none.
_BATCH = 256
_VIEWED = 512  # Pictures of which views are compared: enough to tell epochs apart.
_PAIRED = 2000  # Faces of which all pairs are verified: two million.
_FOLDS = 10
_PROBED = 64  # Pictures that are trained on, to see whether embeddings differ where nothing else is watched.


class Validation:
    """Looks at what training never sees.

    Args:
        sets: What there is to look at. Numbers about people need strangers with two or more pictures.
        lfw_every: Epochs from one verification of the listed pairs to the next.
    """

    def __init__(self, sets: TrainingSets, lfw_every: int) -> None:
        self._sets = sets
        self._lfw_every = lfw_every
        self._known = watchable_rows(sets.strangers) if sets.strangers is not None else np.empty(0, np.int64)

    def __len__(self) -> int:
        return sum(len(faces) for faces in (self._sets.strangers, self._sets.fellows) if faces is not None)

    def look(self, task: TaskModule, epoch: int, device: torch.device, stop: StopRequest) -> Row:
        """Measures the encoder of a task. All processes embed together; what the first returns is all.

        Args:
            task: What is learned.
            epoch: Counted from 1.
            device: Of the encoder.
            stop: Cuts it short; then nothing is measured.

        Returns:
            - `val_loss`, and what else the task measures; see `TaskModule.measure`.
            - `val_pictures`, `val_people`, `val_genuine`, `val_impostor`: strangers with two or more pictures, and
              their pairs: what the numbers about people rest on. In these every person counts the same.
            - `val_knn`: share of their pictures whose nearest other one, by cosine similarity, is of the same person;
              `val_knn_low`, `val_knn_high`: its 95% interval; `val_knn_chance`: of embeddings that say nothing.
            - `val_accuracy`, likewise with an interval: share of their pairs judged right at `val_threshold`, the best
              one, if genuine pairs count as much as impostor pairs; `val_far`, `val_tar`: shares of impostor and of
              genuine pairs accepted there.
            - `val_tar@1e-1`, ...: share of genuine pairs accepted where that share of impostor pairs is, and
              `val_threshold@1e-2`, ...: from which similarity.
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
        if any(agree_to_stop(device, stop.flag.value)):
            return {}
        row = task.measure(strangers if len(self._known) else None, fellows)
        if world_size()[0]:
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

    def _seen(
        self, faces: JoinedFaces | None, task: TaskModule, device: torch.device, stop: StopRequest
    ) -> WatchedFaces | None:
        if faces is None:
            return None
        embeddings = embed_on_all_processes(task.encoder, faces, np.arange(len(faces)), device, stop)
        if not embeddings.isfinite().all():  # Weights that are finite and huge overflow on the way.
            raise ModelError(
                "the encoder produced NaN or infinite embeddings after this epoch; training diverged: lower --lr"
            )
        return WatchedFaces(embeddings, torch.from_numpy(faces.labels).to(device))

    @torch.inference_mode()
    def _viewed(self, task: TaskModule, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings of two views of some of the faces, the same views each time."""
        faces = self._sets.strangers
        if faces is None:
            raise ValueError("nothing is watched")
        some = np.linspace(0, len(faces) - 1, min(_VIEWED, len(faces))).round().astype(np.int64)
        chance = random_uniform(len(some), 2, task.augment.draws, torch.Generator().manual_seed(0))
        parts = []
        for start in range(0, len(some), _BATCH):
            block = slice(start, start + _BATCH)
            crops = torch.from_numpy(faces.crops(some[block])).to(device)
            embeddings = task.encoder(in_full_precision(task.augment, crops, chance[block])).float().cpu().numpy()
            parts.append(np.stack(np.split(embeddings, 2)))
        first, second = np.concatenate(parts, axis=1)
        return first, second


def _some(faces: JoinedFaces) -> JoinedFaces:
    return faces.take(np.linspace(0, len(faces) - 1, min(_PROBED, len(faces))).round().astype(np.int64))


def calibration_of(row: Mapping[str, float]) -> Calibration | None:
    """What the strangers of an epoch say of thresholds, for the encoder to keep; None of too few people.

    Beside the best threshold it has those of the strict rates that pairs of people support, since a verdict takes the
    one nearest to a FAR of 0.001.

    Args:
        row: The numbers of the epoch.
    """
    if row.get(_PEOPLE, 0) < FEWEST_FOR_THRESHOLD:
        return None
    people = int(row[_PEOPLE])
    points = [FarPoint(far=row[_FAR], threshold=row[_THRESHOLD], tar=row[_TAR])]
    for name, far in _STRICT.items():
        if far * people * (people - 1) / 2 >= _PAIRS_OF_PEOPLE and f"val_threshold@{name}" in row:
            threshold, tar = row[f"val_threshold@{name}"], row[f"{_TAR}@{name}"]
            points.append(FarPoint(far=far, threshold=threshold, tar=tar))
    return Calibration(
        points=tuple(sorted(points, key=lambda point: -point.far)),
        source=f"all pairs of {int(row[_PICTURES])} pictures of {people} people watched in training",
    )


def _people(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> Row:
    """How well people are recognized, each person with the same weight. Shapes: (N, D) and (N,)."""
    # People are whole where there are too many for all pairs, but for the last.
    some = np.argsort(labels, kind="stable")[:_PAIRED]
    some = some[np.bincount(labels[some])[labels[some]] > 1]
    found = recognition(embeddings[some], labels[some], tuple(_FARS.values()))
    row: Row = {
        _PICTURES: found.pictures,
        _PEOPLE: found.people,
        _GENUINE: found.genuine,
        _IMPOSTOR: found.impostor,
        KNN: found.knn,
        f"{KNN}_low": found.knn_interval.low,
        f"{KNN}_high": found.knn_interval.high,
        f"{KNN}_chance": found.chance,
        _THRESHOLD: found.threshold,
        ACCURACY: found.accuracy,
        f"{ACCURACY}_low": found.accuracy_interval.low,
        f"{ACCURACY}_high": found.accuracy_interval.high,
        _FAR: found.far,
        _TAR: found.tar,
    }
    for name, far in _FARS.items():
        if far in found.points:
            threshold, _, row[f"{_TAR}@{name}"] = found.points[far]
            if name in _STRICT:
                row[f"{_THRESHOLD}@{name}"] = threshold
    return row


def _pairs(pairs: ListedPairs, seen: WatchedFaces) -> Row:
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


def watchable_rows(faces: JoinedFaces) -> NDArray[np.int64]:
    """Pictures of people of whom there are two or more; none if these people are too few to judge by. Shape: (M,)."""
    counts = np.bincount(faces.labels[faces.labels >= 0], minlength=1)
    if (counts > 1).sum() < FEWEST_PEOPLE:
        return np.empty(0, np.int64)
    return np.flatnonzero((faces.labels >= 0) & (counts[faces.labels] > 1))


_BATCH = 256


@torch.inference_mode()
def embed_faces(
    network: EncoderNetwork, faces: JoinedFaces, pictures: NDArray[np.int64], device: torch.device, stop: StopRequest
) -> Tensor:
    """Embeddings as the network gives them. It is left in evaluation mode.

    Returns:
        Shape: (N, D), float32, on the device; zeros in what was not reached before a signal asked to stop.
    """
    network.eval()
    result = torch.zeros(len(pictures), network.architecture.embedding_dim, device=device)
    for start in range(0, len(pictures), _BATCH):
        if stop.requested():
            break
        block = slice(start, start + _BATCH)
        crops = torch.from_numpy(faces.crops(pictures[block])).to(device)
        result[block] = network(normalize_pixels(crops, network.architecture.image_size)).float()
    return result


def embed_on_all_processes(
    network: EncoderNetwork, faces: JoinedFaces, pictures: NDArray[np.int64], device: torch.device, stop: StopRequest
) -> Tensor:
    """The same, by all processes together: each embeds its share and has all of it in the end."""
    rank, processes = world_size()
    if processes > 1:
        # On CPUs each process has its own averages of batch norms; those of rank 0 are the encoder's.
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
    size = -(-len(pictures) // processes)
    # Shares are equally long, so the last process may begin again from the front.
    own = pictures[np.arange(rank * size, (rank + 1) * size) % len(pictures)]
    return all_gather_labels(embed_faces(network, faces, own, device, stop))[: len(pictures)]
