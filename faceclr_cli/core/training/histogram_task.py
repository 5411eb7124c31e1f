"""The task for `pretrain --method histograms`: the embedding layer is computed from unlabeled faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import HISTOGRAMS
from faceclr_cli.core.encoders.face_networks.face_histograms import FaceHistograms
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.metrics.discriminants import fit_discriminants
from faceclr_cli.core.training.batch_supply import BatchSupply
from faceclr_cli.core.training.contrastive_task import build_views
from faceclr_cli.core.training.stop_signals import StopRequest
from faceclr_cli.core.training.task import TaskModule, derive_seed, make_views, random_uniform

_MAX_PICTURES = 8192  # Their features take 1 GB.
_BATCH = 256
_PRINCIPAL_DIRECTIONS = 2
"""Number of principal directions, as a multiple of the length of an embedding."""
_LEAST_SINGULAR_VALUE = 1e-4
"""Relative to the largest, or to the mean features. Smaller ones are rounding errors of float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kind:
    """The principal directions of one kind of histograms.

    Attributes:
        directions: Shape: (F, P).
        projected: The training faces in these directions. Shape: (N, P).
    """

    directions: Tensor
    projected: Tensor


class HistogramTask(TaskModule):
    """Computes a linear embedding layer for features without weights: a discriminant analysis without labels.

    Discriminant analysis (Fisher 1936) finds the directions in which different people differ most in comparison with
    pictures of one person. Here, views of each face take the place of several pictures of a person: the face itself,
    and random turns of the head, half of them mirrored.

    For each kind of histograms (`FaceHistograms.lengths`):

    1. The features of the faces are projected to their principal directions.
    2. In these directions, the covariance of all faces and the covariance of the views of one face are computed.
    3. The directions with the largest ratios of both variances are kept, each divided by the standard deviation within
       a face.

    The kinds get equal total variances, and the embedding consists of the principal directions of all of them together.
    If there are fewer directions than dimensions, the last dimensions are 0. Analyzing the kinds together would need
    more faces, as it estimates more covariances.

    Args:
        config: The options.
        encoder: A network of `FaceHistograms` with a linear embedding layer.
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
            raise ConfigError(f"--method {HISTOGRAMS} is computed by one process; run it without torchrun")
        return batch

    @torch.no_grad()
    def compute_encoder(self, supply: BatchSupply, stop: StopRequest, reporter: Reporter) -> None:
        """Computes the embedding layer. See `TaskModule.compute_encoder`.

        Raises:
            DataError: The faces do not differ.
        """
        layer, backbone = self.encoder.embedding, self.encoder.backbone
        if not isinstance(layer, nn.Linear) or not isinstance(backbone, FaceHistograms):
            raise ValueError("the encoder is not a linear layer on histograms")
        batches, dim = self.batches(0), layer.out_features
        features = self._compute_features(batches, supply, stop, reporter)
        if stop.requested():
            return
        mean = features.mean(dim=0)
        features -= mean
        kinds, lengths = [], backbone.lengths
        parts = zip(torch.split(features, lengths, dim=1), torch.split(mean, lengths), strict=True)
        for part, around in track(parts, reporter, "finding directions", total=len(lengths), unit="kinds"):
            directions = _find_directions(part, around, _PRINCIPAL_DIRECTIONS * dim)
            kinds.append(_Kind(directions=directions, projected=part @ directions))
        del features, parts, part
        if not any(kind.directions.shape[1] for kind in kinds):
            raise DataError(f"--method {HISTOGRAMS}: the faces do not differ from each other")
        withins = self._measure_turns(batches, kinds, mean, supply, stop, reporter)
        if stop.requested():
            return
        matrices = [_fit_kind(kind, within, dim) for kind, within in zip(kinds, withins, strict=True)]
        found = [kind.projected.double() @ matrix for kind, matrix in zip(kinds, matrices, strict=True)]
        both = torch.cat(found, dim=1)
        variances, axes = torch.linalg.eigh(both.T.cov().reshape(2 * both.shape[1:]))
        axes = axes[:, variances > _LEAST_SINGULAR_VALUE**2 * variances[-1]].flip(1)[:, :dim]
        shares = torch.split(axes, [matrix.shape[1] for matrix in matrices])
        weights = [
            kind.directions @ (matrix @ share).float()
            for kind, matrix, share in zip(kinds, matrices, shares, strict=True)
        ]
        weight = torch.cat(weights)
        layer.weight.zero_()[: weight.shape[1]] = weight.T
        layer.bias.zero_()[: weight.shape[1]] = -mean @ weight

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
        kinds: Sequence[_Kind],
        mean: Tensor,
        supply: BatchSupply,
        stop: StopRequest,
        reporter: Reporter,
    ) -> list[NDArray[np.float64]]:
        """Returns the covariance of the views of one face in the principal directions of each kind. Shape: (P, P)."""
        sums = [torch.zeros(2 * kind.directions.shape[1:], dtype=torch.float64) for kind in kinds]
        lengths, degrees = [len(kind.directions) for kind in kinds], 0
        tracked = track(supply(batches), reporter, "turning heads", total=len(batches), unit="batches")
        for number, crops in enumerate(tracked):
            rows = slice(number * _BATCH, number * _BATCH + len(crops))
            turned = [torch.split(features - mean, lengths, dim=1) for features in self._view_features(crops, number)]
            for index, kind in enumerate(kinds):
                views = torch.stack([kind.projected[rows], *(view[index] @ kind.directions for view in turned)])
                changes = (views - views.mean(dim=0)).flatten(0, 1).double()
                sums[index] += changes.T @ changes
            degrees += len(crops) * len(turned)
            if stop.requested():
                break
        return [np.asarray((total / degrees).numpy()) for total in sums]

    def _view_features(self, crops: Tensor, number: int) -> Iterator[Tensor]:
        """Yields the features of each of the views of some crops. Shape: (B, S, S, 3) -> (B, F)."""
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, number))
        chance = random_uniform(len(crops), self.views, self.augment.draws, generator)
        for views in make_views(self.augment, crops, chance).chunk(self.views):
            yield self.encoder.features(views).cpu()


def _find_directions(features: Tensor, mean: Tensor, most: int) -> Tensor:
    """Returns the principal directions of centered features, at most `most`. Shape: (N, F), (F,) -> (F, P)."""
    count = max(1, min(most, len(features) - 1, features.shape[1]))
    _, strengths, directions = torch.svd_lowrank(features, q=count, niter=1)
    found: Tensor = directions[:, strengths > _LEAST_SINGULAR_VALUE * max(strengths[0], mean.norm())]
    return found if len(features) > 1 else found[:, :0]


def _fit_kind(kind: _Kind, within: NDArray[np.float64], dim: int) -> Tensor:
    """Returns the discriminants of one kind, as columns, with a total variance of 1. Shape: (P, at most `dim`)."""
    if not len(within):
        return torch.zeros(0, 0, dtype=torch.float64)
    total = np.atleast_2d(np.cov(kind.projected.double().numpy(), rowvar=False))
    found = fit_discriminants(total, within, dim)
    return torch.from_numpy(found / np.sqrt(np.einsum("pd,pq,qd->", found, total, found, optimize=True)))
