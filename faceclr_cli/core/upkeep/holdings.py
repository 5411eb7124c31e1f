"""Removal of people from stores, classifiers, encoders and maps."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from faceclr_cli.core.artifacts import atomic_folder, exclusive, former_path, read_json, write_json
from faceclr_cli.core.embeddings import hdf5_columns as columns
from faceclr_cli.core.embeddings.hdf5_columns import BLOCK, read_people
from faceclr_cli.core.embeddings.store import new_store, open_store, store_parts_folder
from faceclr_cli.core.embeddings.store_parts import open_store_parts
from faceclr_cli.core.encoders.description import DESCRIPTION as ENCODER
from faceclr_cli.core.plots.map_page import read_page, remove_from_page
from faceclr_cli.core.text import canonical, display_path

CLASSIFIER = "classifier.json"
GRAPH, ENCODER_IN_RUN, FAILED_BATCH = ".onnx", "encoder", "not-finite.txt"
_WEIGHTS, _LEAST_PEOPLE = "weights.safetensors", 2


@dataclass(frozen=True)
class Count:
    """Content of an artifact.

    Attributes:
        theirs: Number of rows, pictures or entries of one person.
        others: Number of rows, pictures or entries of other people.
    """

    theirs: int
    others: int


class Holding(Protocol):
    """An artifact that may contain data of people. Names are in canonical spelling (`text.canonical`)."""

    path: Path
    kind: str

    def people(self) -> set[str]:
        """Returns the people with data in the artifact, including those whose removal was interrupted."""

    def count(self, identity: str) -> Count:
        """Reads the artifact, and counts the data of a person and of others."""

    def remove(self, identity: str) -> None:
        """Removes the data of a person. Can be called again after an interruption at any time."""


class StoreHolding:
    """A store of embeddings and its parts."""

    kind = "embeddings"

    def __init__(self, path: Path) -> None:
        self.path = path
        for file in self._files():
            with open_store(file):
                pass

    def people(self) -> set[str]:
        """The people with rows."""
        return {name for file in self._files() for name in _people_in_rows(file)} - {""}

    def count(self, identity: str) -> Count:
        """Counts rows of the store, or of the parts of an unfinished store."""
        files = [self.path] if self.path.is_file() else self._files()
        names = [name for file in files for name in _people_in_rows(file)]
        return Count(names.count(identity), len(names) - names.count(identity))

    def remove(self, identity: str) -> None:
        """Rewrites the store without the person's rows, and removes its parts, which a later run would reuse."""
        with open_store_parts(self.path) as parts:
            if self.path.is_file():
                keep = np.array([name != identity for name in _people_in_rows(self.path)], bool)
                if not keep.any():
                    self.path.unlink()
                elif not keep.all() or any(parts.folder.iterdir()):
                    self._write_without(np.flatnonzero(keep))
            parts.discard()

    def _files(self) -> list[Path]:
        """Returns the store, if it is finished, and its parts."""
        whole = [self.path] if self.path.is_file() else []
        return whole + sorted(store_parts_folder(self.path).glob("[!.]*.h5"))

    def _write_without(self, keep: NDArray[np.int_]) -> None:
        # Rewritten, since HDF5 does not erase deleted data in place.
        with open_store(self.path) as store, new_store(self.path, store.origin) as file:
            columns.create_datasets(file, replace(store.shape, rows=len(keep)))
            for start in range(0, len(keep), BLOCK):
                columns.write_rows(file, start, store.rows(keep[start : start + BLOCK]))


class ClassifierHolding:
    """A classifier of `linear-eval --save`: names, weights and centroids, which are face templates."""

    kind = "classifier"

    def __init__(self, path: Path) -> None:
        self.path = path

    def people(self) -> set[str]:
        """The people that it classifies."""
        return {canonical(str(name)) for name in self._description().get("people", [])}

    def count(self, identity: str) -> Count:
        """Counts people."""
        people = self.people() if (self.path / CLASSIFIER).is_file() else set[str]()
        return Count(int(identity in people), len(people - {identity}))

    def remove(self, identity: str) -> None:
        """Removes the person's weights and centroid, or the classifier if fewer than two people would remain."""
        with exclusive(self.path):
            content = self._description()
            keep = [row for row, name in enumerate(content["people"]) if canonical(str(name)) != identity]
            with atomic_folder(self.path) as temporary:
                if len(keep) >= _LEAST_PEOPLE:
                    self._write_some(keep, content, temporary)
            if (former := former_path(self.path)).exists():
                shutil.rmtree(former)  # Raises the error that kept the old classifier from being removed.
            if len(keep) < _LEAST_PEOPLE:
                self.path.rmdir()

    def _write_some(self, keep: list[int], content: Mapping[str, Any], folder: Path) -> None:
        tensors = load((self.path / _WEIGHTS).read_bytes())
        data = save({name: np.ascontiguousarray(tensor[keep]) for name, tensor in tensors.items()})
        (folder / _WEIGHTS).write_bytes(data)
        people, digest = [content["people"][row] for row in keep], hashlib.sha256(data).hexdigest()
        write_json(folder / CLASSIFIER, {**content, "people": people, "weights": {"sha256": digest}})

    def _description(self) -> dict[str, Any]:
        return read_json(self.path / CLASSIFIER)


class EncoderHolding:
    """A trained encoder and its exported graphs, whose cards list the people in the training data.

    Args:
        path: The folder of an encoder, or an exported graph.
    """

    kind = "encoder"

    def __init__(self, path: Path) -> None:
        self.path = path

    def people(self) -> set[str]:
        """The people on the cards."""
        return {name for file in self._files() for name in map(canonical, _card(_describe_encoder(file)))}

    def count(self, identity: str) -> Count:
        """Counts people on the cards."""
        cards = [set(map(canonical, _card(_describe_encoder(file)))) for file in self._files()]
        return Count(sum(identity in people for people in cards), len(set().union(*cards) - {identity}))

    def remove(self, identity: str) -> None:
        """Removes the name from the cards."""
        # The run, which a trainer or `calibrate` may be writing.
        folder = self.path if self.path.is_dir() else self.path.parent
        with exclusive(folder.parent if folder.name == ENCODER_IN_RUN else folder):
            for file in self._files():
                content = _describe_encoder(file)
                if identity not in map(canonical, _card(content)):
                    continue
                if file.suffix == GRAPH:
                    from faceclr_cli.core.encoders.onnx_file import rewrite_description

                    rewrite_description(file, lambda content: _without_name(content, identity))
                else:
                    write_json(file, _without_name(content, identity))

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        graphs = sorted(self.path.glob(f"*{GRAPH}"))
        if graphs:
            from faceclr_cli.core.encoders.onnx_file import is_sealed

            graphs = [graph for graph in graphs if is_sealed(graph)]
        return [self.path / ENCODER, *graphs]


def _describe_encoder(file: Path) -> dict[str, Any]:
    """Reads the description of an encoder from `encoder.json` or from an exported graph."""
    if file.suffix != GRAPH:
        return read_json(file)
    from faceclr_cli.core.encoders.onnx_file import read_onnx

    return {"card": read_onnx(file).description.card.to_json()}


def _card(content: Mapping[str, Any]) -> set[str]:
    """Returns the people on a card, with those of the encoders that training started from."""
    card: Mapping[str, Any] = content.get("card", {})
    return set(card.get("people", {})).union(*(each["people"] for each in card.get("ancestors", ())))


def _without_name(content: dict[str, Any], identity: str) -> dict[str, Any]:
    def others(people: Mapping[str, int]) -> dict[str, int]:
        return {name: count for name, count in people.items() if canonical(name) != identity}

    card = content["card"]
    changed: dict[str, Any] = {"people": others(card["people"])}
    if "ancestors" in card:
        changed["ancestors"] = [each | {"people": others(each["people"])} for each in card["ancestors"]]
    return content | {"card": card | changed}


class FailedBatchHolding:
    """The list of the pictures of a batch on which training failed, in the folder of the run."""

    kind = "batch"

    def __init__(self, path: Path) -> None:
        self.path = path

    def people(self) -> set[str]:
        """The names in the paths of the pictures."""
        return {name for names in self._names() for name in names}

    def count(self, identity: str) -> Count:
        """Counts pictures."""
        names = self._names()
        theirs = sum(displayed(identity) in each for each in names)
        return Count(theirs, len(names) - theirs)

    def remove(self, identity: str) -> None:
        """Removes the list, which only serves to find out why training failed."""
        with exclusive(self.path.parent):
            if self.count(identity).theirs:
                self.path.unlink()

    def _names(self) -> list[set[str]]:
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        return [set(map(displayed, line.split("/")[:-1])) for line in lines if line]


class MapHolding:
    """A map of `tsne -o FILE.html`: names, points, paths and thumbnails."""

    kind = "map"

    def __init__(self, path: Path) -> None:
        self.path = path

    def people(self) -> set[str]:
        """The people on the map."""
        return {canonical(name) for name in read_page(self.path)["names"]}

    def count(self, identity: str) -> Count:
        """Counts faces."""
        data = read_page(self.path)
        names = [canonical(data["names"][who]) if who >= 0 else "" for who in data["who"]]
        return Count(names.count(displayed(identity)), len(names) - names.count(displayed(identity)))

    def remove(self, identity: str) -> None:
        """Removes the person's points and blackens their thumbnails."""
        remove_from_page(self.path, lambda name: canonical(name) == displayed(identity))


def displayed(identity: str) -> str:
    """Returns the canonical spelling of a name in artifacts that contain it as it is displayed."""
    return canonical(display_path(identity))


def _people_in_rows(path: Path) -> list[str]:
    with open_store(path) as store:
        return read_people(store.file)
