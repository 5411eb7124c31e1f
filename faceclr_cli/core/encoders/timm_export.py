"""Encoders as folders that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models import save_for_hf
from torch import Tensor, nn

from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.backbones import timm_settings
from faceclr_cli.core.encoders.description import Description
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ConfigError, ModelError

_WHITE = 255.0


def write_timm_folder(folder: Path, network: EncoderNetwork, description: Description) -> None:
    """Writes `config.json` and `model.safetensors`. The embedding layer becomes timm's classifier.

    Args:
        folder: An empty folder.
        network: The network.
        description: Its description, which `config.json` contains under the key `faceclr`.

    Raises:
        ConfigError: timm has no model of this form.
    """
    architecture = network.architecture
    require_timm_form(architecture)
    model = _build_classifier(architecture)
    layer, embedding = _classifier(model), network.embedding
    if not isinstance(layer, nn.Linear) or not isinstance(embedding, nn.Linear):
        raise ConfigError(f"--format timm: the classifier of {architecture.backbone} is not a linear layer; use onnx")
    missing, unexpected = model.load_state_dict(network.backbone.state_dict(), strict=False)
    prefix = next(name for name, module in model.named_modules() if module is layer)
    if unexpected or any(not name.startswith(f"{prefix}.") for name in missing):
        raise ModelError(f"--format timm: {architecture.backbone} has other layers with a classifier; use onnx")
    with torch.no_grad():
        layer.weight.copy_(embedding.weight)
        layer.bias.copy_(torch.zeros_like(layer.bias) if embedding.bias is None else embedding.bias)
    normalization = architecture.normalization
    settings: dict[str, Any] = {
        "input_size": (3, architecture.image_size, architecture.image_size),
        "fixed_input_size": "img_size" in timm_settings(architecture.backbone, architecture.image_size),
        "mean": [value / _WHITE for value in normalization.mean],
        "std": [value / _WHITE for value in normalization.std],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "num_classes": architecture.embedding_dim,
        "classifier": prefix,
        "license": "unknown",
    }
    save_for_hf(
        model,
        str(folder),
        model_config={"pretrained_cfg": settings, "faceclr": dict(description.content)},
        model_args=_model_args(architecture),
        safe_serialization=True,
    )


def require_timm_form(architecture: Architecture) -> None:
    """Checks that a timm model can express an encoder.

    Raises:
        ConfigError: timm cannot express it; the message states the reason.
    """
    name = architecture.backbone
    if not timm.is_model(name):
        raise ConfigError(f"--format timm: {name} is not a model of timm; use --format onnx")
    if architecture.pool != "mean":
        raise ConfigError(
            "--format timm: its embedding layer takes the whole feature map (--pool none), but timm's classifiers take "
            "pooled features; use --format onnx"
        )
    if architecture.normalization.channels != "rgb":
        raise ConfigError("--format timm: the network takes BGR pictures, timm's models take RGB; use --format onnx")


class TimmNetwork(nn.Module):
    """A network that timm loads from a folder of `write_timm_folder`, with the interface of `EncoderNetwork`.

    Args:
        folder: The folder.
        architecture: The architecture of the encoder.
    """

    def __init__(self, folder: Path, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = timm.create_model(f"local-dir:{folder}", pretrained=True)
        settings: Mapping[str, Any] = vars(self.model)["pretrained_cfg"]
        self.mean, self.std = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("mean", "std"))

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns L2-normalized embeddings of the output of `normalize_pixels`.

        Shape: (B, 3, image_size, image_size) -> (B, embedding_dim).
        """
        embeddings: Tensor = self.model(((pictures + 1) / 2 - self.mean) / self.std)
        return F.normalize(embeddings, dim=1)


def _build_classifier(architecture: Architecture) -> nn.Module:
    arguments = _model_args(architecture)
    model: nn.Module = timm.create_model(
        architecture.backbone, pretrained=False, num_classes=architecture.embedding_dim, **arguments
    )
    return model.eval()


def _classifier(model: Any) -> nn.Module:
    layer: nn.Module = model.get_classifier()
    return layer


def _model_args(architecture: Architecture) -> dict[str, Any]:
    size = timm_settings(architecture.backbone, architecture.image_size)
    return {**size, **dict(architecture.backbone_args)}
