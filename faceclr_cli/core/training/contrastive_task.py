"""Learning without labels: SimCLR and MoCo. Both make two views of a picture and want them alike."""

from __future__ import annotations

import copy
import math
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.datasets.samplers import shuffled_batches, weighted_batches
from faceclr_cli.core.encoders.heads import projection_head
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.losses.moco_queue import QueueContrast
from faceclr_cli.core.losses.nt_xent import NTXent
from faceclr_cli.core.training.task import Outcome, TaskModule, in_full_precision
from faceclr_cli.core.views.augmentation import FaceViews, SimCLRViews, Views

_LAYERS = {"none": 0, "1": 1, "2": 2, "3": 3}


def build_views(config: PretrainConfig, size: int) -> Views:
    """The random views that a config asks for, `size` pixels wide."""
    if config.augment == "faces":
        return FaceViews(size=size, operations=config.operations, magnitude=config.magnitude)
    return SimCLRViews(
        size=size,
        crop_scale=config.crop_scale,
        jitter=config.jitter,
        hue=config.hue,
        gray=config.gray,
        blur=config.blur,
        rotate=config.rotate,
        light=config.light,
    )


class _Contrastive(TaskModule):
    """What both methods have: two views of all pictures, in random order.

    The embedding layer stays the random projection that it is at first, so that embeddings are as the backbone's
    features are. If it learned, it would give up what the loss has no use for, as the head does, which is thrown away
    for that reason (arXiv 2002.05709, section 4.2): the more so, the nearer the loss is.
    """

    command = "pretrain"
    views = 2

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, sources: NDArray[np.int64]) -> None:
        super().__init__()
        self.config = config
        self.sources = sources
        self.pictures = np.arange(len(sources))
        self.encoder = encoder
        self.encoder.embedding.requires_grad_(False)
        self.augment = build_views(config, encoder.architecture.image_size)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """All pictures in random order, or folders in their shares."""
        config = self.config
        if config.shares:
            return weighted_batches(self.sources, config.shares, config.batch_size, seed=config.seed, epoch=epoch)
        return shuffled_batches(len(self.sources), config.batch_size, seed=config.seed, epoch=epoch)

    def _blind(self, candidates: int) -> float:
        """The loss where the positive and all other candidates are equally similar, but for the margin."""
        margin = self.config.margin / self.config.temperature
        itself = 0.0 if self.config.loss == "dcl" else math.exp(-margin)
        return margin + math.log(max(1.0, candidates - 1 + itself))


class SimCLRTask(_Contrastive):
    """Two random views of a picture are to be nearer to each other than to those of others (arXiv 2002.05709)."""

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, sources: NDArray[np.int64]) -> None:
        super().__init__(config, encoder, sources)
        self.head = projection_head(encoder.architecture.embedding_dim, config.projection_dim, _LAYERS[config.head])
        self.loss = NTXent(config.temperature, margin=config.margin, decoupled=config.loss == "dcl")

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """One step on the part of a batch that this process has.

        Args:
            crops: RGB, 0-255, uint8. Shape: (B, S, S, 3).
            labels: Ignored.
            pictures: Ignored.
            chance: See `chances`. Shape: (B, 2, draws of a view).
        """
        del labels, pictures
        first, second = self.head(self.encoder(in_full_precision(self.augment, crops, chance))).chunk(2)
        outcome: Outcome = self.loss(first, second)
        return outcome

    def blind_loss(self, batch: int) -> float:
        """The loss of an encoder to which all pictures of a batch look the same."""
        return self._blind(2 * batch - 1)


class MoCoTask(_Contrastive):
    """A view is to be nearer to another of its picture than to those of former batches (arXiv 1911.05722).

    The other view passes through the key encoder, a moving average of the encoder, and waits in a queue as
    a negative for later batches: so there are many negatives without a large batch.

    - The momentum of the average rises from 0.1 to the config's: the encoder of the first steps is soon forgotten.
    - The key encoder's batch norms use running averages, those of the encoder averaged likewise (arXiv 2101.08482):
      by the statistics of a common batch a view could tell its twin. For the same reason the head has none.
    """

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, sources: NDArray[np.int64]) -> None:
        super().__init__(config, encoder, sources)
        width, layers = encoder.architecture.embedding_dim, _LAYERS[config.head]
        self.head = projection_head(width, config.projection_dim, layers, batch_norm=False)
        self.loss = QueueContrast(
            config.projection_dim if layers else width,
            config.queue,
            config.temperature,
            margin=config.margin,
            decoupled=config.loss == "dcl",
        )
        self.key_encoder = copy.deepcopy(nn.Sequential(self.encoder, self.head)).requires_grad_(False).eval()
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def local_names(self) -> set[str]:
        """The queue: the same keys enter it everywhere.

        Not the averages in the key encoder's batch norms. They follow those of the encoder, which on CPUs each process
        has its own of until the next step, and where batches are accumulated until the one after several.
        """
        return {f"loss.{name}" for name, _ in self.loss.named_buffers()}

    def train(self, mode: bool = True) -> Self:
        """As every module's, but the key encoder never trains."""
        super().train(mode)
        self.key_encoder.eval()
        return self

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> Outcome:
        """One step on the part of a batch that this process has; see `SimCLR.forward`. Queries are the first views."""
        del labels
        self._follow()
        first, second = in_full_precision(self.augment, crops, chance).chunk(2)
        with torch.no_grad():
            keys = self.key_encoder(second)
        outcome: Outcome = self.loss(self.head(self.encoder(first)), keys, pictures)
        return outcome

    def blind_loss(self, batch: int) -> float:
        """The loss of an encoder to which all pictures look the same, once the queue is full."""
        del batch
        return self._blind(self.config.queue)

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the key encoder towards the encoder."""
        momentum = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.config.momentum)
        keys, queries = self.key_encoder.state_dict(), nn.Sequential(self.encoder, self.head).state_dict()
        for name, key in keys.items():
            if key.is_floating_point():
                key.lerp_(queries[name].to(key.dtype), (1 - momentum).to(key.dtype))
            else:
                key.copy_(queries[name])
        self.steps += 1
