"""`faceclr info`: descriptions of artifacts, without loading their content."""

from __future__ import annotations

import csv
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.configs.info import InfoConfig
from faceclr_cli.core.embeddings.hdf5_columns import read_people
from faceclr_cli.core.embeddings.store import is_store, open_store
from faceclr_cli.core.encoders.description import DESCRIPTION as ENCODER
from faceclr_cli.core.encoders.description import GRAPH, Description, read_description
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.face_folder import DESCRIPTION as FACES
from faceclr_cli.core.faces.face_folder import SPLIT, open_faces
from faceclr_cli.core.sources.containers import Container, is_container, open_container
from faceclr_cli.core.text import display_path

_SAMPLE, _SIZES = 64, 6  # Pictures that are decoded, and sizes that are listed.
RUN, HISTORY, GROUPS, CLASSIFIER = "config.json", "history.csv", "cluster.json", "classifier.json"


@dataclass(frozen=True, kw_only=True)
class InfoResult:
    """Description of an artifact.

    Attributes:
        kind: `container`, `faces`, `split`, `run`, `encoder`, `embeddings`, `groups`, `classifier` or `calibration`.
        path: The file or folder.
        about: Its metadata, as JSON values.
    """

    kind: str
    path: Path
    about: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {"kind": self.kind, "path": str(self.path), **self.about}


def info(config: InfoConfig, reporter: Reporter) -> InfoResult:
    """Detects the kind of an artifact and reads its metadata.

    Raises:
        DataError: The path does not exist, is not an artifact of faceclr, or is damaged.
        ModelError: The artifact is a damaged encoder.
    """
    del reporter
    path = config.path
    kind, describe = _detect_kind(path)
    return InfoResult(kind=kind, path=path, about=describe(path))


def _detect_kind(path: Path) -> tuple[str, Callable[[Path], dict[str, Any]]]:
    if not path.exists() and not is_container(path):
        raise DataError(f"{display_path(path)}: no such file or folder")
    if path.is_dir():
        for name, (kind, describe) in _FOLDERS.items():
            if (path / name).is_file():
                return kind, describe
        if (path / RUN).is_file():
            return "run", _run
    if is_container(path):
        return "container", _container
    if path.is_file() and path.suffix.lower() == ".onnx":
        return "encoder", _exported
    if is_store(path):
        return "embeddings", _embeddings
    if path.suffix.lower() == ".json" and read_json(path).get("kind") == "calibration":
        return "calibration", _calibration
    raise DataError(
        f"{display_path(path)}: not faces, a split, a run, an encoder, a store, a classifier, groups, a calibration or "
        "a container of pictures (.rec, .parquet, LMDB, tar shards)"
    )


def _faces(path: Path) -> dict[str, Any]:
    content, faces = read_json(path / FACES), open_faces(path)
    counted = {
        "source": content.get("config", {}).get("source"),
        "files": content.get("states"),
        "reasons": content.get("reasons"),
    }
    return {
        "faces": len(faces),
        "people": len(faces.people),
        "fingerprint": faces.fingerprint.to_json(),
        **{name: value for name, value in counted.items() if value},
        "faceclr": content.get("faceclr"),
    }


def _container(path: Path) -> dict[str, Any]:
    container = open_container(path)
    try:
        counts = Counter(container.index.identities)
        unnamed = counts.pop(None, 0)
        return {
            "pictures": len(container),
            "people": len(counts),
            "unnamed": unnamed,
            "pictures_per_person": _quartiles(list(counts.values())),
            "sizes": _sizes(container),
            "flaw": container.flaw,
        }
    finally:
        container.close()


def _quartiles(counts: Sequence[int]) -> dict[str, float] | None:
    """The smallest, the median and the largest number of pictures."""
    return {"min": min(counts), "median": statistics.median(counts), "max": max(counts)} if counts else None


def _sizes(container: Container) -> dict[str, int]:
    """The sizes of a sample of the pictures, with how many of the sample have each."""
    sizes = Counter[str]()
    for place in range(0, len(container), max(1, len(container) // _SAMPLE)):
        try:
            height, width = decode_picture(container.read(place), container.name(place)).shape[:2]
        except DataError:
            sizes["damaged"] += 1
        else:
            sizes[f"{width}x{height}"] += 1
    return dict(sizes.most_common(_SIZES))


def _groups(path: Path) -> dict[str, Any]:
    content = read_json(path / GROUPS)
    if content.get("kind") != "groups" or not isinstance(content.get("groups"), list):
        raise DataError(f"{display_path(path / GROUPS)}: does not describe groups of faces")
    names = ("source", "encoder", "method", "threshold", "faces", "singles", "scores", "faceclr")
    return {"groups": len(content["groups"]), **{name: content.get(name) for name in names}}


def _classifier(path: Path) -> dict[str, Any]:
    content = read_json(path / CLASSIFIER)
    if content.get("kind") != "classifier" or not isinstance(content.get("people"), list):
        raise DataError(f"{display_path(path / CLASSIFIER)}: does not describe a classifier")
    names = ("dim", "encoder", "flip", "source", "fingerprint", "faceclr")
    return {"people": len(content["people"]), **{name: content.get(name) for name in names}}


def _calibration(path: Path) -> dict[str, Any]:
    content = read_json(path)
    return {name: content.get(name) for name in ("encoder", "encoder_digest", "calibration", "fingerprint", "faceclr")}


def _split(path: Path) -> dict[str, Any]:
    content = read_json(path / SPLIT)
    if content.get("kind") != "split" or not isinstance(content.get("parts"), dict):
        raise DataError(f"{display_path(path / SPLIT)}: does not describe a split")
    options = content.get("config", {})
    return {
        "parts": {name: {"faces": part["faces"], "people": part["people"]} for name, part in content["parts"].items()},
        "by": "official" if options.get("official") else options.get("by"),
        "seed": options.get("seed"),
        "pairs": content.get("pairs"),
        "source": options.get("faces"),
        "fingerprint": content.get("fingerprint"),
        "faceclr": content.get("faceclr"),
    }


def _run(path: Path) -> dict[str, Any]:
    content = read_json(path / RUN)
    if content.get("kind") != "run":
        raise DataError(f"{display_path(path / RUN)}: does not describe a run")
    options, rows = content.get("config", {}), _history(path / HISTORY)
    about = {
        "command": content.get("command"),
        "data": options.get("data"),
        "backbone": options.get("backbone"),
        "init": options.get("init"),
        "epochs": int(rows[-1]["epoch"]) if rows else 0,
        "last_epoch": rows[-1] if rows else None,
        "checkpoints": sorted(found.name for found in (path / "checkpoints").glob("[!.]*")),
        "faceclr": content.get("faceclr"),
    }
    try:
        return about | {"encoder": _encoder(path)}
    except ModelError:
        return about | {"encoder": None}  # The run has not finished an epoch.


def _history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _encoder(path: Path) -> dict[str, Any]:
    description = read_description(path)
    graph = description.folder / GRAPH
    return _describe_encoder(description) | {"exported": graph.is_file()}


def _exported(path: Path) -> dict[str, Any]:
    from faceclr_cli.core.encoders.onnx_file import read_onnx
    from faceclr_cli.core.encoders.weight_overflow import weight_bits

    file = read_onnx(path)
    about = _describe_encoder(file.description) | {"precision": file.precision, "digest": file.digest}
    return about | ({"weight_bits": weight_bits(file.content)} if file.precision == "int8" else {})


def _describe_encoder(description: Description) -> dict[str, Any]:
    card = description.card
    return {
        "architecture": description.architecture.to_json(),
        "trained": {
            "by": card.command,
            "on": card.data,
            "pictures": card.pictures,
            "people": len(card.people),
            "teachers": [teacher.name for teacher in card.teachers],
            "ancestors": [ancestor.command for ancestor in card.ancestors],
        },
        "calibration": None if description.calibration is None else description.calibration.to_json(),
        "fingerprint": description.fingerprint.to_json(),
        "digest": description.digest,
        **({"source": description.content["source"]} if "source" in description.content else {}),
    }


def _embeddings(path: Path) -> dict[str, Any]:
    with open_store(path) as store:
        origin, shape = store.origin, store.shape
        return {
            "faces": shape.rows,
            "people": len(set(read_people(store.file)) - {""}),
            "dim": shape.dim,
            "numbers": "float16" if shape.half else "float32",
            "encoder": origin.encoder,
            "encoder_digest": origin.encoder_digest,
            "flip": origin.flip != "none",
            "flip_method": None if origin.flip == "none" else origin.flip,
            "quality": list(shape.quality),
            "calibration": None if origin.calibration is None else origin.calibration.to_json(),
            "fingerprint": origin.fingerprint.to_json(),
            "bytes": path.stat().st_size,
            "source": origin.config.get("faces"),
            "faceclr": str(store.file.attrs["faceclr"]),
        }


# In this order, since groups of prepared faces are prepared faces too.
_FOLDERS: Mapping[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    GROUPS: ("groups", _groups),
    CLASSIFIER: ("classifier", _classifier),
    FACES: ("faces", _faces),
    SPLIT: ("split", _split),
    ENCODER: ("encoder", _encoder),
}
