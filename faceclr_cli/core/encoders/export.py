"""`faceclr export`: writes an encoder as one ONNX file or a timm folder, and verifies it against PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from faceclr_cli.core.artifacts import atomic_folder, atomic_path
from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.configs.train import HISTOGRAMS
from faceclr_cli.core.encoders.built_in_network import load_sface_network
from faceclr_cli.core.encoders.checked_encoder import CheckedEncoder
from faceclr_cli.core.encoders.description import GRAPH, Description
from faceclr_cli.core.encoders.encoder_folder import TorchEncoder, load_network
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.encoders.sface_description import NAME as SFACE
from faceclr_cli.core.encoders.sface_description import describe_sface
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.events import Reporter, TaskFinished, TaskStarted, track
from faceclr_cli.core.text import display_path

if TYPE_CHECKING:
    import onnx

    from faceclr_cli.core.encoders.onnx_file import Precision

TIMM_CONFIG = "config.json"
HALF_GRAPH = "encoder-half.onnx"
CROPS = 64
LEAST_COSINE = {"float32": 0.9999, "float16": 0.999}
"""Minimum cosine between exported embeddings and PyTorch's float32 embeddings, by precision."""

_NEEDED = ("onnx", "onnxruntime", "onnxscript")  # torch's exporter needs onnxscript
_COPY_CROPS = 16
_TRACING = "tracing the network"


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """The fields that the results of all exports share.

    Attributes:
        out: The file.
        bytes: Size of the file.
        crop_size: Side of the input crops in pixels.
        dim: Length of an embedding.
        precision: Precision of weights and computation: `float32`, `float16` or `int8`.
    """

    out: Path
    bytes: int
    crop_size: int
    dim: int
    precision: str

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"out": str(self.out)}


@dataclass(frozen=True, kw_only=True)
class ExportResult(ExportedFile):
    """The exported file, compared with PyTorch.

    Attributes:
        crops: Number of random crops in the comparison with PyTorch.
        cosine: Minimum cosine between the exported embeddings of these crops and PyTorch's.
    """

    crops: int
    cosine: float


def export(config: ExportConfig, reporter: Reporter) -> ExportResult:
    """Exports an encoder. Writes nothing if the embeddings of random crops differ from PyTorch's.

    Raises:
        ModelError: There is no encoder, it is damaged, a package is missing, the export fails, or the embeddings
            differ.
        ConfigError: The output path is a folder, the encoder needs float32, or the options ask for 8-bit numbers; see
            `export_int8`.
        DataError: The file cannot be written.
    """
    from faceclr_cli.core.encoders.graph_copy import find_graph_only

    if config.int8:
        raise ConfigError("--int8 measures on faces; call export_int8")
    imported = find_graph_only(config.run)
    if imported is not None:
        return _export_imported(config, imported)
    if config.format == "timm":
        return _export_folder(config, reporter)
    _require_exporter()
    from faceclr_cli.core.encoders.export_graph import ExportedNetwork, trace
    from faceclr_cli.core.encoders.onnx_file import write_onnx

    network, description = _load_source(config.run)
    out = config.out or _default_path(description, config)
    if out.is_dir():
        raise ConfigError(f"{display_path(out)}: is a folder; give -o a file name, such as {display_path(out / GRAPH)}")
    if config.half:
        _require_robust_backbone(network, "--half")
    encoder = TorchEncoder(description, network, torch.device("cpu"))
    side, precision = description.fingerprint.size, _precision(config)
    reporter.report(TaskStarted(task=_TRACING))
    try:
        model = trace(ExportedNetwork(network, side, half=config.half), side)
        reporter.report(TaskFinished(task=_TRACING))
        with atomic_path(out) as temporary:
            write_onnx(temporary, model, description.content, precision)
            cosine = _compare_with_torch(temporary, encoder, LEAST_COSINE[precision], reporter)
            size = temporary.stat().st_size
    except ModelError as error:
        raise ModelError(f"{display_path(config.run)}: not exported: {error}") from error
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error
    return ExportResult(
        out=out, bytes=size, crop_size=side, dim=encoder.dim, precision=precision, crops=CROPS, cosine=cosine
    )


def trace_source(run: Path, reporter: Reporter) -> tuple[onnx.ModelProto, Description]:
    """Returns the float32 graph of an encoder to quantize, without metadata, and its description.

    Args:
        run: As for `ExportConfig.run`.
        reporter: Receives the progress.

    Raises:
        ModelError: As for `export`.
        ConfigError: The encoder needs float32.
    """
    from faceclr_cli.core.encoders.graph_copy import find_graph_only, read_imported_graph

    imported = find_graph_only(run)
    if imported is not None:
        return read_imported_graph(imported), imported
    _require_exporter()
    from faceclr_cli.core.encoders.export_graph import ExportedNetwork, trace

    network, description = _load_source(run)
    _require_robust_backbone(network, "--int8")
    side = description.fingerprint.size
    reporter.report(TaskStarted(task=_TRACING))
    model = trace(ExportedNetwork(network.eval(), side, half=False), side)
    reporter.report(TaskFinished(task=_TRACING))
    return model, description


def _export_imported(config: ExportConfig, description: Description) -> ExportResult:
    """Copies the graph of an imported encoder, which needs no tracing, and compares the two files."""
    from faceclr_cli.core.encoders.graph_copy import copy_graph
    from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
    from faceclr_cli.core.encoders.onnx_file import read_onnx

    if config.format == "timm":
        raise ConfigError(f"--format timm: {display_path(config.run)} was imported as an ONNX graph, not as a network")
    if config.half:
        raise ConfigError(
            f"--half: {display_path(config.run)} was imported as an ONNX graph, whose precision cannot be changed"
        )
    out = config.out or description.folder / GRAPH
    if out.is_dir():
        raise ConfigError(f"{display_path(out)}: is a folder; give -o a file name, such as {display_path(out / GRAPH)}")
    side, dim = description.fingerprint.size, description.architecture.embedding_dim
    crops = _random_crops(side)[:: CROPS // _COPY_CROPS]
    before = OnnxEncoder(read_onnx(description.folder / GRAPH)).embed(crops)
    try:
        size = copy_graph(description, out)
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error
    cosine = float(np.sum(before * OnnxEncoder(read_onnx(out)).embed(crops), axis=1).min())
    return ExportResult(
        out=out, bytes=size, crop_size=side, dim=dim, precision="float32", crops=len(crops), cosine=cosine
    )


def _export_folder(config: ExportConfig, reporter: Reporter) -> ExportResult:
    from faceclr_cli.core.encoders.timm_export import TimmNetwork, require_timm_form, write_timm_folder

    network, description = _load_source(config.run)
    require_timm_form(network.architecture)
    out = config.out or description.folder / "timm"
    if out.exists() and not (out / TIMM_CONFIG).is_file():
        raise ConfigError(f"{display_path(out)}: exists, and is not a folder of a timm model; choose another -o")
    encoder = TorchEncoder(description, network, torch.device("cpu"))
    try:
        with atomic_folder(out) as temporary:
            write_timm_folder(temporary, network, description)
            exported = TimmNetwork(temporary, network.architecture).eval()
            cosine = _compare_embeddings(
                partial(_embed_by, exported, network.architecture.image_size),
                encoder,
                LEAST_COSINE["float32"],
                reporter,
            )
            size = sum(path.stat().st_size for path in temporary.iterdir())
    except ModelError as error:
        raise ModelError(f"{display_path(config.run)}: not exported: {error}") from error
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error
    return ExportResult(
        out=out,
        bytes=size,
        crop_size=network.architecture.image_size,
        dim=encoder.dim,
        precision="float32",
        crops=CROPS,
        cosine=cosine,
    )


@torch.inference_mode()
def _embed_by(network: nn.Module, size: int, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    embeddings: NDArray[np.float32] = network(normalize_pixels(torch.tensor(crops), size)).numpy()
    return embeddings


def _require_robust_backbone(network: EncoderNetwork, option: str) -> None:
    if network.architecture.backbone == HISTOGRAMS:
        raise ConfigError(
            f"{option}: {HISTOGRAMS} depend on the signs of small numbers, which rounding changes; omit it"
        )


def _load_source(run: Path) -> tuple[EncoderNetwork, Description]:
    """Returns the built-in encoder for its name, if there is no folder of this name."""
    if run == Path(SFACE) and not run.exists():
        return load_sface_network(), describe_sface()
    return load_network(run)


def _default_path(description: Description, config: ExportConfig) -> Path:
    """Returns the path beside the weights, where `--model RUN` finds it; for `sface`, in the working directory."""
    if description.card.command == "built-in":
        return Path("sface-half.onnx" if config.half else "sface.onnx")
    return description.folder / (HALF_GRAPH if config.half else GRAPH)


def _precision(config: ExportConfig) -> Precision:
    return "float16" if config.half else "float32"


def _compare_with_torch(path: Path, encoder: TorchEncoder, bound: float, reporter: Reporter) -> float:
    """Compares embeddings of random crops with PyTorch's, in batches of several sizes.

    Returns:
        The minimum cosine.

    Raises:
        ModelError: The minimum is below `bound`, or the file cannot be run.
    """
    from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
    from faceclr_cli.core.encoders.onnx_file import read_onnx

    try:
        return _compare_embeddings(OnnxEncoder(read_onnx(path)).embed, encoder, bound, reporter)
    except ModelError as error:
        raise ModelError(str(error).removeprefix(f"{display_path(path)}: ")) from error


def _compare_embeddings(
    embed: Callable[[NDArray[np.uint8]], NDArray[np.float32]], encoder: TorchEncoder, bound: float, reporter: Reporter
) -> float:
    batches = np.split(_random_crops(encoder.fingerprint.size), [1, 4, 36])
    original = CheckedEncoder(encoder)
    least = [
        np.sum(original.embed(crops).astype(np.float64) * embed(crops), axis=1).min()
        for crops in track(batches, reporter, "comparing with PyTorch", total=len(batches), unit="batches")
    ]
    cosine = float(np.min(least))
    if not cosine >= bound:
        raise ModelError(
            f"its embeddings differ from PyTorch's (minimum cosine on {CROPS} random crops {cosine:.6f}, below {bound})"
        )
    return cosine


def _random_crops(side: int) -> NDArray[np.uint8]:
    """Noise at scales from one color per crop to one per pixel: networks map all fine noise to similar embeddings."""
    generator, crops = np.random.default_rng(0), np.empty((CROPS, side, side, 3), np.uint8)
    for crop, grains in zip(crops, np.geomspace(1, side, CROPS).round().astype(int), strict=True):
        places = np.arange(side) * grains // side
        crop[:] = generator.integers(0, 256, (grains, grains, 3), np.uint8)[places[:, None], places]
    return crops


def _require_exporter() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        names = " and ".join(missing)
        raise ModelError(f"export needs {names}, which {verb} not installed; run: pip install 'faceclr[onnx]'")
