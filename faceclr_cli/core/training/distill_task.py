"""The distillation task: a student learns to embed as a teacher does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.datasets.samplers import shuffled_batches
from faceclr_cli.core.encoders.heads import embedding_layer
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.losses.distillation import DistillationLoss
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.task import LossAndMetrics, TaskModule, ValidationEmbeddings, make_views
from faceclr_cli.core.training.teacher import TeacherEmbeddings, ViewTeacher
from faceclr_cli.core.training.validation import find_measurable_labels, measure_people
from faceclr_cli.core.views.augmentation import Views

_NEIGHBORS = 5
_RECOGNITION = ("knn", "accuracy", "threshold", "tar@1e-2", "tar@1e-3")


class DistillTask(TaskModule):
    """Embeddings of augmented views are attracted to the teacher's embedding of the clean face, or of the same view.

    If both see the same view, the student learns the teacher's function instead of a table of its answers (Beyer et al.
    2022, arXiv 2106.05237).

    The mean of the teacher's embeddings of the training faces is subtracted from its embeddings. A student that is
    unsure of a face embeds it close to the mean of its targets. Without the subtraction, such faces are similar to each
    other, whoever they show.

    Args:
        config: The options.
        encoder: The student.
        views: The augmentation.
        teacher: The teacher's embeddings of the clean faces.
    """

    command = "distill"
    views = 1
    measures_people = False

    def __init__(
        self, config: DistillConfig, encoder: EncoderNetwork, views: Views, teacher: TeacherEmbeddings
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.augment = views
        self.pictures = np.arange(len(teacher.train))
        self.loss = DistillationLoss(config.relation)
        own, wanted = encoder.architecture.embedding_dim, teacher.train.shape[1]
        self.projection = nn.Identity() if own == wanted else embedding_layer(own, wanted)
        self.targets: Tensor
        self.mean: Tensor
        self.held_out: Tensor | None
        held_out = None if teacher.held_out is None else torch.from_numpy(teacher.held_out)
        mean = torch.from_numpy(teacher.train.mean(axis=0, dtype=np.float64).astype(np.float32))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("targets", self._center(torch.from_numpy(teacher.train)), persistent=False)
        self.register_buffer("held_out", held_out, persistent=False)
        self._view_teachers: Sequence[ViewTeacher] | None = None
        self._teacher_row: Row | None = None

    def local_names(self) -> set[str]:
        """Returns the teacher's embeddings, which are the same on all processes."""
        return {"targets", "mean", "held_out"}

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns all pictures in random order. See `TaskModule.batches`."""
        config = self.config
        return shuffled_batches(len(self.pictures), config.batch_size, seed=config.seed, epoch=epoch)

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """See `TaskModule.forward`."""
        del labels
        views = make_views(self.augment, crops, chance)
        wanted = self._embed_views(views) if self.config.teacher_views else self.targets[pictures]
        outcome: LossAndMetrics = self.loss(self.projection(self.encoder(views)), wanted)
        return outcome

    def _embed_views(self, views: Tensor) -> Tensor:
        """Embeds the student's views with the teachers. Shape: (B, 3, S, S) -> (B, D)."""
        if self._view_teachers is None:  # The device of the task is known only now.
            self._view_teachers = [ViewTeacher(model, views.device) for model in self.config.teacher]
        parts = [teacher.embed(views) for teacher in self._view_teachers]
        return self._center(torch.cat(parts, dim=1) / math.sqrt(len(parts)))

    def _center(self, embeddings: Tensor) -> Tensor:
        """Subtracts the mean of the teacher's embeddings of the training faces, and normalizes the rest."""
        return F.normalize(embeddings - self.mean, dim=1)

    def collapsed_loss(self, batch: int) -> float:
        """See `TaskModule.collapsed_loss`. The best single embedding is the mean of the teacher's."""
        some = self.targets[:batch].float()
        similar = some @ some.T
        return float(1 - some.mean(dim=0).norm() + self.config.relation * (1 - similar).square().mean())

    @torch.no_grad()
    def measure(self, new_people: ValidationEmbeddings | None, known_people: ValidationEmbeddings | None) -> Row:
        """Returns the agreement with the teacher on held-out faces: loss, mean cosine and share of common neighbors.

        If enough of the faces have names, also how well the teacher recognizes these people: `teacher_knn`,
        `teacher_accuracy`, `teacher_threshold`, `teacher_tar@1e-2` and `teacher_tar@1e-3`, in addition to the
        student's `val_knn` and so on.
        """
        del known_people
        if new_people is None or self.held_out is None:
            return {}
        student = F.normalize(self.projection(new_people.embeddings).float(), dim=1)
        wanted = self._center(self.held_out)
        cosines = (student * wanted).sum(dim=1).double().cpu().numpy()
        mean, spread = float(cosines.mean()), 1.96 * float(cosines.std()) / len(cosines) ** 0.5
        row = {
            "val_loss": 1 - mean,
            "val_cosine": mean,
            "val_cosine_low": mean - spread,
            "val_cosine_high": mean + spread,
        }
        if len(cosines) > _NEIGHBORS:
            own, theirs = (_neighbors(rows) for rows in (student, self.held_out))
            common = (own[:, :, None] == theirs[:, None, :]).any(dim=2).double().mean()
            row["val_neighbors"] = float(common)
        return row | self._recognition_by_teacher(new_people.labels, self.held_out)

    def _recognition_by_teacher(self, labels: Tensor, held_out: Tensor) -> Row:
        if self._teacher_row is None:
            people = labels.cpu().numpy()
            rows = find_measurable_labels(people)
            found = measure_people(held_out.cpu().numpy()[rows], people[rows]) if len(rows) else {}
            self._teacher_row = {
                f"teacher_{name}": found[f"val_{name}"] for name in _RECOGNITION if f"val_{name}" in found
            }
        return self._teacher_row


def _neighbors(rows: Tensor) -> Tensor:
    """Returns the nearest other rows of each row. Shape: (N, D) -> (N, k)."""
    similar = rows @ rows.T
    similar.fill_diagonal_(-torch.inf)
    return similar.topk(_NEIGHBORS, dim=1).indices
