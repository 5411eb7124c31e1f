"""From what the user calls an encoder to the encoder."""

from __future__ import annotations

import ctypes
from pathlib import Path

from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.checked_encoder import CheckedEncoder
from faceclr_cli.core.encoders.description import DESCRIPTION, GRAPH, read_description
from faceclr_cli.core.errors import ConfigError, ModelError

BUILT_IN = ("sface", "pixels")

_ON_THE_CPU = "runs on the CPU alone; leave the option out"
_AMD = Path("/dev/kfd")


def load_encoder(model: str, device: str = "auto") -> CheckedEncoder:
    """Finds an encoder by name, folder or file.

    On the CPU, ONNX Runtime runs a folder's exported graph, if there is one that was made of its weights. Whatever runs
    the encoder, its embeddings are checked: NaN or infinite ones raise `ModelError`.

    Args:
        model: `sface`, `pixels`, or the path of a run or encoder folder (`./sface` where one has such a name) or of
            an exported encoder (`.onnx`).
        device: `auto`, `cpu` or `cuda`. The built-in and the exported encoders run on the CPU alone.

    Raises:
        ModelError: There is no such encoder, it is damaged or foreign, or ONNX Runtime is missing for it.
        ConfigError: The device does not fit or is not there.

    Examples:
        >>> encoder = load_encoder("sface")
        >>> encoder.dim, encoder.fingerprint.size
        (128, 112)
        >>> load_encoder("nowhere")
        Traceback (most recent call last):
            ...
        faceclr_cli.core.errors.ModelError: --model nowhere: there is no such folder; give a run ...
    """
    return CheckedEncoder(_find(model, device))


def _find(model: str, device: str) -> Encoder:
    if model in BUILT_IN:
        if device == "cuda":
            raise ConfigError(f"--device cuda: {model} {_ON_THE_CPU}")
        return _built_in(model)
    path = Path(model)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        if device == "cuda":
            raise ConfigError(f"--device cuda: {model} {_ON_THE_CPU}, or give the run that it was made of")
        return _exported(path)
    if not path.is_dir():
        found = "is neither a folder nor an .onnx file" if path.exists() else "there is no such folder"
        raise ModelError(
            f"--model {model}: {found}; give a run or encoder folder, or one of the built-in {' and '.join(BUILT_IN)}"
        )
    return _trained(path, device)


def _built_in(model: str) -> Encoder:
    if model == "sface":
        from faceclr_cli.core.encoders.sface import SFaceEncoder

        return SFaceEncoder()
    from faceclr_cli.core.encoders.pixels import PixelsEncoder

    return PixelsEncoder()


def _exported(path: Path) -> Encoder:
    try:
        from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
        from faceclr_cli.core.encoders.onnx_file import read_onnx
    except ImportError as error:
        raise ModelError(
            f"--model {path}: ONNX Runtime is missing ({error}); pip install 'faceclr[onnx]' brings it"
        ) from error
    file = read_onnx(path)
    beside = read_description(path.parent) if (path.parent / DESCRIPTION).is_file() else None
    return OnnxEncoder(file, beside if beside and file.matches(beside) else None)


def _trained(folder: Path, device: str) -> Encoder:
    if device == "cpu" or (device == "auto" and not _gpu_is_there()):
        encoder = _current(folder)
        if encoder is not None:
            return encoder
    # torch takes seconds to import, and only these encoders need it.
    from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder

    return load_encoder_folder(folder, device)


def _current(folder: Path) -> Encoder | None:
    """The folder's exported graph, or None where there is none, or one of former weights, or no ONNX Runtime."""
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


def _gpu_is_there() -> bool:
    """Whether torch finds a GPU; it is asked, and imported, only where a GPU has its driver."""
    if not _AMD.exists():
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return False
    import torch

    return torch.cuda.is_available()
