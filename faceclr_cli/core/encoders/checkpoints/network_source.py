"""Sources of networks from other projects: files, timm folders, and the Hugging Face hub.

Does not import torch before a network is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from faceclr_cli.core.artifacts import digest_file, read_json
from faceclr_cli.core.encoders.architecture import BackboneArgs
from faceclr_cli.core.encoders.hub_files import find_hub_file, is_hub_source
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.text import display_path

if TYPE_CHECKING:
    from faceclr_cli.core.encoders.checkpoints.foreign_network import ForeignNetwork

CONFIG = "config.json"
_ARCHITECTURE = "architecture"
_GRAPH = ".onnx"
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar")


@dataclass(frozen=True, kw_only=True)
class NetworkSource:
    """A source of a network, which is not loaded yet.

    Attributes:
        given: The source as given by the user.
        kind: An ONNX `graph`, a model of `timm` with its config.json, or a `checkpoint` of PyTorch.
        path: The file, or the folder of a timm model.
        file: The file name, or the name on the hub.
        url: Its origin, if known.
        revision: Commit on the hub, or None.
        license: The license that the hub states, or None.
    """

    given: str
    kind: Literal["graph", "timm", "checkpoint"]
    path: Path
    file: str
    url: str | None = None
    revision: str | None = None
    license: str | None = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.given if is_hub_source(self.given) else display_path(self.given)

    def load(
        self, backbone: str | None = None, backbone_args: BackboneArgs = (), image_size: int | None = None
    ) -> ForeignNetwork:
        """Loads the network of a timm model or a checkpoint.

        Args:
            backbone: Name of the network in a checkpoint; None to recognize it.
            backbone_args: Keyword arguments of the backbone of a checkpoint.
            image_size: Side of the pictures in pixels; None for the side that the weights need, or 112.

        Raises:
            ConfigError: The backbone does not exist or does not take these arguments.
            ModelError: The network is damaged, refused or not recognized, or is an ONNX graph.
        """
        from faceclr_cli.core.encoders.checkpoints.foreign_network import load_checkpoint_network
        from faceclr_cli.core.encoders.checkpoints.timm_folder import load_timm_folder

        match self.kind:
            case "graph":
                raise ModelError(
                    f"{self.name}: an ONNX graph, which cannot be trained; give the checkpoint that it was made from"
                )
            case "timm":
                return load_timm_folder(self.given)
            case "checkpoint":
                return load_checkpoint_network(self.path, backbone, backbone_args=backbone_args, image_size=image_size)

    def digest(self) -> str:
        """Returns the SHA-256 of the file with the weights, which must have been loaded."""
        if self.kind != "timm":
            return digest_file(self.path)
        from faceclr_cli.core.encoders.checkpoints.timm_folder import WEIGHTS

        return digest_file(next(self.path / name for name in WEIGHTS if (self.path / name).is_file()))

    def to_json(self) -> dict[str, Any]:
        """The origin of the network, as recorded in artifacts."""
        return {
            "file": self.file,
            "sha256": self.digest(),
            "url": self.url,
            "revision": self.revision,
            "license": self.license or "unknown",
        }


def is_foreign_source(source: str) -> bool:
    """Returns True for a file, a repository of the hub or a timm folder, and False for other folders and names."""
    if is_hub_source(source) or Path(source).is_file():
        return True
    try:
        return _ARCHITECTURE in read_json(Path(source) / CONFIG)  # Runs have a file of this name, too.
    except DataError:
        return False


def find_network_source(source: str) -> NetworkSource:
    """Finds the source of a network from another project.

    Args:
        source: An .onnx file, a checkpoint of PyTorch, a folder with a timm model, `hf-hub:USER/MODEL[@REVISION]`, or
            `hf-hub:USER/MODEL/FILE`.

    Raises:
        ModelError: The source is missing, cannot be downloaded, or has an unsupported format.
    """
    if is_hub_source(source):
        return _find_on_hub(source)
    path = Path(source)
    name, file = display_path(path), display_path(path.name)
    if path.suffix.lower() == _GRAPH and not path.is_dir():
        return NetworkSource(given=source, kind="graph", path=path, file=file)
    if (path / CONFIG).is_file():
        return NetworkSource(given=source, kind="timm", path=path, file=file)
    if path.is_file() and path.suffix.lower() in _CHECKPOINTS:
        return NetworkSource(given=source, kind="checkpoint", path=path, file=file)
    if not path.exists():
        raise ModelError(f"{name}: no such file or folder")
    raise ModelError(
        f"{name}: not a model; give an {_GRAPH} file, a checkpoint ({', '.join(_CHECKPOINTS[:4])}), or a folder with "
        f"the {CONFIG} of a timm model"
    )


def _find_on_hub(source: str) -> NetworkSource:
    place, at, revision = source.partition("@")
    repository, name = "/".join(place.split("/")[:2]), "/".join(place.split("/")[2:])
    found = find_hub_file(repository + at + revision, name or CONFIG)
    return NetworkSource(
        given=source,
        kind="timm" if not name else "graph" if found.suffix.lower() == _GRAPH else "checkpoint",
        path=found if name else found.parent,
        file=place.partition(":")[2],
        url=f"https://huggingface.co/{repository.partition(':')[2]}",
        revision=found.parents[name.count("/")].name,  # the folder of a commit in the cache
        license=_license(repository + at + revision),
    )


def _license(repository: str) -> str | None:
    """Returns the license in the head of the card on the hub, if there is a card."""
    try:
        card = find_hub_file(repository, "README.md").read_text(encoding="utf-8", errors="replace")
    except (ModelError, OSError):
        return None
    head = card.split("---")[1] if card.startswith("---") and card.count("---") > 1 else ""
    for line in head.splitlines():
        if line.startswith("license:"):
            return line.partition(":")[2].strip().strip("'\"") or None
    return None
