"""The description of an encoder folder (encoder.json). Does not import torch, which exported encoders do not need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.encoders.architecture import SFACE_BACKBONE, SFACE_PIXELS, Architecture
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint

DESCRIPTION = "encoder.json"
WEIGHTS = "weights.safetensors"
GRAPH = "encoder.onnx"
GRAPH_ONLY = "onnx"
"""Backbone of encoders that were imported as an ONNX graph and have no weights for PyTorch."""

_IN_A_RUN = "encoder"
_LARGEST_DESCRIPTION = 256 * 2**20
_LARGEST_WEIGHTS = 4 * 2**30


class Teacher(NamedTuple):
    """An encoder that another encoder was distilled from.

    Attributes:
        name: Its name.
        digest: SHA-256 of its weights.
    """

    name: str
    digest: str


class Ancestor(NamedTuple):
    """An encoder that training started from, directly or through other encoders.

    Attributes:
        command: Name of the command that trained it; `unknown` if an earlier version of faceclr did not record it.
        digest: SHA-256 of its weights; empty if it is unknown.
        people: Number of its training pictures of each person, by name; empty if the people are unknown.
    """

    command: str
    digest: str
    people: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Card:
    """The training data of an encoder, which shows whether an evaluation overlaps with it.

    Attributes:
        command: Name of the command that trained it, such as `pretrain`.
        config: The resolved options of that command.
        data: Name of the folder of faces.
        pictures: Number of training pictures.
        people: Number of training pictures of each person, by name; empty if the people are unknown.
        teachers: Name and digest of each encoder that it was distilled from.
        ancestors: The encoders that training started from, the oldest first.
    """

    command: str
    config: Mapping[str, Any]
    data: str
    pictures: int
    people: Mapping[str, int]
    teachers: tuple[Teacher, ...] = ()
    ancestors: tuple[Ancestor, ...] = ()

    @property
    def everyone(self) -> set[str]:
        """The people in the training data of the encoder and of its ancestors."""
        return set(self.people).union(*(ancestor.people for ancestor in self.ancestors))

    def to_json(self) -> dict[str, Any]:
        """The card as a JSON object, without the config, which is a field of `encoder.json` itself."""
        return {
            "command": self.command,
            "data": self.data,
            "pictures": self.pictures,
            "people": dict(self.people),
            "teachers": [teacher._asdict() for teacher in self.teachers],
            "ancestors": ancestors_to_json(self.ancestors),
        }


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `encoder.json`.

    Attributes:
        folder: The encoder folder.
        architecture: Architecture of the network.
        fingerprint: The preprocessing that the encoder expects.
        calibration: Its calibration, or None.
        card: Its training data.
        digest: SHA-256 of the weights.
        content: The JSON document itself.
    """

    folder: Path
    architecture: Architecture
    fingerprint: Fingerprint
    calibration: Calibration | None
    card: Card
    digest: str
    content: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name of the encoder: that of its folder, or of the run that contains the folder."""
        folder = self.folder.resolve()
        return folder.parent.name if self.folder.name == _IN_A_RUN else folder.name


def ancestors_to_json(ancestors: Iterable[Ancestor]) -> list[dict[str, Any]]:
    """Returns ancestors as JSON objects."""
    return [each._asdict() | {"people": dict(each.people)} for each in ancestors]


def parse_ancestors(content: Iterable[Mapping[str, Any]]) -> tuple[Ancestor, ...]:
    """Parses the result of `ancestors_to_json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: A field is missing or of the wrong type.
    """
    return tuple(Ancestor(str(each["command"]), str(each["digest"]), _parse_people(each["people"])) for each in content)


def _parse_people(people: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(count) for name, count in people.items()}


def _former_ancestors(config: Mapping[str, Any]) -> tuple[Ancestor, ...]:
    """Derives the encoder in `--init` from the options of a run, since earlier versions did not record it."""
    init = config.get("init", "random")
    if init in ("random", "imagenet"):
        return ()
    return (Ancestor("built-in" if init == "sface" else "unknown", "", {}),)


def read_description(folder: Path) -> Description:
    """Reads the description of an encoder folder, or of the encoder in a run folder.

    Raises:
        ModelError: There is no encoder, its description is damaged or unsupported, or a file is too large.
    """
    for candidate in (folder, folder / _IN_A_RUN):
        if (candidate / DESCRIPTION).is_file():
            break
    else:
        state = "holds no encoder" if folder.is_dir() else "no such folder"
        raise ModelError(f"{folder}: {state}; give a run that has finished an epoch, or an encoder folder")
    path = candidate / DESCRIPTION
    require_size(path, _LARGEST_DESCRIPTION)
    require_size(candidate / WEIGHTS, _LARGEST_WEIGHTS)
    try:
        content = read_json(path)
    except (DataError, RecursionError) as error:
        raise _damaged(str(path), error) from error
    return parse_description(content, str(path), candidate)


def require_size(path: Path, largest: int) -> None:
    """Rejects a file that is larger than faceclr would write. A missing file passes.

    Raises:
        ModelError: The file has more than `largest` bytes.
    """
    if path.is_file() and (size := path.stat().st_size) > largest:
        raise ModelError(f"{path}: {size / 2**30:.1f} GiB, larger than any file that faceclr writes")


def rounded_digest(digest: str, precision: str) -> str:
    """Returns the digest of an encoder that computes in a lower precision: its embeddings do not mix with others.

    Args:
        digest: SHA-256 of the weights.
        precision: The precision, such as `float16`.
    """
    return hashlib.sha256(f"{digest} {precision}".encode()).hexdigest()


def parse_description(content: Mapping[str, Any], origin: str, folder: Path) -> Description:
    """Parses the JSON document of a description.

    Args:
        content: The document.
        origin: Name of its file, for errors.
        folder: The folder of that file.

    Raises:
        ModelError: The document is damaged or unsupported.
    """
    try:
        if content.get("kind") != "encoder":
            raise ModelError(f"{origin}: does not describe an encoder")
        description = _parse(folder, content, origin)
    except (DataError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(origin, error) from error
    fingerprint, normalization = description.fingerprint, description.architecture.normalization
    stated = (fingerprint.channels, fingerprint.normalization)
    is_built_in = description.architecture.backbone == SFACE_BACKBONE and stated == SFACE_PIXELS
    if stated != (normalization.channels, normalization.text) and not is_built_in:
        raise ModelError(
            f"{origin}: its channel order or normalization is not supported by this version of faceclr; upgrade faceclr"
        )
    return description


def _damaged(origin: str, error: Exception) -> ModelError:
    reason = str(error).removeprefix(f"{origin}: ")
    return ModelError(f"{origin}: damaged or of another version of faceclr ({reason})")


def _parse(folder: Path, content: Mapping[str, Any], origin: str) -> Description:
    card, calibration = content["card"], content["calibration"]
    return Description(
        folder=folder,
        architecture=Architecture.from_json(content["architecture"]),
        fingerprint=Fingerprint.from_json(content["fingerprint"], origin),
        calibration=None if calibration is None else Calibration.from_json(calibration),
        card=Card(
            command=str(card["command"]),
            config=dict(content["config"]),
            data=str(card["data"]),
            pictures=int(card["pictures"]),
            people=_parse_people(card["people"]),
            teachers=tuple(Teacher(str(each["name"]), str(each["digest"])) for each in card.get("teachers", ())),
            ancestors=(
                parse_ancestors(card["ancestors"]) if "ancestors" in card else _former_ancestors(content["config"])
            ),
        ),
        digest=str(content["weights"]["sha256"]),
        content=content,
    )
