"""Loads encoders by name, folder or file."""

from __future__ import annotations

import ctypes
from pathlib import Path

from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.checked_encoder import CheckedEncoder
from faceclr_cli.core.encoders.description import DESCRIPTION, GRAPH, read_description
from faceclr_cli.core.errors import ConfigError, ModelError

BUILT_IN = ("sface", "pixels")

_ON_THE_CPU = "runs only on the CPU; leave the option out"
_AMD = Path("/dev/kfd")


def load_encoder(model: str, device: str = "auto", *, unnormalized: bool = False) -> CheckedEncoder:
    """Loads an encoder by name, folder or file.

    On the CPU, ONNX Runtime runs the exported graph of an encoder folder if it is up to date with the weights.
    `ModelError` is raised if an embedding is NaN or infinite.

    Args:
        model: `sface`, `pixels`, or the path of a run folder, an encoder folder or an exported encoder (`.onnx`). Write
            `./sface` for a folder named like a built-in encoder.
        device: `auto`, `cpu` or `cuda`. The built-in and the exported encoders run only on the CPU.
        unnormalized: The caller needs unnormalized embeddings, which exported graphs do not return. PyTorch then runs
            encoder folders, also on the CPU.

    Raises:
        ModelError: There is no such encoder, it is damaged or unsupported, or ONNX Runtime is missing.
        ConfigError: The device is not available, or the encoder does not support it.

    Examples:
        >>> encoder = load_encoder("sface")
        >>> encoder.dim, encoder.fingerprint.size
        (128, 112)
        >>> load_encoder("nowhere")
        Traceback (most recent call last):
            ...
        faceclr_cli.core.errors.ModelError: --model nowhere: no such folder; give a run ...
    """
    return CheckedEncoder(_load(model, device, unnormalized=unnormalized))


def _load(model: str, device: str, *, unnormalized: bool) -> Encoder:
    if model in BUILT_IN:
        if device == "cuda":
            raise ConfigError(f"--device cuda: {model} {_ON_THE_CPU}")
        return _load_built_in(model)
    path = Path(model)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        if device == "cuda":
            raise ConfigError(f"--device cuda: {model} {_ON_THE_CPU}, or give the run that it was exported from")
        return _load_exported(path)
    if not path.is_dir():
        problem = "neither a folder nor an .onnx file" if path.exists() else "no such folder"
        raise ModelError(
            f"--model {model}: {problem}; give a run folder, an encoder folder, or one of the built-in encoders "
            f"{' and '.join(BUILT_IN)}"
        )
    return _load_folder(path, device, unnormalized=unnormalized)


def _load_built_in(model: str) -> Encoder:
    if model == "sface":
        from faceclr_cli.core.encoders.sface import SFaceEncoder

        return SFaceEncoder()
    from faceclr_cli.core.encoders.pixels import PixelsEncoder

    return PixelsEncoder()


def _load_exported(path: Path) -> Encoder:
    try:
        from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
        from faceclr_cli.core.encoders.onnx_file import read_onnx
    except ImportError as error:
        raise ModelError(f"--model {path}: ONNX Runtime is missing ({error}); pip install 'faceclr[onnx]'") from error
    file = read_onnx(path)
    beside = read_description(path.parent) if (path.parent / DESCRIPTION).is_file() else None
    return OnnxEncoder(file, beside if beside and file.matches(beside) else None)


def _load_folder(folder: Path, device: str, *, unnormalized: bool) -> Encoder:
    if not unnormalized and (device == "cpu" or (device == "auto" and not _has_gpu())):
        encoder = _load_current_graph(folder)
        if encoder is not None:
            return encoder
    # Importing torch takes seconds, and only these encoders need it.
    from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder

    return load_encoder_folder(folder, device)


def _load_current_graph(folder: Path) -> Encoder | None:
    """Loads the exported graph of a folder, or returns None if it is missing or outdated, or without ONNX Runtime."""
    description = read_description(folder)
    path = description.folder / GRAPH
    if not path.exists():
        return None
    try:
        from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
        from faceclr_cli.core.encoders.onnx_file import read_onnx
    except ImportError:
        return None
    file = read_onnx(path)
    return OnnxEncoder(file, description) if file.matches(description) and file.digest == description.digest else None


def _has_gpu() -> bool:
    """True if torch finds a GPU. Imports torch only if a GPU driver is installed."""
    if not _AMD.exists():
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return False
    import torch

    return torch.cuda.is_available()
