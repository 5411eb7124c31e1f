"""The source of an import: an ONNX file, a PyTorch checkpoint, or a model of the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.evaluation.importing.foreign_model import ForeignModel
from faceclr_cli.core.text import display_path

HUB = "hf-hub:"
_GRAPH = ".onnx"
_CHECKPOINTS = frozenset({".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar"})


@dataclass(frozen=True, kw_only=True)
class ImportSource:
    """An opened source.

    Attributes:
        model: The network.
        name: Its name in messages.
        file: The file name, or the name on the hub.
        url: Where it comes from, if that is known.
        revision: Revision on the hub, or None.
        license: The license that the hub states, or None.
    """

    model: ForeignModel
    name: str
    file: str
    url: str | None = None
    revision: str | None = None
    license: str | None = None


def open_import_source(config: ImportConfig) -> ImportSource:
    """Opens the source of an import.

    Raises:
        ModelError: It is missing, damaged, or of a form that faceclr does not read.
        ConfigError: An option that it needs is missing.
    """
    path = Path(config.source)
    name = display_path(path)
    if path.suffix.lower() == _GRAPH and not path.is_dir():
        return ImportSource(model=_open_graph(path, config), name=name, file=display_path(path.name))
    if not path.exists():
        raise ModelError(f"{name}: no such file")
    raise ModelError(f"{name}: neither an .onnx file nor a PyTorch checkpoint ({', '.join(sorted(_CHECKPOINTS))})")


def _open_graph(path: Path, config: ImportConfig) -> ForeignModel:
    from faceclr_cli.core.evaluation.importing.onnx_model import OnnxModel

    if config.backbone is not None:
        raise ConfigError(
            f"--backbone {config.backbone}: {display_path(path)} holds its network itself; omit the option"
        )
    return OnnxModel(path, output=config.output, size=config.size)
