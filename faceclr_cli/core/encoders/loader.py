"""Loads encoders by name, folder or file."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.configs.embed import ComputePrecision
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.checked_encoder import CheckedEncoder
from faceclr_cli.core.encoders.description import DESCRIPTION, GRAPH, GRAPH_ONLY, read_description
from faceclr_cli.core.encoders.devices import has_torch_gpu
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.text import display_path

BUILT_IN = ("sface", "pixels")


def load_encoder(
    model: str,
    device: str = "auto",
    *,
    precision: ComputePrecision = "float32",
    one_off: bool = False,
    unnormalized: bool = False,
) -> CheckedEncoder:
    """Loads an encoder by name, folder or file.

    On the CPU, ONNX Runtime runs `sface`, and the exported graph of an encoder folder if it is up to date with the
    weights. `ModelError` is raised if an embedding is NaN or infinite.

    Args:
        model: `sface`, `pixels`, or the path of a run folder, an encoder folder or an exported encoder (`.onnx`). Write
            `./sface` for a folder named like a built-in encoder.
        device: `auto` (the GPU if there is one), `cpu`, `cuda` or `mps`; for `sface` and graphs also the providers of
            ONNX Runtime `openvino` and `coreml`. `pixels` runs only on the CPU.
        precision: `bf16` computes in bfloat16 where PyTorch can: faster on a GPU and on a CPU with AMX, and slower on
            other CPUs. The embeddings differ slightly.
        one_off: True for few crops: OpenCV runs `sface` on the CPU, which starts faster but is slower for each crop.
        unnormalized: The caller needs unnormalized embeddings, which exported graphs do not return. PyTorch then runs
            encoder folders, also on the CPU.

    Raises:
        ModelError: There is no such encoder, it is damaged or unsupported.
        ConfigError: The device is not available, or the encoder supports neither it nor the precision.

    Examples:
        >>> encoder = load_encoder("sface", one_off=True)
        >>> encoder.dim, encoder.fingerprint.size
        (128, 112)
        >>> load_encoder("nowhere")
        Traceback (most recent call last):
            ...
        faceclr_cli.core.errors.ModelError: nowhere: no such folder; give a run ...
    """
    return CheckedEncoder(_load(model, device, precision, one_off=one_off, unnormalized=unnormalized))


def _load(model: str, device: str, precision: ComputePrecision, *, one_off: bool, unnormalized: bool) -> Encoder:
    if model == "sface":
        return _load_sface(device, precision, one_off=one_off)
    if model == "pixels":
        return _load_pixels(device, precision)
    path = Path(model)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        if precision != "float32":
            raise ConfigError(f"--precision {precision}: {model} is a graph; give the run that it was exported from")
        return _load_exported(path, device)
    if not path.is_dir():
        problem = "neither a folder nor an .onnx file" if path.exists() else "no such folder"
        raise ModelError(
            f"{display_path(model)}: {problem}; give a run folder, an encoder folder, or one of the built-in encoders "
            f"{' and '.join(BUILT_IN)}"
        )
    return _load_folder(path, device, precision, unnormalized=unnormalized)


def _load_sface(device: str, precision: ComputePrecision, *, one_off: bool) -> Encoder:
    if _wants_torch(device, precision):
        from faceclr_cli.core.encoders.built_in_network import load_sface_encoder

        return load_sface_encoder(device, precision)
    if one_off and device in ("auto", "cpu"):
        from faceclr_cli.core.encoders.sface import SFaceEncoder

        return SFaceEncoder()
    try:
        from faceclr_cli.core.encoders.sface_graph import SFaceGraphEncoder
    except ImportError as error:
        raise ModelError(
            f"--model sface: ONNX Runtime is missing ({error}); run: pip install onnxruntime onnx"
        ) from error
    return SFaceGraphEncoder(device)


def _load_pixels(device: str, precision: ComputePrecision) -> Encoder:
    if device not in ("auto", "cpu") or precision != "float32":
        option = f"--device {device}" if device not in ("auto", "cpu") else f"--precision {precision}"
        raise ConfigError(f"{option}: pixels runs only on the CPU, in float32; omit the option")
    from faceclr_cli.core.encoders.pixels import PixelsEncoder

    return PixelsEncoder()


def _wants_torch(device: str, precision: ComputePrecision) -> bool:
    """Returns True if PyTorch runs a network that also has a graph."""
    if precision != "float32":
        return True
    return has_torch_gpu() if device == "auto" else device in ("cuda", "mps")


def _load_exported(path: Path, device: str) -> Encoder:
    from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
    from faceclr_cli.core.encoders.onnx_file import read_onnx

    file = read_onnx(path)
    beside = read_description(path.parent) if (path.parent / DESCRIPTION).is_file() else None
    return OnnxEncoder(file, beside if beside and file.matches(beside) else None, device)


def _load_folder(folder: Path, device: str, precision: ComputePrecision, *, unnormalized: bool) -> Encoder:
    if read_description(folder).architecture.backbone == GRAPH_ONLY:
        return _load_graph(folder, device, precision)
    if not (unnormalized or _wants_torch(device, precision)):
        encoder = _load_current_graph(folder, device)
        if encoder is not None:
            return encoder
        if device not in ("auto", "cpu"):
            raise ConfigError(
                f"--device {device}: runs only exported encoders; run: faceclr export {display_path(folder)}"
            )
    # Importing torch takes seconds, and only these encoders need it.
    from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder

    return load_encoder_folder(folder, device, precision)


def _load_graph(folder: Path, device: str, precision: ComputePrecision) -> Encoder:
    """Loads an encoder that was imported as an ONNX graph."""
    if precision != "float32":
        raise ConfigError(
            f"--precision {precision}: {display_path(folder)} was imported as an ONNX graph, which computes in "
            "float32; omit the option"
        )
    encoder = _load_current_graph(folder, device)
    if encoder is None:
        raise ModelError(
            f"{display_path(folder)}: {GRAPH} is missing, or not the one that {DESCRIPTION} describes; import it again"
        )
    return encoder


def _load_current_graph(folder: Path, device: str) -> Encoder | None:
    """Loads the graph of a folder, or returns None if it is missing or outdated."""
    description = read_description(folder)
    path = description.folder / GRAPH
    if not path.exists():
        return None
    from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
    from faceclr_cli.core.encoders.onnx_file import read_onnx

    file = read_onnx(path)
    if not file.matches(description) or file.digest != description.digest:
        return None
    return OnnxEncoder(file, description, device)
