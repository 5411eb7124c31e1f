"""The source of an import: an ONNX file, a PyTorch checkpoint, or a model of the Hugging Face hub."""

from __future__ import annotations

from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.configs.name_values import parse_name_values
from faceclr_cli.core.encoders.checkpoints.network_source import CONFIG, NetworkSource, find_network_source
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.importing.foreign_model import ForeignModel


def open_import_source(config: ImportConfig) -> tuple[NetworkSource, ForeignModel]:
    """Opens the source of an import.

    Raises:
        ModelError: It is missing, damaged, or of a form that faceclr does not read.
        ConfigError: An option that it needs is missing, or cannot be combined with it.
    """
    source = find_network_source(config.source)
    if source.kind == "graph":
        return source, _open_graph(source, config)
    if config.output is not None:
        raise ConfigError(f"--output {config.output}: only .onnx files have outputs with names; omit the option")
    return source, _open_network(source, config)


def _open_graph(source: NetworkSource, config: ImportConfig) -> ForeignModel:
    from faceclr_cli.core.evaluation.importing.onnx_model import OnnxModel

    if config.backbone is not None or config.backbone_args:
        raise ConfigError(f"--backbone: {source.name} holds its network itself; omit the option")
    return OnnxModel(source.path, output=config.output, size=config.size)


def _open_network(source: NetworkSource, config: ImportConfig) -> ForeignModel:
    from faceclr_cli.core.evaluation.importing.torch_model import TorchModel

    stated = {"size": config.size, "backbone": config.backbone, "backbone-args": config.backbone_args}
    given = next((option for option, value in stated.items() if value), None)
    if source.kind == "timm" and given is not None:
        raise ConfigError(f"--{given}: {source.given} states it in its {CONFIG}; omit the option")
    arguments = parse_name_values(config.backbone_args, "--backbone-args")
    return TorchModel(source.load(config.backbone, arguments, config.size))
