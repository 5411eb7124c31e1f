"""What is learned: three tasks. Each is one module that owns the encoder, its head and its loss.

So DDP wraps all that learns, and the loop knows none of them. A task also says which pictures make the
batches of an epoch, since that depends on what its loss needs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.configs.train import CenterConfig, PretrainConfig, TrainConfig, TripletConfig
from faceclr_cli.core.datasets.augment import Augmentation
from faceclr_cli.core.datasets.samplers import people_batches, shuffled_batches
from faceclr_cli.core.encoders.heads import projection_head
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.losses.center import CenterLoss
from faceclr_cli.core.losses.nt_xent import NTXent
from faceclr_cli.core.losses.triplet import TripletLoss

Outcome = tuple[Tensor, dict[str, Tensor]]
"""The loss, a scalar with gradients, and named scalars without."""


class SimCLR(nn.Module):
    """Two random views of a picture are to be nearer to each other than to those of others (arXiv 2002.05709)."""

    command = "pretrain"

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, labels: NDArray[np.int64]) -> None:
        super().__init__()
        self.config = config
        self.pictures = np.arange(len(labels))
        self.encoder = encoder
        self.head = projection_head(config.embedding_dim, config.projection_dim, config.projection_layers)
        self.loss = NTXent(config.temperature)
        self.augment = Augmentation(
            size=encoder.architecture.image_size,
            crop_scale=config.crop_scale,
            jitter=config.jitter,
            hue=config.hue,
            grey=config.grey,
            blur=config.blur,
            rotate=config.rotate,
            light=config.light,
        )

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """All pictures in random order."""
        return shuffled_batches(len(self.pictures), self.config.batch_size, seed=self.config.seed, epoch=epoch)

    def forward(self, crops: Tensor, labels: Tensor, generator: torch.Generator) -> Outcome:
        """One step on the part of a batch that this process has; labels are ignored."""
        del labels
        views = _exactly(crops, lambda: self.augment(torch.cat([crops, crops]), generator))
        first, second = self.head(self.encoder(views)).chunk(2)
        outcome: Outcome = self.loss(first, second)
        return outcome


class Triplet(nn.Module):
    """A face is to be nearer to another of the same person than to those of other people (arXiv 1503.03832)."""

    command = "train-triplet"

    def __init__(self, config: TripletConfig, encoder: EncoderNetwork, labels: NDArray[np.int64]) -> None:
        super().__init__()
        self.config = config
        self.labels = labels
        self.pictures = _labelled(labels, self.command)
        self.encoder = encoder
        self.loss = TripletLoss(config.margin, config.mining)
        self.augment = _lightly(encoder)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Some people with some pictures of each."""
        config = self.config
        return people_batches(self.labels, config.batch_size, config.pictures, seed=config.seed, epoch=epoch)

    def forward(self, crops: Tensor, labels: Tensor, generator: torch.Generator) -> Outcome:
        """One step on the part of a batch that this process has."""
        views = _exactly(crops, lambda: self.augment(crops, generator))
        outcome: Outcome = self.loss(self.encoder(views), labels)
        return outcome


class Center(nn.Module):
    """Tell people apart, and keep the faces of each close together (Wen et al. 2016)."""

    command = "train-center"

    def __init__(self, config: CenterConfig, encoder: EncoderNetwork, labels: NDArray[np.int64]) -> None:
        super().__init__()
        self.config = config
        self.pictures = _labelled(labels, self.command)
        people = int(labels.max()) + 1
        if people < 2:
            raise DataError("one person alone cannot be told apart: train-center needs faces of two people or more")
        self.encoder = encoder
        self.classifier = nn.Linear(config.embedding_dim, people)
        self.center = CenterLoss(people, config.embedding_dim, config.center_lr)
        self.augment = _lightly(encoder)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """All pictures of people with a name, in random order."""
        count, config = len(self.pictures), self.config
        batches = shuffled_batches(count, config.batch_size, seed=config.seed, epoch=epoch)
        return [self.pictures[batch] for batch in batches]

    def forward(self, crops: Tensor, labels: Tensor, generator: torch.Generator) -> Outcome:
        """One step on the part of a batch that this process has."""
        views = _exactly(crops, lambda: self.augment(crops, generator))
        embeddings = self.encoder(views)
        scores = self.classifier(embeddings).float()
        loss = F.cross_entropy(scores, labels)
        center_loss, metrics = self.center(embeddings, labels)
        accuracy = (scores.detach().argmax(dim=1) == labels).float().mean()
        return loss + self.config.center_weight * center_loss, {"accuracy": accuracy, **metrics}


Task = SimCLR | Triplet | Center

TASKS: dict[type[TrainConfig], type[SimCLR] | type[Triplet] | type[Center]] = {
    PretrainConfig: SimCLR,
    TripletConfig: Triplet,
    CenterConfig: Center,
}


def build_task(config: TrainConfig, encoder: EncoderNetwork, labels: NDArray[np.int64]) -> Task:
    """The task that a config asks for.

    Args:
        config: Of one of the three trainers.
        encoder: What is to be trained; its architecture must be the config's.
        labels: The person of each picture, -1 where nobody knows. Shape: (N,).

    Raises:
        DataError: The task needs people, and the pictures don't show enough of them.
    """
    return TASKS[type(config)](config, encoder, labels)  # type: ignore[arg-type]


def _labelled(labels: NDArray[np.int64], command: str) -> NDArray[np.int64]:
    pictures = np.flatnonzero(labels >= 0)
    if not len(pictures):
        raise DataError(f"{command} needs to know who is who, and no face here has a name; pretrain needs no names")
    return pictures


def _lightly(encoder: EncoderNetwork) -> Augmentation:
    """Where people are known, pictures need little change: mirroring, a slight crop, other light."""
    return Augmentation(
        size=encoder.architecture.image_size, crop_scale=0.9, jitter=0.2, hue=0.02, grey=0.0, blur=0.0, rotate=0.0
    )


def _exactly(crops: Tensor, augment: Callable[[], Tensor]) -> Tensor:
    """Augments in float32 also under autocast, in which matrices of colours and maps would lose digits."""
    with torch.autocast(crops.device.type, enabled=False):
        return augment()
