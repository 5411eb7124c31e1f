"""Validation after each epoch: recognition, verification and spread of embeddings of held-out faces."""

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
from faceclr_cli.core.metrics.cross_validation import k_fold_accuracy
from faceclr_cli.core.metrics.embedding_spread import alignment, effective_rank, mean_cosine, uniformity, views_top1
from faceclr_cli.core.metrics.recognition import measure_recognition
from faceclr_cli.core.metrics.roc import auc, best_threshold, cosine_scores
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.stop_signals import StopRequest, max_over_processes
from faceclr_cli.core.training.task import TaskModule, ValidationEmbeddings, make_views, random_uniform
from faceclr_cli.core.training.training_sets import BENCHMARK, ListedPairs, TrainingSets

KNN, RANK, TOP1, ACCURACY, LOSS = "val_knn", "val_rank", "val_top1", "val_accuracy", "val_loss"
COSINE = "cosine"
FEWEST_PEOPLE = 5
"""Minimum number of people with two or more pictures for metrics of recognition and the choice of the best epoch."""
FEWEST_FOR_THRESHOLD = 20
"""Minimum number of such people for a calibrated threshold: 190 pairs of people."""
_PICTURES, _PEOPLE, _GENUINE, _IMPOSTOR = "val_pictures", "val_people", "val_genuine", "val_impostor"
_THRESHOLD, _FAR, _TAR = "val_threshold", "val_far", "val_tar"
_STRICT = {"1e-2": 1e-2, "1e-3": 1e-3}
STRICT_TARS = tuple(f"{_TAR}@{name}" for name in reversed(_STRICT))
"""The columns of TAR at low false accept rates, the lowest first."""
_FARS = {"1e-1": 1e-1, **_STRICT}
_MIN_ACCEPTED_PAIRS = 3  # Expected accepted impostor pairs for a threshold; with fewer, the rate is not reliable.
_BATCH = 256
_VIEW_PICTURES = 512  # Pictures whose views are compared; enough to distinguish epochs.
_MAX_PAIRED_FACES = 2000  # Faces whose pairs are all verified: two million pairs.
_FOLDS = 10
_SAMPLE_SIZE = 64  # Training pictures whose similarity is measured if there are no held-out pictures.


class Validation:
    """Measures the encoder on held-out pictures. Its length is the number of these pictures.

    Args:
        sets: The data sets of the run. Metrics of recognition need new people with two or more pictures.
    """

    def __init__(self, sets: TrainingSets) -> None:
        self._sets = sets
        self._measurable = (
            find_measurable_rows(sets.new_people) if sets.new_people is not None else np.empty(0, np.int64)
        )

    def __len__(self) -> int:
        return sum(map(len, self._held_out))

    @property
    def people(self) -> int:
        """The number of people in the held-out pictures; 0 if they have no names."""
        return len({faces.people[label] for faces in self._held_out for label in faces.labels if label >= 0})

    @property
    def _held_out(self) -> list[JoinedFaces]:
        return [faces for faces in (self._sets.new_people, self._sets.known_people) if faces is not None]

    def measure(
        self, task: TaskModule, epoch: int, device: torch.device, stop: StopRequest, *, encoder_only: bool = False
    ) -> Row:
        """Measures the encoder of a task. All processes must call it; rank 0 returns all metrics.

        Args:
            task: The task.
            epoch: Counted from 1.
            device: The device of the encoder.
            stop: A stop request ends the validation early, without metrics.
            encoder_only: Omit the metrics of the task, whose head is not trained yet.

        Returns:
            - `val_loss` and other metrics of the task; see `TaskModule.measure`.
            - `val_pictures`, `val_people`, `val_genuine`, `val_impostor`: the numbers of pictures, people and pairs
              behind the following metrics, in which every person has the same weight.
            - `val_knn`: share of pictures whose nearest other picture, by cosine similarity, shows the same person;
              `val_knn_low` and `val_knn_high`, its 95% interval; `val_knn_chance`, its value for random embeddings.
            - `val_accuracy`, with an interval: balanced accuracy of the pairs at `val_threshold`, the best threshold;
              `val_far` and `val_tar`, the shares of impostor and genuine pairs accepted at this threshold.
            - `val_tar@1e-1`, ...: share of genuine pairs accepted at this false accept rate, and
              `val_threshold@1e-2`, ..., the threshold.
            - `cosine`: mean cosine similarity of pairs of held-out pictures, or of training pictures if there are none.
            - `val_rank`: effective rank of the embeddings, from 1 to the smaller of their number and dimension.
            - `val_alignment`, `val_uniformity` and `val_top1`, the share of random views whose nearest view is of the
              same picture; only if the task makes two views.
            - For each list of pairs that is due, such as `lfw`: `lfw_accuracy` (k-fold), `lfw_auc` and `lfw_threshold`,
              the best threshold; `benchmark_accuracy`, the mean over several lists if all are due.
        """
        sets = self._sets
        due = [pairs for pairs in sets.benchmarks if epoch % pairs.every == 0]
        new_people, known_people, *listed = (
            self._embed(faces, task, device, stop)
            for faces in (sets.new_people, sets.known_people, *(pairs.faces for pairs in due))
        )
        watched = new_people or known_people or self._embed(_sample_faces(sets.train), task, device, stop)
        if any(max_over_processes(device, stop.flag.value)):
            return {}
        row = {} if encoder_only else task.measure(self._to_measure(task, new_people), known_people)
        if world_size()[0]:
            return row
        if watched is not None and len(watched.embeddings) > 1:
            row = {COSINE: mean_cosine(watched.embeddings.cpu().numpy()), **row}
        if new_people is not None:
            rows = new_people.embeddings.cpu().numpy()
            if len(self._measurable):
                row |= measure_people(rows[self._measurable], new_people.labels.cpu().numpy()[self._measurable])
            row[RANK] = effective_rank(rows)
        if new_people is not None and task.views == 2:
            first, second = self._embed_views(task, device)
            row["val_alignment"] = alignment(first, second)
            row["val_uniformity"] = uniformity(first)
            row[TOP1] = views_top1(first, second)
        for pairs, seen in zip(due, listed, strict=True):
            row |= _measure_pairs(pairs, seen) if seen is not None else {}
        if 1 < len(due) == len(sets.benchmarks):
            row[accuracy_column(BENCHMARK)] = float(np.mean([row[accuracy_column(pairs.name)] for pairs in due]))
        return row

    def _to_measure(self, task: TaskModule, new_people: ValidationEmbeddings | None) -> ValidationEmbeddings | None:
        return new_people if len(self._measurable) or not task.measures_people else None

    def _embed(
        self, faces: JoinedFaces | None, task: TaskModule, device: torch.device, stop: StopRequest
    ) -> ValidationEmbeddings | None:
        if faces is None:
            return None
        embeddings = embed_on_all_processes(task.result, faces, np.arange(len(faces)), device, stop)
        if not embeddings.isfinite().all():  # Finite but huge weights overflow inside the network.
            raise ModelError(
                "the encoder produced NaN or infinite embeddings after this epoch; training diverged: lower --lr"
            )
        return ValidationEmbeddings(embeddings, torch.from_numpy(faces.labels).to(device))

    @torch.inference_mode()
    def _embed_views(self, task: TaskModule, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeds two random views of some faces, the same views in every epoch."""
        faces = self._sets.new_people
        if faces is None:
            raise ValueError("there are no held-out faces of new people")
        some = np.linspace(0, len(faces) - 1, min(_VIEW_PICTURES, len(faces))).round().astype(np.int64)
        chance = random_uniform(len(some), 2, task.augment.draws, torch.Generator().manual_seed(0))
        parts = []
        for start in range(0, len(some), _BATCH):
            block = slice(start, start + _BATCH)
            crops = torch.from_numpy(faces.crops(some[block])).to(device)
            embeddings = task.result(make_views(task.augment, crops, chance[block])).float().cpu().numpy()
            parts.append(np.stack(np.split(embeddings, 2)))
        first, second = np.concatenate(parts, axis=1)
        return first, second


def _sample_faces(faces: JoinedFaces) -> JoinedFaces:
    return faces.take(np.linspace(0, len(faces) - 1, min(_SAMPLE_SIZE, len(faces))).round().astype(np.int64))


def calibration_of(row: Mapping[str, float]) -> Calibration | None:
    """Builds the calibration of the encoder from the metrics of an epoch.

    It has the best threshold, and the thresholds of the lower false accept rates for which there are enough pairs of
    people. A decision uses the threshold nearest to a FAR of 0.001.

    Args:
        row: The metrics of the epoch.

    Returns:
        The calibration; None if there are too few people.
    """
    if row.get(_PEOPLE, 0) < FEWEST_FOR_THRESHOLD:
        return None
    people = int(row[_PEOPLE])
    points = [FarPoint(far=row[_FAR], threshold=row[_THRESHOLD], tar=row[_TAR])]
    for name, far in _STRICT.items():
        if far * people * (people - 1) / 2 >= _MIN_ACCEPTED_PAIRS and f"val_threshold@{name}" in row:
            threshold, tar = row[f"val_threshold@{name}"], row[f"{_TAR}@{name}"]
            points.append(FarPoint(far=far, threshold=threshold, tar=tar))
    return Calibration(
        points=tuple(sorted(points, key=lambda point: -point.far)),
        source=f"all pairs of {int(row[_PICTURES])} pictures of {people} people held out from training",
    )


def measure_people(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> Row:
    """Measures recognition, with the same weight for every person.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row; all people have two or more rows. Shape: (N,).

    Returns:
        The metrics from `val_pictures` to `val_threshold@1e-3` of `Validation.measure`.
    """
    # Sorted by person, so that a limited number of faces contains all pictures of each person except the last.
    some = np.argsort(labels, kind="stable")[:_MAX_PAIRED_FACES]
    some = some[np.bincount(labels[some])[labels[some]] > 1]
    found = measure_recognition(embeddings[some], labels[some], tuple(_FARS.values()))
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


def _measure_pairs(pairs: ListedPairs, seen: ValidationEmbeddings) -> Row:
    """Measures verification of the listed pairs. In the accuracy, pairs with a missing picture count as errors."""
    embeddings, missing = seen.embeddings.cpu().numpy(), pairs.missing
    scores = np.zeros(len(missing))
    scores[~missing] = cosine_scores(embeddings[pairs.left[~missing]], embeddings[pairs.right[~missing]])
    folds = min(_FOLDS, int(pairs.same.sum()), int((~pairs.same).sum()))
    return {
        accuracy_column(pairs.name): k_fold_accuracy(scores, pairs.same, folds, missing).mean,
        f"{pairs.name}_auc": auc(scores[~missing], pairs.same[~missing]),
        f"{pairs.name}_threshold": best_threshold(scores[~missing], pairs.same[~missing]),
    }


def accuracy_column(name: str) -> str:
    """Returns the column of the history with the accuracy on a list of pairs."""
    return f"{name}_accuracy"


def find_measurable_rows(faces: JoinedFaces) -> NDArray[np.int64]:
    """Returns the rows of people with two or more pictures; see `find_measurable_labels`."""
    return find_measurable_labels(faces.labels)


def find_measurable_labels(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the rows of people with two or more rows; none if there are fewer than `FEWEST_PEOPLE`.

    Args:
        labels: The person of each row; -1 if unknown. Shape: (N,).
    """
    counts = np.bincount(labels[labels >= 0], minlength=1)
    if (counts > 1).sum() < FEWEST_PEOPLE:
        return np.empty(0, np.int64)
    return np.flatnonzero((labels >= 0) & (counts[labels] > 1))


@torch.inference_mode()
def embed_faces(
    network: EncoderNetwork, faces: JoinedFaces, pictures: NDArray[np.int64], device: torch.device, stop: StopRequest
) -> Tensor:
    """Embeds pictures without normalization, and leaves the network in evaluation mode.

    Returns:
        Embeddings, float32, on the device; zeros for pictures not embedded before a stop request. Shape: (N, D).
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
    """Embeds pictures like `embed_faces`, shared among all processes. Each process gets all embeddings: (N, D)."""
    rank, processes = world_size()
    if processes > 1:
        # On CPUs each process has its own running averages of batch norms; the encoder uses those of rank 0.
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
    size = -(-len(pictures) // processes)
    # Shares have equal length, so the last process may repeat pictures from the start.
    own = pictures[np.arange(rank * size, (rank + 1) * size) % len(pictures)]
    return all_gather_labels(embed_faces(network, faces, own, device, stop))[: len(pictures)]
