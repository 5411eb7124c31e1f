"""What is learned. Each task is one module that owns the encoder, its head and its loss.

So DDP wraps all that learns, and the loop knows none of them. A task also says which pictures make the
batches of an epoch, since that depends on what its loss needs, and how many views of each picture it sees.
"""

from __future__ import annotations

import math

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import CenterConfig, TrainConfig, TripletConfig
from faceclr_cli.core.datasets.augment import SimCLRViews
from faceclr_cli.core.datasets.joined import JoinedFaces
from faceclr_cli.core.datasets.samplers import people_batches, shuffled_batches
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.losses.center import CenterLoss
from faceclr_cli.core.losses.triplet import TripletLoss
from faceclr_cli.core.training.contrastive import MoCo, Outcome, SimCLR
from faceclr_cli.core.training.exactly import exactly


class Triplet(nn.Module):
    """A face is to be nearer to another of the same person than to those of other people (arXiv 1503.03832)."""

    command = "train-triplet"
    views = 1

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

    def blind_loss(self, batch: int) -> float:
        """The loss of an encoder to which everybody looks the same."""
        del batch
        return self.config.margin

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """One step on the part of a batch that this process has."""
        del pictures
        outcome: Outcome = self.loss(self.encoder(exactly(self.augment, crops, chance)), labels)
        return outcome


class Center(nn.Module):
    """Tell people apart, and keep the faces of each close together (Wen et al. 2016)."""

    command = "train-center"
    views = 1

    def __init__(self, config: CenterConfig, encoder: EncoderNetwork, labels: NDArray[np.int64]) -> None:
        super().__init__()
        self.config = config
        self.pictures = _labelled(labels, self.command)
        people = int(labels.max()) + 1
        if people < 2:
            raise DataError("one person alone cannot be told apart: train-center needs faces of two people or more")
        width = encoder.architecture.embedding_dim
        self.encoder = encoder
        self.classifier = nn.Linear(width, people)
        self.center = CenterLoss(people, width, config.center_lr)
        self.augment = _lightly(encoder)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """All pictures of people with a name, in random order."""
        count, config = len(self.pictures), self.config
        batches = shuffled_batches(count, config.batch_size, seed=config.seed, epoch=epoch)
        return [self.pictures[batch] for batch in batches]

    def blind_loss(self, batch: int) -> float:
        """The loss of an encoder to which everybody looks the same."""
        del batch
        return math.log(self.classifier.out_features)

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """One step on the part of a batch that this process has."""
        del pictures
        embeddings = self.encoder(exactly(self.augment, crops, chance))
        scores = self.classifier(embeddings).float()
        loss = F.cross_entropy(scores, labels)
        center_loss, metrics = self.center(embeddings, labels)
        accuracy = (scores.detach().argmax(dim=1) == labels).float().mean()
        return loss + self.config.center_weight * center_loss, {"accuracy": accuracy, **metrics}


Task = SimCLR | MoCo | Triplet | Center

COMMANDS: dict[type[TrainConfig], str] = {
    PretrainConfig: SimCLR.command,
    TripletConfig: Triplet.command,
    CenterConfig: Center.command,
}


def build_task(config: TrainConfig, encoder: EncoderNetwork, faces: JoinedFaces) -> Task:
    """The task that a config asks for.

    Args:
        config: Of one of the three trainers.
        encoder: What is to be trained; its architecture must be the config's.
        faces: What it is to be trained on.

    Raises:
        DataError: The task needs people, and the pictures don't show enough of them.
    """
    match config:
        case PretrainConfig(method="moco"):
            return MoCo(config, encoder, faces.sources)
        case PretrainConfig():
            return SimCLR(config, encoder, faces.sources)
        case TripletConfig():
            return Triplet(config, encoder, faces.labels)
        case CenterConfig():
            return Center(config, encoder, faces.labels)
    raise TypeError(f"{type(config).__name__} is no config of a trainer")


def _labelled(labels: NDArray[np.int64], command: str) -> NDArray[np.int64]:
    pictures = np.flatnonzero(labels >= 0)
    if not len(pictures):
        raise DataError(f"{command} needs to know who is who, and no face here has a name; pretrain needs no names")
    return pictures


def _lightly(encoder: EncoderNetwork) -> SimCLRViews:
    """Where people are known, pictures need little change: mirroring, a slight crop, other light."""
    return SimCLRViews(
        size=encoder.architecture.image_size, crop_scale=0.9, jitter=0.2, hue=0.02, grey=0.0, blur=0.0, rotate=0.0
    )
