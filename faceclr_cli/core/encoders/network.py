"""The network of an encoder: a backbone and an embedding layer."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.configs.train import HISTOGRAMS
from faceclr_cli.core.encoders.architecture import Architecture, InputNormalization
from faceclr_cli.core.encoders.backbones import build_backbone, feature_count, feature_shape
from faceclr_cli.core.encoders.face_networks.face_network_registry import FACE_NETWORKS
from faceclr_cli.core.encoders.heads import embedding_layer
from faceclr_cli.core.errors import ConfigError

_BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm


class EncoderNetwork(nn.Module):
    """Maps pictures to embeddings.

    Args:
        architecture: The architecture.
        pretrained: Initialize the backbone with ImageNet weights.
        initialize_head: Initialize the embedding head, which takes seconds if it is large; False if weights will be
            loaded into all of the network.

    Raises:
        ConfigError, ModelError: As for `build_backbone`.
    """

    def __init__(self, architecture: Architecture, *, pretrained: bool = False, initialize_head: bool = True) -> None:
        super().__init__()
        size = architecture.image_size
        self.architecture = architecture
        self.keeps_statistics = False
        """True if batch norms keep their running averages in training, and use them."""
        self.has_new_head = False
        """True if the batch norms of the embedding head are excepted from that."""
        self.normalization = RangeConversion(architecture.normalization)
        self.backbone = build_backbone(
            architecture.backbone,
            pretrained=pretrained,
            image_size=size,
            pool=architecture.pool,
            args=architecture.backbone_args,
        )
        features = feature_count(self.backbone, size)
        with torch.device("cpu" if initialize_head else "meta"):
            self.embedding = _build_head(architecture, features)
        if not initialize_head:
            self.embedding.to_empty(device="cpu")
            for buffer in self.embedding.buffers():
                buffer.zero_()  # Counters of batches are not always among the weights that are loaded.

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeds a batch.

        Args:
            pictures: Output of `normalize_pixels`. Shape: (B, 3, image_size, image_size).

        Returns:
            Embeddings, not L2-normalized. Shape: (B, embedding_dim).
        """
        embeddings: Tensor = self.embedding(self.features(pictures))
        return embeddings

    def train(self, mode: bool = True) -> Self:
        """Sets the training mode; see `keeps_statistics`."""
        super().train(mode)
        if self.keeps_statistics:
            for part in (self.backbone,) if self.has_new_head else (self.backbone, self.embedding):
                for module in part.modules():
                    if isinstance(module, _BATCH_NORMS):
                        module.eval()
        return self

    def features(self, pictures: Tensor) -> Tensor:
        """Returns the input of the embedding layer: the features of the backbone, one row per picture.

        Args:
            pictures: Output of `normalize_pixels`. Shape: (B, 3, image_size, image_size).

        Returns:
            Shape: (B, F).
        """
        features: Tensor = self.backbone(self.normalization(pictures)).flatten(1)
        return features

    def at_size(self, image_size: int, embedding_dim: int | None = None) -> EncoderNetwork:
        """Returns this network for another input size or another length of embeddings.

        The embedding layer is new if the length of the embedding changes. If only the side of the feature map changes,
        the layer is resampled: a picture of another size has nearly the same embedding, as far as its features are
        those of the original picture, resized.

        Args:
            image_size: Side of the input in pixels.
            embedding_dim: Length of an embedding; None for that of this network.

        Raises:
            ConfigError: The backbone supports only the size that it was trained at, or the length of its embeddings.
        """
        own = self.architecture
        changed = own.resized(image_size, embedding_dim)
        if changed == own:
            return self
        if own.backbone == HISTOGRAMS:
            raise ConfigError(
                f"--init: an encoder of {HISTOGRAMS} has weights for one input size and one length of embeddings only; "
                f"give --image-size {own.image_size} and --embedding-dim {own.embedding_dim}"
            )
        other = EncoderNetwork(changed)
        try:
            other.backbone.load_state_dict(self.backbone.state_dict())
        except RuntimeError as error:
            raise ConfigError(
                f"--image-size {image_size}: {own.backbone} was trained at {own.image_size} and supports no other size"
            ) from error
        if changed.embedding_dim == own.embedding_dim:
            maps = feature_shape(self.backbone, own.image_size), feature_shape(other.backbone, image_size)
            other.embedding = self.embedding if maps[0] == maps[1] else _resample_head(self.embedding, *maps)
        return other


@torch.no_grad()
def map_embeddings(network: EncoderNetwork, matrix: Tensor, mean: Tensor) -> EncoderNetwork:
    """Returns a network with the same backbone whose embeddings are `(embedding - mean) @ matrix`.

    Args:
        network: A network with a linear embedding layer.
        matrix: Shape: (D, D).
        mean: Shape: (D,).

    Raises:
        ValueError: The embedding layer is not linear.
    """
    own = network.embedding
    if not isinstance(own, nn.Linear):
        raise ValueError("the embedding layer is not linear")
    layer = nn.Linear(own.in_features, own.out_features, device=own.weight.device).requires_grad_(False)
    shift = -mean if own.bias is None else own.bias - mean
    layer.weight.copy_(matrix.T @ own.weight)
    layer.bias.copy_(shift @ matrix)
    other = copy.copy(network)
    other._modules = {**network._modules, "embedding": layer}
    other.architecture = replace(network.architecture, head="linear")
    return other


def _build_head(architecture: Architecture, features: int) -> nn.Module:
    dim = architecture.embedding_dim
    match architecture.head:
        case "none":
            if features != dim:
                raise ConfigError(f"{architecture.backbone} has {features} features, so the embedding cannot be {dim}")
            return nn.Identity()
        case "linear":
            return embedding_layer(features, dim, bias=True)
        case "default":
            network = FACE_NETWORKS.get(architecture.backbone)
            return network.head(features, dim) if network else embedding_layer(features, dim)


@torch.no_grad()
def _resample_head(head: nn.Module, own: tuple[int, ...], other: tuple[int, ...]) -> nn.Module:
    """Returns a head for feature maps of another size: its linear layer, applied to maps that are resized to `own`.

    Args:
        head: The head of feature maps of shape `own`.
        own: (C, H, W).
        other: (C, H', W').
    """
    (channels, *sides), places = own, math.prod(other[1:])
    each = torch.eye(places).view(places, 1, *other[1:])
    resizing = F.interpolate(each, tuple(sides), mode="bilinear", antialias=True, align_corners=False).view(places, -1)
    resampled = copy.deepcopy(head)
    for layer in resampled.modules():
        if isinstance(layer, nn.Linear):
            weights = layer.weight.view(layer.out_features, channels, -1) @ resizing.T
            layer.in_features, layer.weight = channels * places, nn.Parameter(weights.flatten(1))
    return resampled


class RangeConversion(nn.Module):
    """Converts pictures from the range of `normalize_pixels` to that of a network of another project.

    It has no parameters and does not change pictures if both ranges are the same.

    Args:
        normalization: The pixels that the network takes.
    """

    def __init__(self, normalization: InputNormalization) -> None:
        super().__init__()
        own = InputNormalization()
        mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
        own_mean, own_std = torch.tensor(own.mean), torch.tensor(own.std)
        self._is_identity = normalization == own
        self._is_bgr = normalization.channels == "bgr"
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", (own_std / std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((own_mean - mean) / std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Shape: (B, 3, H, W) -> (B, 3, H, W)."""
        if self._is_identity:
            return pictures
        converted = pictures * self.scale + self.shift
        return converted.flip(1) if self._is_bgr else converted


def normalize_pixels(crops: Tensor, size: int) -> Tensor:
    """Resizes and normalizes crops for the network, without augmentation. Augmented views have the same range.

    Args:
        crops: RGB, 0-255, uint8. Shape: (B, H, W, 3).
        size: Side of the result in pixels. Crops of another size are resized (bilinear, antialiased).

    Returns:
        Values in [-1, 1], float32, channels_last. Shape: (B, 3, size, size).
    """
    pictures = crops.permute(0, 3, 1, 2).float()
    if pictures.shape[2:] != (size, size):
        pictures = F.interpolate(pictures, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return pictures.div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
