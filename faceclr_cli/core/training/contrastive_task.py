"""The tasks for training without labels: SimCLR and MoCo."""

from __future__ import annotations

import copy
import math
from typing import Self

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.datasets.samplers import shuffled_batches, weighted_batches
from faceclr_cli.core.encoders.heads import projection_head
from faceclr_cli.core.encoders.network import EncoderNetwork, map_embeddings
from faceclr_cli.core.losses.global_batch import world_size
from faceclr_cli.core.losses.moco_queue import QueueContrast
from faceclr_cli.core.losses.nt_xent import NTXent
from faceclr_cli.core.metrics.whitening import fit_whitening
from faceclr_cli.core.training.task import Embedder, LossAndMetrics, TaskModule, make_views
from faceclr_cli.core.views.augmentation import FaceViews, SimCLRViews, Views
from faceclr_cli.core.views.head_views import HeadViews

_WHITENING_PICTURES = 4096  # Estimating the covariance of 512 dimensions needs several times as many pictures.
_LAYERS = {"none": 0, "1": 1, "2": 2, "3": 3}


def build_views(config: PretrainConfig, size: int) -> Views:
    """Builds the augmentation that a config asks for, with views of `size` pixels."""
    if config.is_computed:
        return HeadViews(
            size=size, operations=0, magnitude=0, turn=config.turn, relight=0, cast=0, occlude=0, degrade=0
        )
    if config.augment == "faces":
        return FaceViews(size=size, operations=config.operations, magnitude=config.magnitude)
    if config.augment == "heads":
        return HeadViews(
            size=size,
            operations=config.operations,
            magnitude=config.magnitude,
            turn=config.turn,
            relight=config.relight,
            cast=config.cast,
            occlude=config.occlude,
            degrade=config.degrade,
        )
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


class _ContrastiveTask(TaskModule):
    """Base class of both methods: two views of every picture, in random order.

    The embedding layer is frozen at its random initialization, so that embeddings keep the information in the features
    of the backbone. If trained, it would discard information that the loss does not need, as the projection head does,
    which is removed after training for that reason (arXiv 2002.05709, section 4.2). A batch norm of a frozen embedding
    head keeps its running averages.
    """

    command = "pretrain"
    views = 2
    matrix: Tensor
    mean: Tensor

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, sources: NDArray[np.int64]) -> None:
        super().__init__()
        self.config = config
        self.sources = sources
        self.pictures = np.arange(len(sources))
        self.encoder = encoder
        self.encoder.embedding.requires_grad_(False)
        self.augment = build_views(config, encoder.architecture.image_size)
        self.is_whitened = False
        dim = encoder.architecture.embedding_dim
        self.register_buffer("matrix", torch.eye(dim), persistent=False)
        self.register_buffer("mean", torch.zeros(dim), persistent=False)

    @property
    def whitens(self) -> bool:
        """True if the embeddings of the result are whitened.

        An encoder in `--init` keeps its embedding layer, and the heads of networks for faces are not linear.
        """
        is_new = not self.config.starts_from_encoder
        return is_new and self.config.whiten > 0 and isinstance(self.encoder.embedding, nn.Linear)

    @property
    def result(self) -> EncoderNetwork:
        """The encoder with whitened embeddings, after the first epoch. See `TaskModule.result`."""
        return map_embeddings(self.encoder, self.matrix, self.mean) if self.is_whitened else self.encoder

    def end_epoch(self, embed: Embedder) -> None:
        """Fits the whitening to an even selection of the training pictures. See `TaskModule.end_epoch`."""
        if not self.whitens:
            return
        some = np.linspace(0, len(self.pictures) - 1, min(_WHITENING_PICTURES, len(self.pictures))).round()
        self._fit_whitening(embed(self.pictures[some.astype(np.int64)]))

    def whiten(self, embeddings: Tensor) -> Tensor:
        """Whitens embeddings of the training pictures by their own statistics, if the result is to be whitened."""
        if not self.whitens:
            return embeddings
        self._fit_whitening(embeddings)
        return (embeddings - self.mean) @ self.matrix

    def _fit_whitening(self, embeddings: Tensor) -> None:
        """Fits the whitening to embeddings of shape (N, D), with the same result on all processes."""
        if not embeddings.isfinite().all():
            return  # The validation reports the error.
        matrix, mean = fit_whitening(embeddings.float().cpu().numpy(), self.config.whiten)
        self.matrix.copy_(torch.from_numpy(matrix))
        self.mean.copy_(torch.from_numpy(mean))
        if world_size()[1] > 1:
            # Processes on different machines may round differently, but must use the same values.
            dist.broadcast(self.matrix, 0)
            dist.broadcast(self.mean, 0)
        self.is_whitened = True

    def local_names(self) -> set[str]:
        """Returns the buffers of the whitening, which are the same on all processes."""
        return {"matrix", "mean"}

    def train(self, mode: bool = True) -> Self:
        """Sets the training mode; the embedding head stays in evaluation mode."""
        super().train(mode)
        self.encoder.embedding.eval()
        return self

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns all pictures in random order, or a mix of the folders if the config sets their shares."""
        config = self.config
        if config.shares:
            return weighted_batches(self.sources, config.shares, config.batch_size, seed=config.seed, epoch=epoch)
        return shuffled_batches(len(self.sources), config.batch_size, seed=config.seed, epoch=epoch)

    def _uniform_loss(self, candidates: int) -> float:
        """Returns the loss if the positive and all other candidates are equally similar before the margin."""
        margin = self.config.margin / self.config.temperature
        positive = 0.0 if self.config.loss == "dcl" else math.exp(-margin)
        return margin + math.log(max(1.0, candidates - 1 + positive))


class SimCLRTask(_ContrastiveTask):
    """SimCLR: NT-Xent on two random views of each picture in the batch (arXiv 2002.05709)."""

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, sources: NDArray[np.int64]) -> None:
        super().__init__(config, encoder, sources)
        self.head = projection_head(encoder.architecture.embedding_dim, config.projection_dim, _LAYERS[config.head])
        self.loss = NTXent(config.temperature, margin=config.margin, decoupled=config.loss == "dcl")

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """See `TaskModule.forward`."""
        del labels, pictures
        first, second = self.head(self.encoder(make_views(self.augment, crops, chance))).chunk(2)
        outcome: LossAndMetrics = self.loss(first, second)
        return outcome

    def collapsed_loss(self, batch: int) -> float:
        """See `TaskModule.collapsed_loss`."""
        return self._uniform_loss(2 * batch - 1)


class MoCoTask(_ContrastiveTask):
    """MoCo: InfoNCE on two random views of each picture, with negatives from a queue (arXiv 1911.05722).

    The second view passes through the key encoder, a moving average of the encoder. Its key stays in a queue as a
    negative for later batches, which gives many negatives without a large batch. Two details differ from the paper:

    - The momentum of the moving average rises from 0.1 to the value in the config, so that the encoder of the first
      steps loses its influence quickly.
    - The batch norms of the key encoder use running averages, which are moving averages of the encoder's (arXiv
      2101.08482). With batch statistics, a view could identify its positive by the statistics of the batch that both
      share. For the same reason, the projection head has no batch norm.
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
        """Returns the buffers of the queue and of the whitening, which are the same on all processes.

        The running averages of the key encoder are not among them. They follow the encoder's, which differ between
        processes on CPUs until DDP broadcasts them at the next optimizer step.
        """
        return super().local_names() | {f"loss.{name}" for name, _ in self.loss.named_buffers()}

    def train(self, mode: bool = True) -> Self:
        """Sets the training mode; the key encoder stays in evaluation mode."""
        super().train(mode)
        self.key_encoder.eval()
        return self

    def forward(self, crops: Tensor, labels: Tensor, pictures: Tensor, chance: Tensor) -> LossAndMetrics:
        """See `TaskModule.forward`. The first views are the queries."""
        del labels
        self._update_key_encoder()
        first, second = make_views(self.augment, crops, chance).chunk(2)
        with torch.no_grad():
            keys = self.key_encoder(second)
        outcome: LossAndMetrics = self.loss(self.head(self.encoder(first)), keys, pictures)
        return outcome

    def collapsed_loss(self, batch: int) -> float:
        """See `TaskModule.collapsed_loss`. The queue is assumed to be full."""
        del batch
        return self._uniform_loss(self.config.queue)

    @torch.no_grad()
    def _update_key_encoder(self) -> None:
        momentum = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.config.momentum)
        keys, queries = self.key_encoder.state_dict(), nn.Sequential(self.encoder, self.head).state_dict()
        for name, key in keys.items():
            if key.is_floating_point():
                key.lerp_(queries[name].to(key.dtype), (1 - momentum).to(key.dtype))
            else:
                key.copy_(queries[name])
        self.steps += 1
