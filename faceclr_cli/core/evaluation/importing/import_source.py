"""The source of an import: an ONNX file, a PyTorch checkpoint, or a model of the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.configs.name_values import parse_name_values
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.evaluation.importing.foreign_model import ForeignModel
from faceclr_cli.core.text import display_path

_HUB = ("hf-hub:", "hf_hub:")
_CONFIG = "config.json"
_GRAPH = ".onnx"
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar")


@dataclass(frozen=True, kw_only=True)
class ImportSource:
    """An opened source.

    Attributes:
        model: The network.
        name: Its name in messages.
        file: The file name, or the name on the hub.
        url: Where it comes from, if that is known.
        revision: Commit on the hub, or None.
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
        ConfigError: An option that it needs is missing, or cannot be combined with it.
    """
    if config.source.startswith(_HUB):
        return _open_hub(config)
    path = Path(config.source)
    name = display_path(path)
    if path.suffix.lower() == _GRAPH and not path.is_dir():
        return ImportSource(model=_open_graph(path, name, config), name=name, file=display_path(path.name))
    if config.output is not None:
        raise ConfigError(f"--output {config.output}: only .onnx files have outputs with names")
    if (path / _CONFIG).is_file():
        return ImportSource(model=_open_timm(config.source, path, config), name=name, file=display_path(path.name))
    if path.is_file() and path.suffix.lower() in _CHECKPOINTS:
        return ImportSource(model=_open_checkpoint(path, config), name=name, file=display_path(path.name))
    if not path.exists():
        raise ModelError(f"{name}: no such file or folder")
    raise ModelError(
        f"{name}: not a model; give an {_GRAPH} file, a checkpoint ({', '.join(_CHECKPOINTS[:4])}), or a folder with "
        f"the {_CONFIG} of a timm model"
    )


def _open_hub(config: ImportConfig) -> ImportSource:
    """Opens `hf-hub:USER/MODEL[@REVISION]`, a model of timm, or `hf-hub:USER/MODEL/FILE.onnx`."""
    from faceclr_cli.core.encoders.hub_files import find_hub_file

    place, at, revision = config.source.partition("@")
    repository, name = "/".join(place.split("/")[:2]), "/".join(place.split("/")[2:])
    source = repository + at + revision
    found = find_hub_file(source, name or _CONFIG)
    model = (
        _open_graph(found, config.source, config)
        if found.suffix.lower() == _GRAPH
        else _open_timm(source, found.parent, config)
    )
    return ImportSource(
        model=model,
        name=config.source,
        file=place.partition(":")[2],
        url=f"https://huggingface.co/{repository.partition(':')[2]}",
        revision=found.parents[name.count("/")].name,  # the folder of a commit in the cache
        license=_license(source),
    )


def _license(source: str) -> str | None:
    """Returns the license in the head of the card on the hub, if there is a card."""
    from faceclr_cli.core.encoders.hub_files import find_hub_file

    try:
        card = find_hub_file(source, "README.md").read_text(encoding="utf-8", errors="replace")
    except (ModelError, OSError):
        return None
    head = card.split("---")[1] if card.startswith("---") and card.count("---") > 1 else ""
    for line in head.splitlines():
        if line.startswith("license:"):
            return line.partition(":")[2].strip().strip("'\"") or None
    return None


def _open_graph(path: Path, name: str, config: ImportConfig) -> ForeignModel:
    from faceclr_cli.core.evaluation.importing.onnx_model import OnnxModel

    if config.backbone is not None or config.backbone_args:
        raise ConfigError(f"--backbone: {name} holds its network itself; omit the option")
    return OnnxModel(path, output=config.output, size=config.size)


def _open_timm(source: str, folder: Path, config: ImportConfig) -> ForeignModel:
    from faceclr_cli.core.encoders.checkpoints.timm_folder import WEIGHTS, load_timm_folder
    from faceclr_cli.core.evaluation.importing.torch_model import TorchModel

    for option, value in (
        ("size", config.size),
        ("backbone", config.backbone),
        ("backbone-args", config.backbone_args),
    ):
        if value:
            raise ConfigError(f"--{option}: {source} states it in its {_CONFIG}; omit the option")
    foreign = load_timm_folder(source)
    weights = next(folder / name for name in WEIGHTS if (folder / name).is_file())
    return TorchModel(foreign, digest_file(weights))


def _open_checkpoint(path: Path, config: ImportConfig) -> ForeignModel:
    from faceclr_cli.core.encoders.checkpoints.foreign_network import load_checkpoint_network
    from faceclr_cli.core.evaluation.importing.torch_model import TorchModel

    arguments = parse_name_values(config.backbone_args, "--backbone-args")
    foreign = load_checkpoint_network(path, config.backbone, backbone_args=arguments, image_size=config.size)
    return TorchModel(foreign, digest_file(path))
