"""The network of an encoder: a backbone and the embedding layer."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.backbones import build_backbone, feature_count
from faceclr_cli.core.encoders.heads import embedding_layer
from faceclr_cli.core.errors import ConfigError


class EncoderNetwork(nn.Module):
    """Maps pictures to embeddings.

    Args:
        architecture: What to build.
        pretrained: Begin with ImageNet weights in the backbone, not random ones.

    Raises:
        ConfigError, ModelError: As `build_backbone`.
    """

    def __init__(self, architecture: Architecture, *, pretrained: bool = False) -> None:
        super().__init__()
        size = architecture.image_size
        self.architecture = architecture
        self.backbone = build_backbone(
            architecture.backbone, pretrained=pretrained, image_size=size, pool=architecture.pool
        )
        self.embedding = embedding_layer(feature_count(self.backbone, size), architecture.embedding_dim)

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeds a batch.

        Args:
            pictures: Normalized as by `normalize`. Shape: (B, 3, image_size, image_size).

        Returns:
            Embeddings, not L2-normalized. Shape: (B, embedding_dim).
        """
        embeddings: Tensor = self.embedding(self.backbone(pictures).flatten(1))
        return embeddings

    def at_size(self, image_size: int) -> EncoderNetwork:
        """This network for pictures of another size. Where its map of features changes, the embedding layer is new.

        Args:
            image_size: Side of the pictures in pixels.

        Raises:
            ConfigError: The weights of the backbone belong to one size.
        """
        own = self.architecture
        if image_size == own.image_size:
            return self
        other = EncoderNetwork(replace(own, image_size=image_size))
        try:
            other.backbone.load_state_dict(self.backbone.state_dict())
        except RuntimeError as error:
            raise ConfigError(
                f"--image-size {image_size}: {own.backbone} was trained at {own.image_size} and fits no other size"
            ) from error
        if other.embedding.weight.shape == self.embedding.weight.shape:
            other.embedding = self.embedding
        return other


def normalize_pixels(crops: Tensor, size: int) -> Tensor:
    """Makes crops ready for the network, without chance. Augmented views have the same range.

    Args:
        crops: RGB, 0-255, uint8. Shape: (B, H, W, 3).
        size: Side of the result in pixels; other crops are resized, bilinear and antialiased.

    Returns:
        Values in [-1, 1], float32, channels_last. Shape: (B, 3, size, size).
    """
    pictures = crops.permute(0, 3, 1, 2).float()
    if pictures.shape[2:] != (size, size):
        pictures = F.interpolate(pictures, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return pictures.div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
