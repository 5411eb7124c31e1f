"""The task for `pretrain --backbone lpq`: the embedding layer is computed from unlabeled faces, without training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.metrics.discriminants import fit_discriminants
from faceclr_cli.core.training.batch_supply import BatchSupply
from faceclr_cli.core.training.contrastive_task import build_views
from faceclr_cli.core.training.stop_signals import StopRequest
from faceclr_cli.core.training.task import TaskModule, derive_seed, make_views, random_uniform

_MAX_PICTURES = 8192  # Their features take 0.9 GB.
_MAX_TURNED_PICTURES = 4096
_BATCH = 256
_PRINCIPAL_DIRECTIONS = 2
"""Number of principal directions, as a multiple of the length of an embedding."""
_LEAST_SINGULAR_VALUE = 1e-4
"""Relative to the largest, or to the mean features. Smaller ones are rounding errors of float32."""


class PhaseTask(TaskModule):
    """Computes a linear embedding layer for features without weights: a discriminant analysis without labels.

    Discriminant analysis (Fisher 1936) finds the directions in which different people differ most in comparison with
    pictures of one person. Here, views of each face take the place of several pictures of a person: the face itself,
    and random turns of the head, half of them mirrored.

    1. The features of the faces are projected to their principal directions.
    2. In these directions, the covariance of all faces and the covariance of the views of one face are computed.
    3. The embedding consists of the directions with the largest ratios of both variances, each divided by the standard
       deviation within a face. If there are fewer directions than dimensions, the last dimensions are 0.

    Args:
        config: The options.
        encoder: A network whose backbone has no weights, with a linear embedding layer.
        pictures: Number of training faces.
    """

    command = "pretrain"
    views = 2

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, pictures: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.pictures = np.arange(pictures)
        self.augment = build_views(config, encoder.architecture.image_size)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns the pictures to use, an even selection in random order. See `TaskModule.batches`."""
        del epoch
        count = min(_MAX_PICTURES, len(self.pictures))
        even = np.linspace(0, len(self.pictures) - 1, count).round().astype(np.int64)
        selection = np.random.default_rng(self.config.seed).permutation(even)
        return [selection[start : start + _BATCH] for start in range(0, count, _BATCH)]

    def share(self, batch: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
        """Returns the whole batch. See `TaskModule.share`.

        Raises:
            ConfigError: There are several processes.
        """
        del rank
        if world > 1:
            raise ConfigError(f"--backbone {self.config.backbone} is computed by one process; run it without torchrun")
        return batch

    @torch.no_grad()
    def compute_encoder(self, supply: BatchSupply, stop: StopRequest, reporter: Reporter) -> None:
        """Computes the embedding layer. See `TaskModule.compute_encoder`.

        Raises:
            DataError: The faces do not differ.
        """
        layer = self.encoder.embedding
        if not isinstance(layer, nn.Linear):
            raise ValueError("the embedding layer is not linear")
        batches = self.batches(0)
        features = self._compute_features(batches, supply, stop, reporter)
        if stop.requested():
            return
        mean = features.mean(dim=0)
        features -= mean
        most = min(_PRINCIPAL_DIRECTIONS * layer.out_features, len(features) - 1)
        _, strengths, directions = torch.svd_lowrank(features, q=max(1, most), niter=2)
        directions = directions[:, strengths > _LEAST_SINGULAR_VALUE * max(strengths[0], mean.norm())]
        if len(features) < 2 or not directions.shape[1]:
            raise DataError(f"--backbone {self.config.backbone}: the faces do not differ from each other")
        projected = features @ directions
        del features
        turned = batches[: _MAX_TURNED_PICTURES // _BATCH]
        within = self._measure_turns(turned, projected, directions, mean, supply, stop, reporter)
        total = np.atleast_2d(np.cov(projected.double().numpy(), rowvar=False))
        matrix = directions @ torch.from_numpy(fit_discriminants(total, within, layer.out_features)).to(directions)
        layer.weight.zero_()[: matrix.shape[1]] = matrix.T
        layer.bias.zero_()[: matrix.shape[1]] = -mean @ matrix

    def _compute_features(
        self, batches: list[NDArray[np.int64]], supply: BatchSupply, stop: StopRequest, reporter: Reporter
    ) -> Tensor:
        """Returns the features of all pictures in the batches, on the CPU. Shape: (N, F)."""
        size, features = self.encoder.architecture.image_size, []
        for crops in track(supply(batches), reporter, "computing features", total=len(batches), unit="batches"):
            features.append(self.encoder.features(normalize_pixels(crops, size)).cpu())
            if stop.requested():
                break
        return torch.cat(features)

    def _measure_turns(
        self,
        batches: list[NDArray[np.int64]],
        projected: Tensor,
        directions: Tensor,
        mean: Tensor,
        supply: BatchSupply,
        stop: StopRequest,
        reporter: Reporter,
    ) -> NDArray[np.float64]:
        """Returns the covariance of the views of one face in the principal directions. Shape: (P, P)."""
        sums, degrees = torch.zeros(2 * directions.shape[1:], dtype=torch.float64), 0
        tracked = track(supply(batches), reporter, "turning heads", total=len(batches), unit="batches")
        for number, crops in enumerate(tracked):
            faces = projected[number * _BATCH :][: len(crops)]
            turned = [(features - mean) @ directions for features in self._view_features(crops, number)]
            views = torch.stack([faces, *turned])
            changes = (views - views.mean(dim=0)).flatten(0, 1).double()
            sums += changes.T @ changes
            degrees += len(crops) * len(turned)
            if stop.requested():
                break
        return np.asarray((sums / degrees).numpy())

    def _view_features(self, crops: Tensor, number: int) -> Iterator[Tensor]:
        """Yields the features of each of the views of some crops. Shape: (B, S, S, 3) -> (B, F)."""
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, number))
        chance = random_uniform(len(crops), self.views, self.augment.draws, generator)
        for views in make_views(self.augment, crops, chance).chunk(self.views):
            yield self.encoder.features(views).cpu()
