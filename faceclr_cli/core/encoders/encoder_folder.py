"""Encoder folders: `encoder.json` and `weights.safetensors`, run by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from faceclr_cli.core.artifacts import atomic_folder, digest_file, stamp, write_json
from faceclr_cli.core.configs.embed import ComputePrecision
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.encoders.description import (
    DESCRIPTION,
    GRAPH_ONLY,
    WEIGHTS,
    Card,
    Description,
    read_description,
    rounded_digest,
)
from faceclr_cli.core.encoders.devices import find_torch_device
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.encoders.tensor_file import write_tensors
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.memory import NETWORK, keep_memory


class TorchEncoder:
    """A trained network as an `Encoder`, on the CPU or a GPU.

    Args:
        description: Its description.
        network: The network, which is moved to the device.
        device: The device.
        precision: Precision of the computation; `bf16` computes most layers in bfloat16.
    """

    has_norms = True

    def __init__(
        self,
        description: Description,
        network: EncoderNetwork,
        device: torch.device,
        precision: ComputePrecision = "float32",
    ) -> None:
        self.name = description.name
        self.dim = description.architecture.embedding_dim
        self.fingerprint = description.fingerprint
        self.digest = description.digest if precision == "float32" else rounded_digest(description.digest, precision)
        self.calibration = description.calibration
        self.card = description.card
        self.trained_on = description.card.everyone or None
        self._size = description.architecture.image_size
        self._device, self._precision = device, precision
        self.fills_cores = device.type == "cpu"
        if device.type == "cpu":
            keep_memory(*NETWORK)
        self.network = network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `Encoder.embed`.

        Raises:
            ValueError: The type or size of the crops does not match the fingerprint.
        """
        return normalize_rows(self.embed_unnormalized(crops))

    @torch.inference_mode()
    def embed_unnormalized(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `UnnormalizedEncoder.embed_unnormalized`.

        Raises:
            ValueError: As for `embed`.
        """
        side = self.fingerprint.size
        if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"{self.name} takes 8-bit crops of (batch_size, {side}, {side}, 3), not {crops.shape}")
        # Copies only arrays that torch cannot share: read-only ones, and those with negative strides.
        shared = torch.from_numpy(np.require(crops, requirements=("C", "W")))
        pictures = normalize_pixels(shared.to(self._device), self._size)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            vectors = self.network(pictures)
        embeddings: NDArray[np.float32] = vectors.float().cpu().numpy()
        return embeddings


def save_encoder(
    folder: Path,
    network: EncoderNetwork,
    fingerprint: Fingerprint,
    *,
    card: Card,
    calibration: Calibration | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Writes an encoder folder atomically, replacing an existing one.

    Args:
        folder: The encoder folder.
        network: The trained network.
        fingerprint: Fingerprint of the training crops. Channel order and normalization are overwritten with those of
            the network's input.
        card: The training data.
        calibration: The calibration, if there is one.
        weights: The weights, if they are not those of the network's state dict.
        source: Origin of an imported network; None for a network that faceclr trained.
    """
    normalization = network.architecture.normalization
    with atomic_folder(folder) as temporary:
        write_tensors(temporary / WEIGHTS, network.state_dict() if weights is None else weights)
        content = {
            **stamp("encoder", card.config),
            "architecture": network.architecture.to_json(),
            "dim": network.architecture.embedding_dim,
            "fingerprint": replace(
                fingerprint, channels=normalization.channels, normalization=normalization.text
            ).to_json(),
            "calibration": calibration.to_json() if calibration else None,
            "card": card.to_json(),
            "weights": {"sha256": digest_file(temporary / WEIGHTS)},
            **({"source": dict(source)} if source else {}),
        }
        write_json(temporary / DESCRIPTION, content)


def load_network(folder: Path) -> tuple[EncoderNetwork, Description]:
    """Loads the network of an encoder or run folder on the CPU.

    Raises:
        ModelError: There is no encoder, or it is damaged or unsupported.
    """
    description = read_description(folder)
    if description.architecture.backbone == GRAPH_ONLY:
        raise ModelError(
            f"{display_path(folder)}: was imported as an ONNX graph, which cannot be trained or run by PyTorch; import "
            "the checkpoint that it was exported from"
        )
    path = description.folder / WEIGHTS
    try:
        if digest_file(path) != description.digest:
            raise ModelError(f"{path}: damaged, or not the weights that {DESCRIPTION} in this folder describes")
        weights = load_file(path)
        network = EncoderNetwork(description.architecture, initialize_head=False)
        network.load_state_dict(weights)
    except ModelError:
        raise
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (OSError, SafetensorError, ConfigError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: not the weights of this encoder ({str(error).splitlines()[0]})") from error
    return network, description


def load_encoder_folder(folder: Path, device: str = "auto", precision: ComputePrecision = "float32") -> TorchEncoder:
    """Loads an encoder folder, or the encoder in a run folder.

    Args:
        folder: The encoder or run folder.
        device: As for `find_torch_device`.
        precision: Precision of the computation.

    Raises:
        ModelError: There is no encoder, or it is damaged or unsupported.
        ConfigError: PyTorch does not find the device.
    """
    found = find_torch_device(device)
    network, description = load_network(folder)
    return TorchEncoder(description, network, found, precision)
