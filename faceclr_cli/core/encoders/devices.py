"""The devices that encoders run on, for PyTorch and for ONNX Runtime. Imports both only where they are used."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from faceclr_cli.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

_TORCH_DEVICES = ("cpu", "cuda", "mps")

PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""ONNX Runtime's providers by device."""

_SWAP = {
    "cuda": "run: pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
    "openvino": "run: pip uninstall -y onnxruntime && pip install onnxruntime-openvino",
    "coreml": "install the onnxruntime wheel for macOS, which includes it",
}
_AMD = Path("/dev/kfd")


def find_torch_device(device: str) -> torch.device:
    """Returns the device of PyTorch.

    Args:
        device: `auto` (the NVIDIA or AMD GPU if there is one, otherwise the CPU), `cpu`, `cuda` or `mps`.

    Raises:
        ConfigError: PyTorch does not find the device.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in _TORCH_DEVICES:
        raise ConfigError(f"--device {device}: PyTorch has no such device; only exported encoders (.onnx) run there")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch found no GPU; omit the option to use the CPU")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("--device mps: torch found no Apple GPU; omit the option to use the CPU")
    return torch.device(device)


def find_provider(device: str, available: Collection[str]) -> str:
    """Returns ONNX Runtime's provider for a device.

    `auto` chooses between CUDA and the CPU, since OpenVINO and CoreML may compute in half precision.

    Args:
        device: `auto`, `cpu`, `cuda`, `openvino` or `coreml`.
        available: Providers of the installed build.

    Raises:
        ConfigError: The build does not have the provider.
    """
    if device == "auto":
        device = "cuda" if PROVIDERS["cuda"] in available and has_gpu_driver() else "cpu"
    if device not in PROVIDERS:
        raise ConfigError(
            f"--device {device}: ONNX Runtime has no such device; give the run that the graph was "
            f"exported from, or one of {', '.join(PROVIDERS)}"
        )
    if PROVIDERS[device] not in available:
        raise ConfigError(
            f"--device {device}: the installed ONNX Runtime has no {PROVIDERS[device]}; {_SWAP.get(device, '')}"
        )
    return PROVIDERS[device]


def has_gpu_driver() -> bool:
    """True if a driver of an NVIDIA or AMD GPU is installed. Imports nothing."""
    if _AMD.exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def has_torch_gpu() -> bool:
    """True if torch finds a GPU. Imports torch only if a GPU driver is installed."""
    if not has_gpu_driver():
        return False
    import torch

    return torch.cuda.is_available()
