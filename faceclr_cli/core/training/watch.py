"""A look at held-out faces after each epoch: is each recognised among the others, and do they differ at all?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from faceclr_cli.core.datasets.folder import is_face_folder
from faceclr_cli.core.datasets.joined import JoinedFaces
from faceclr_cli.core.encoders.network import EncoderNetwork, normalise
from faceclr_cli.core.metrics.contrast import alignment, effective_rank, uniformity, views_top1
from faceclr_cli.core.metrics.knn import knn_accuracy
from faceclr_cli.core.training.exactly import chances, exactly
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.stopping import Stop

if TYPE_CHECKING:
    from faceclr_cli.core.training.tasks import Task

NAME, RANK, TOP1 = "val_knn", "val_rank", "val_top1"
_BATCH = 256
_VIEWED = 512  # Pictures of which views are compared: enough to tell epochs apart.


def val_beside(data: Path) -> Path | None:
    """The val part of the split whose train part is given, or None."""
    split, val = data.resolve().parent, data.resolve().with_name("val")
    return val if data.resolve().name == "train" and (split / "split.json").is_file() and is_face_folder(val) else None


class Watch:
    """Faces that training never sees.

    Args:
        faces: What to look at. `val_knn` needs people with two or more pictures.
    """

    def __init__(self, faces: JoinedFaces) -> None:
        self._faces = faces
        self._known = watchable(faces)

    def __len__(self) -> int:
        return len(self._faces)

    @property
    def known(self) -> int:
        """How many of them are of people of whom there are two or more."""
        return len(self._known)

    @torch.inference_mode()
    def look(self, task: Task, device: torch.device, stop: Stop) -> Row | None:
        """Measures the encoder of a task.

        Returns:
            - `val_knn`: share of the faces whose nearest other face, by cosine similarity, is of the same person;
              where there are people with two or more pictures.
            - `val_rank`: effective rank of the embeddings, 1 to the smaller of their number and length.
            - `val_alignment`, `val_uniformity` of random views and `val_top1`, the share of views whose twin is the
              nearest; where the task makes two views.

            None where a signal asked to stop meanwhile.
        """
        network = task.encoder
        network.eval()
        plain = self._embedded(network, device, stop)
        if plain is None:
            return None
        row: Row = {NAME: knn_accuracy(plain[self._known], self._faces.labels[self._known])} if self.known else {}
        row[RANK] = effective_rank(plain)
        if task.views == 2:
            first, second = self._viewed(task, device)
            row["val_alignment"] = alignment(first, second)
            row["val_uniformity"] = uniformity(first)
            row[TOP1] = views_top1(first, second)
        return row

    def _embedded(self, network: EncoderNetwork, device: torch.device, stop: Stop) -> NDArray[np.float32] | None:
        parts = []
        for start in range(0, len(self._faces), _BATCH):
            if stop.requested():
                return None
            crops = torch.from_numpy(self._faces.crops(np.arange(start, min(start + _BATCH, len(self._faces)))))
            pictures = normalise(crops.to(device), network.architecture.image_size)
            parts.append(network(pictures).float().cpu().numpy())
        return np.concatenate(parts)

    def _viewed(self, task: Task, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings of two views of some of the faces, the same views each time."""
        some = np.linspace(0, len(self._faces) - 1, min(_VIEWED, len(self._faces))).round().astype(np.int64)
        chance = chances(len(some), 2, task.augment.draws, torch.Generator().manual_seed(0))
        parts = []
        for start in range(0, len(some), _BATCH):
            block = slice(start, start + _BATCH)
            crops = torch.from_numpy(self._faces.crops(some[block])).to(device)
            embeddings = task.encoder(exactly(task.augment, crops, chance[block])).float().cpu().numpy()
            parts.append(np.stack(np.split(embeddings, 2)))
        first, second = np.concatenate(parts, axis=1)
        return first, second


def watchable(faces: JoinedFaces) -> NDArray[np.int64]:
    """Pictures of people of whom there are two or more; none if that is one person only. Shape: (M,)."""
    counts = np.bincount(faces.labels[faces.labels >= 0], minlength=1)
    if (counts > 1).sum() < 2:
        return np.empty(0, np.int64)
    return np.flatnonzero((faces.labels >= 0) & (counts[faces.labels] > 1))
