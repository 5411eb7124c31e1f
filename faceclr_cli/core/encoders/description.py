"""What an encoder folder says of itself. Knows no torch: an exported encoder runs without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.encoders.architecture import NORMALISATION, Architecture
from faceclr_cli.core.encoders.base import Calibration
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint

DESCRIPTION = "encoder.json"
WEIGHTS = "weights.safetensors"
_IN_A_RUN = "encoder"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What an encoder was made from, for those who ask whether a test is fair to it.

    Attributes:
        command: Which command trained it: `pretrain`.
        config: The resolved options of that command.
        data: Name of the folder of faces.
        pictures: How many pictures it was trained on.
        people: How many pictures of each person, by name; empty where nobody knows them.
    """

    command: str
    config: Mapping[str, Any]
    data: str
    pictures: int
    people: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The card as `encoder.json` holds it; the config stands beside it, as in every artifact."""
        return {"command": self.command, "data": self.data, "pictures": self.pictures, "people": dict(self.people)}


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `encoder.json` says.

    Attributes:
        folder: Where it lies.
        architecture: How to build the network.
        fingerprint: How crops must be made for it, and what it does to them.
        calibration: Its threshold and what that means, or None.
        card: What it was made from.
        digest: SHA-256 of the weights.
    """

    folder: Path
    architecture: Architecture
    fingerprint: Fingerprint
    calibration: Calibration | None
    card: Card
    digest: str

    @property
    def name(self) -> str:
        """What to call the encoder: as its folder, or as the run that the folder lies in."""
        folder = self.folder.resolve()
        return folder.parent.name if self.folder.name == _IN_A_RUN else folder.name


def describe(folder: Path) -> Description:
    """Reads what an encoder folder, or the encoder in a run folder, says of itself.

    Raises:
        ModelError: There is no encoder, or its description is damaged or foreign.
    """
    for candidate in (folder, folder / _IN_A_RUN):
        if (candidate / DESCRIPTION).is_file():
            break
    else:
        state = "holds no encoder" if folder.is_dir() else "no such folder"
        raise ModelError(f"{folder}: {state}; give a run that has finished an epoch, or an encoder folder")
    path = candidate / DESCRIPTION
    try:
        content = read_json(path)
        if content.get("kind") != "encoder":
            raise ModelError(f"{path}: does not describe an encoder")
        description = _parse(candidate, content)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ModelError(f"{path}: damaged or of another version of faceclr ({reason})") from error
    if (description.fingerprint.channels, description.fingerprint.normalisation) != ("rgb", NORMALISATION):
        raise ModelError(f"{path}: its pixels are prepared in a way that this version of faceclr does not know")
    return description


def _parse(folder: Path, content: Mapping[str, Any]) -> Description:
    card, calibration = content["card"], content["calibration"]
    return Description(
        folder=folder,
        architecture=Architecture.from_json(content["architecture"]),
        fingerprint=Fingerprint.from_json(content["fingerprint"], str(folder / DESCRIPTION)),
        calibration=None if calibration is None else Calibration.from_json(calibration),
        card=Card(
            command=str(card["command"]),
            config=dict(content["config"]),
            data=str(card["data"]),
            pictures=int(card["pictures"]),
            people={str(name): int(count) for name, count in card["people"].items()},
        ),
        digest=str(content["weights"]["sha256"]),
    )
