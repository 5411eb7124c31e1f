"""The task for `pretrain --method histograms`: the embedding layer is computed from unlabeled faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.linalg
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
from faceclr_cli.core.wording import count

_MAX_PICTURES = 8192  # Their features take 0.5 GB; more hardly improve the encoder.
_BATCH = 256
_PRINCIPAL_DIRECTIONS = 2
"""Number of principal directions, as a multiple of the length of an embedding."""
_LEAST_SINGULAR_VALUE = 1e-4
"""Relative to the largest, or to the mean features. Smaller ones are rounding errors of float32."""


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

    The kinds get equal total variances, and the directions of all of them together are analyzed once more in the same
    way. If there are fewer directions than dimensions, the last dimensions are 0. A single analysis of all kinds would
    need more faces, as it estimates more covariances.

    Args:
        config: The options.
        encoder: A network of `FaceHistograms` with a linear embedding layer.
        pictures: Number of training faces.

    Raises:
        DataError: There are fewer than two faces.
    """

    command = "pretrain"
    views = 2

    def __init__(self, config: PretrainConfig, encoder: EncoderNetwork, pictures: int) -> None:
        super().__init__()
        if pictures < 2:
            raise DataError(f"{count(pictures, 'face')} for {HISTOGRAMS}, but at least 2 are needed")
        self.config = config
        self.encoder = encoder
        self.pictures = np.arange(pictures)
        self.augment = build_views(config, encoder.architecture.image_size)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Returns the pictures to use, an even selection in random order. See `TaskModule.batches`."""
        del epoch
        used = min(_MAX_PICTURES, len(self.pictures))
        even = np.linspace(0, len(self.pictures) - 1, used).round().astype(np.int64)
        selection = np.random.default_rng(self.config.seed).permutation(even)
        return [selection[start : start + _BATCH] for start in range(0, used, _BATCH)]

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
        kinds = _find_kinds(features, mean, backbone.lengths, _PRINCIPAL_DIRECTIONS * dim, reporter)
        projected = _project(features, kinds)
        del features
        if not projected.shape[1]:
            raise DataError(f"--method {HISTOGRAMS}: the faces do not differ from each other")
        within = self._measure_turns(batches, kinds, mean, projected, supply, stop, reporter)
        if stop.requested():
            return
        total = np.atleast_2d(np.cov(projected.double().numpy(), rowvar=False))
        found = torch.from_numpy(_fit_kinds(total, within, [kind.shape[1] for kind in kinds], dim)).float()
        shares = torch.split(found, [kind.shape[1] for kind in kinds])
        weight = torch.cat([kind @ share for kind, share in zip(kinds, shares, strict=True)])
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
        kinds: Sequence[Tensor],
        mean: Tensor,
        projected: Tensor,
        supply: BatchSupply,
        stop: StopRequest,
        reporter: Reporter,
    ) -> NDArray[np.float64]:
        """Returns the covariance of the views of one face in the principal directions of all kinds. Shape: (P, P)."""
        total, degrees = torch.zeros(2 * projected.shape[1:], dtype=torch.float64), 0
        tracked = track(supply(batches), reporter, "turning heads", total=len(batches), unit="batches")
        for number, (crops, faces) in enumerate(zip(tracked, torch.split(projected, _BATCH), strict=True)):
            turned = [_project(features - mean, kinds) for features in self._view_features(crops, number)]
            views = torch.stack([faces, *turned]).double()
            changes = (views - views.mean(dim=0)).flatten(0, 1)
            total += changes.T @ changes
            degrees += len(crops) * len(turned)
            if stop.requested():
                break
        return np.asarray((total / degrees).numpy())

    def _view_features(self, crops: Tensor, number: int) -> Iterator[Tensor]:
        """Yields the features of each of the views of some crops. Shape: (B, S, S, 3) -> (B, F)."""
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, number))
        chance = random_uniform(len(crops), self.views, self.augment.draws, generator)
        for views in make_views(self.augment, crops, chance).chunk(self.views):
            yield self.encoder.features(views).cpu()


def _find_kinds(features: Tensor, mean: Tensor, lengths: list[int], most: int, reporter: Reporter) -> list[Tensor]:
    """Returns the principal directions of each kind of histograms; see `_find_directions`."""
    parts = list(zip(torch.split(features, lengths, dim=1), torch.split(mean, lengths), strict=True))
    tracked = track(parts, reporter, "finding directions", total=len(parts), unit="kinds")
    return [_find_directions(part, around, most) for part, around in tracked]


def _find_directions(features: Tensor, mean: Tensor, most: int) -> Tensor:
    """Returns the principal directions of centered features, at most `most`. Shape: (N, F), (F,) -> (F, P)."""
    rank = max(1, min(most, len(features) - 1, features.shape[1]))
    _, strengths, directions = torch.svd_lowrank(features, q=rank, niter=1)
    found: Tensor = directions[:, strengths > _LEAST_SINGULAR_VALUE * max(strengths[0], mean.norm())]
    return found if len(features) > 1 else found[:, :0]


def _project(features: Tensor, kinds: Sequence[Tensor]) -> Tensor:
    """Projects centered features to the principal directions of each kind. Shape: (N, F) -> (N, P)."""
    parts = torch.split(features, [len(kind) for kind in kinds], dim=1)
    return torch.cat([part @ kind for part, kind in zip(parts, kinds, strict=True)], dim=1)


def _fit_kinds(
    total: NDArray[np.float64], within: NDArray[np.float64], lengths: Sequence[int], dim: int
) -> NDArray[np.float64]:
    """Finds the discriminants of each kind, then those of all kinds together.

    Args:
        total: Covariance of the faces. Shape: (P, P).
        within: Covariance of the views of one face. Shape: (P, P).
        lengths: Number of principal directions of each kind.
        dim: Number of discriminants.

    Returns:
        The discriminants as columns. Shape: (P, at most `dim`).
    """
    kinds = []
    for length, end in zip(lengths, np.cumsum(lengths), strict=True):
        part = slice(end - length, end)
        found = fit_discriminants(total[part, part], within[part, part], dim) if length else np.empty((0, 0))
        kinds.append(found / np.sqrt(np.einsum("pd,pq,qd->", found, total[part, part], found, optimize=True) or 1))
    joined = scipy.linalg.block_diag(*kinds)
    variances, axes = np.linalg.eigh(joined.T @ total @ joined)
    # With few faces, the directions of different kinds depend on each other.
    joined = joined @ axes[:, variances > _LEAST_SINGULAR_VALUE**2 * variances[-1]]
    return np.asarray(joined @ fit_discriminants(joined.T @ total @ joined, joined.T @ within @ joined, dim))
