"""An encoder on disk: a folder with `encoder.json` and `weights.safetensors`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from faceclr_cli.core.artifacts import atomic_path, digest_file, read_json, stamp, write_json
from faceclr_cli.core.encoders.base import Calibration
from faceclr_cli.core.encoders.network import NORMALISATION, Architecture, EncoderNetwork, normalise
from faceclr_cli.core.encoders.tensors import write_tensors
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint

DESCRIPTION = "encoder.json"
WEIGHTS = "weights.safetensors"
_IN_A_RUN = "encoder"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What an encoder was made from, for those who ask whether a test is fair to it.

    Attributes:
        command: Which command trained it: `pretrain`.
        config: The resolved options of that command.
        data: Name of the folder of faces.
        pictures: How many pictures it was trained on.
        people: How many pictures of each person, by name; empty where nobody knows them.
    """

    command: str
    config: Mapping[str, Any]
    data: str
    pictures: int
    people: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The card as `encoder.json` holds it; the config stands beside it, as in every artifact."""
        return {"command": self.command, "data": self.data, "pictures": self.pictures, "people": dict(self.people)}


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `encoder.json` says.

    Attributes:
        folder: Where it lies.
        architecture: How to build the network.
        fingerprint: How crops must be made for it, and what it does to them.
        calibration: Its threshold and what that means, or None.
        card: What it was made from.
        digest: SHA-256 of the weights.
    """

    folder: Path
    architecture: Architecture
    fingerprint: Fingerprint
    calibration: Calibration | None
    card: Card
    digest: str


class TorchEncoder:
    """A trained network as an `Encoder`, on the CPU or a GPU."""

    def __init__(self, description: Description, network: EncoderNetwork, device: torch.device) -> None:
        folder = description.folder
        run = folder.resolve().parent if folder.name == _IN_A_RUN else folder.resolve()
        self.name = run.name
        self.dim = description.architecture.embedding_dim
        self.fingerprint = description.fingerprint
        self.digest = description.digest
        self.calibration = description.calibration
        self.card = description.card
        self._size = description.architecture.image_size
        self._device = device
        self._network = network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `Encoder.embed`.

        Raises:
            ValueError: The crops have another type or size than the fingerprint says.
        """
        side = self.fingerprint.size
        if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"{self.name} takes 8-bit crops of (batch_size, {side}, {side}, 3), not {crops.shape}")
        pictures = normalise(torch.tensor(crops).to(self._device), self._size)
        embeddings: NDArray[np.float32] = F.normalize(self._network(pictures).float(), dim=1).cpu().numpy()
        return embeddings


def save_encoder(
    folder: Path,
    network: EncoderNetwork,
    fingerprint: Fingerprint,
    *,
    card: Card,
    calibration: Calibration | None = None,
) -> None:
    """Writes an encoder folder whole; one that is there already gives way once the new one is on disk.

    Args:
        folder: Where to.
        network: Its architecture and weights are kept.
        fingerprint: Of the crops that it was trained on; channel order and normalisation are set here.
        card: What it was made from.
        calibration: Its threshold, if somebody measured it.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_tensors(temporary / WEIGHTS, network.state_dict())
        content = {
            **stamp("encoder", card.config),
            "architecture": network.architecture.to_json(),
            "dim": network.architecture.embedding_dim,
            "fingerprint": {**fingerprint.to_json(), "channels": "rgb", "normalisation": NORMALISATION},
            "calibration": calibration.to_json() if calibration else None,
            "card": card.to_json(),
            "weights": {"sha256": digest_file(temporary / WEIGHTS)},
        }
        write_json(temporary / DESCRIPTION, content)
        # A folder cannot be renamed onto another that holds files. Between the two renames the former
        # encoder still exists, under its hidden name.
        former = folder.with_name(f".{folder.name}.former")
        shutil.rmtree(former, ignore_errors=True)
        if folder.exists():
            os.replace(folder, former)
    shutil.rmtree(former, ignore_errors=True)


def describe(folder: Path) -> Description:
    """Reads what an encoder folder, or the encoder in a run folder, says of itself.

    Raises:
        ModelError: There is no encoder, or its description is damaged or foreign.
    """
    for candidate in (folder, folder / _IN_A_RUN):
        if (candidate / DESCRIPTION).is_file():
            break
    else:
        state = "holds no encoder" if folder.is_dir() else "no such folder"
        raise ModelError(f"{folder}: {state}; give a run that has finished an epoch, or an encoder folder")
    path = candidate / DESCRIPTION
    try:
        content = read_json(path)
        if content.get("kind") != "encoder":
            raise ModelError(f"{path}: does not describe an encoder")
        description = _parse(candidate, content)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ModelError(f"{path}: damaged or of another version of faceclr ({reason})") from error
    if (description.fingerprint.channels, description.fingerprint.normalisation) != ("rgb", NORMALISATION):
        raise ModelError(f"{path}: its pixels are prepared in a way that this version of faceclr does not know")
    return description


def load_network(folder: Path) -> tuple[EncoderNetwork, Description]:
    """Builds the network of an encoder or run folder, on the CPU, with its weights.

    Raises:
        ModelError: There is no encoder, or it is damaged or foreign.
    """
    description = describe(folder)
    path = description.folder / WEIGHTS
    try:
        if digest_file(path) != description.digest:
            raise ModelError(f"{path}: damaged, or not the weights that {DESCRIPTION} beside it belongs to")
        weights = load_file(path)
        network = EncoderNetwork(description.architecture)
        network.load_state_dict(weights)
    except ModelError:
        raise
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (OSError, SafetensorError, ConfigError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: not the weights of this encoder ({str(error).splitlines()[0]})") from error
    return network, description


def load_bundle(folder: Path, device: str = "auto") -> TorchEncoder:
    """Opens an encoder folder, or the encoder in a run folder.

    Args:
        folder: Where it lies.
        device: `auto` (the GPU if there is one), `cpu` or `cuda`.

    Raises:
        ModelError: There is no encoder, or it is damaged or foreign.
        ConfigError: `cuda` without a GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no GPU here; leave the option out to use the CPU")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    network, description = load_network(folder)
    return TorchEncoder(description, network, torch.device(device))


def _parse(folder: Path, content: Mapping[str, Any]) -> Description:
    card, calibration = content["card"], content["calibration"]
    return Description(
        folder=folder,
        architecture=Architecture.from_json(content["architecture"]),
        fingerprint=Fingerprint.from_json(content["fingerprint"], str(folder / DESCRIPTION)),
        calibration=None if calibration is None else Calibration.from_json(calibration),
        card=Card(
            command=str(card["command"]),
            config=dict(content["config"]),
            data=str(card["data"]),
            pictures=int(card["pictures"]),
            people={str(name): int(count) for name, count in card["people"].items()},
        ),
        digest=str(content["weights"]["sha256"]),
    )
