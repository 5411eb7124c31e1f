"""A look at faces of other people after each epoch: is each recognised among all the others?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from faceclr_cli.core.datasets.folder import is_face_folder
from faceclr_cli.core.datasets.packed import PackedFaces
from faceclr_cli.core.encoders.network import EncoderNetwork, normalise
from faceclr_cli.core.metrics.knn import knn_accuracy
from faceclr_cli.core.training.stopping import Stop

NAME = "val_knn"
_BATCH = 256


def val_beside(data: Path) -> Path | None:
    """The val part of the split whose train part is given, or None."""
    split, val = data.resolve().parent, data.resolve().with_name("val")
    return val if data.resolve().name == "train" and (split / "split.json").is_file() and is_face_folder(val) else None


class Watch:
    """Faces of people whom training never sees.

    Args:
        faces: Those of people with two or more pictures are used.
    """

    def __init__(self, faces: PackedFaces) -> None:
        self._faces = faces
        self._chosen = watchable(faces)

    def __len__(self) -> int:
        return len(self._chosen)

    @torch.inference_mode()
    def accuracy(self, network: EncoderNetwork, device: torch.device, stop: Stop) -> float | None:
        """Share of the faces whose nearest other face, by cosine similarity, is of the same person.

        Returns:
            0 to 1, or None where a signal asked to stop meanwhile.
        """
        network.eval()
        parts = []
        for start in range(0, len(self._chosen), _BATCH):
            if stop.requested():
                return None
            crops = torch.from_numpy(self._faces.crops[self._chosen[start : start + _BATCH]])
            pictures = normalise(crops.to(device), network.architecture.image_size)
            parts.append(network(pictures).float().cpu().numpy())
        return knn_accuracy(np.concatenate(parts), self._faces.labels[self._chosen])


def watchable(faces: PackedFaces) -> NDArray[np.int64]:
    """Pictures of people of whom there are two or more. Shape: (M,)."""
    counts = np.bincount(faces.labels[faces.labels >= 0], minlength=1)
    return np.flatnonzero((faces.labels >= 0) & (counts[faces.labels] > 1))
