"""The people classifier: a linear layer on frozen embeddings, stored as `classifier.json` and `weights.safetensors`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from faceclr_cli.core.artifacts import atomic_folder, read_json, stamp, write_json
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import canonical, display_path

DESCRIPTION, WEIGHTS = "classifier.json", "weights.safetensors"
_KIND = "classifier"
_LARGEST_DESCRIPTION, _LARGEST_WEIGHTS = 256 * 2**20, 4 * 2**30
_FARTHEST_FROM_ONE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleClassifier:
    """A linear classifier of people on frozen embeddings of one encoder.

    Attributes:
        people: Sorted, unique names; two or more.
        weights: Weights on L2-normalized embeddings. Shape: (people, dim).
        bias: Shape: (people,).
        centroids: L2-normalized mean of each person's training embeddings. Shape: (people, dim).
        calibration: Calibration of the cosine similarity between a picture and a centroid, measured on held-out
            pictures. It decides if a face shows any of the people at all, which the layer cannot do.
        encoder: Name of the encoder.
        encoder_digest: SHA-256 of the encoder's weights.
        fingerprint: How the crops were made and preprocessed.
        flip: True if each embedding is the mean of a face and its mirror image.
        source: The training data: the store, the number of pictures, the probe and its regularization.

    Raises:
        ValueError: The names or the shapes do not match, or a number is not finite.
    """

    people: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    centroids: NDArray[np.float32]
    calibration: Calibration
    encoder: str
    encoder_digest: str
    fingerprint: Fingerprint
    flip: bool
    source: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.people) < 2 or list(self.people) != sorted(set(self.people)):
            raise ValueError("people must be two or more names, sorted and unique")
        if self.weights.ndim != 2 or self.weights.shape[0] != len(self.people) or not self.weights.shape[1]:
            raise ValueError(f"weights have shape {self.weights.shape} for {len(self.people)} people")
        if self.bias.shape != (len(self.people),) or self.centroids.shape != self.weights.shape:
            raise ValueError("the shapes of weights, bias and centroids do not match")
        arrays = (self.weights, self.bias, self.centroids)
        if any(array.dtype != np.float32 for array in arrays):
            raise ValueError("weights, bias and centroids must be float32")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("a weight is not finite")
        lengths = np.linalg.norm(self.centroids.astype(np.float64), axis=1)
        if ((abs(lengths - 1) > _FARTHEST_FROM_ONE) & (lengths > 0)).any():
            raise ValueError("a centroid is not normalized")

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.weights.shape[1])

    def probabilities(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """The softmax of the layer: the probability of each person, given that the face shows one of them.

        Args:
            embeddings: L2-normalized. Shape: (faces, dim).

        Returns:
            Each row adds up to 1. Shape: (faces, people).

        Raises:
            ValueError: The embeddings have the wrong number of dimensions.
        """
        rows = np.asarray(embeddings, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(f"embeddings of {rows.shape} for a layer on {self.dim} numbers")
        # In 64 bits no finite weights overflow.
        scores = rows.astype(np.float64) @ self.weights.T.astype(np.float64) + self.bias
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        chances /= chances.sum(axis=1, keepdims=True)
        return chances.astype(np.float32)


def is_classifier(path: Path) -> bool:
    """Returns True if a folder has a classifier description; its files may still be damaged."""
    return (path / DESCRIPTION).is_file()


def require_classifier_folder(out: Path) -> None:
    """Checks that a classifier can be written to a folder. Call it before training.

    Raises:
        ConfigError: `out` is a file, or a folder with files that are not part of a classifier.
    """
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise ConfigError(f"{display_path(out)}: is a file; a classifier is a folder")
    others = sorted({path.name for path in out.iterdir()} - {DESCRIPTION, WEIGHTS})
    if others or (any(out.iterdir()) and not is_classifier(out)):
        raise ConfigError(
            f"{display_path(out)}: contains files that are not part of a classifier "
            f"({display_path((others or [WEIGHTS])[0])}); choose another"
        )


def write_classifier(classifier: PeopleClassifier, out: Path, config: Mapping[str, Any] | None = None) -> None:
    """Writes a classifier atomically; replaces an existing classifier.

    Args:
        classifier: The classifier.
        out: The output folder.
        config: The resolved config of the run that trained it.

    Raises:
        ConfigError: `out` exists and is not a classifier.
        DataError: The classifier cannot be written.
    """
    require_classifier_folder(out)
    tensors = {"weights": classifier.weights, "bias": classifier.bias, "centroids": classifier.centroids}
    data = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    content = {
        **stamp(_KIND, config or {}),
        "people": list(classifier.people),
        "dim": classifier.dim,
        "encoder": classifier.encoder,
        "encoder_digest": classifier.encoder_digest,
        "fingerprint": classifier.fingerprint.to_json(),
        "flip": classifier.flip,
        "calibration": classifier.calibration.to_json(),
        "source": classifier.source,
        "weights": {"sha256": hashlib.sha256(data).hexdigest()},
    }
    try:
        _replace(out.resolve(), data, content)
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error


def _replace(folder: Path, data: bytes, content: Mapping[str, Any]) -> None:
    with atomic_folder(folder) as temporary:
        with open(temporary / WEIGHTS, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        write_json(temporary / DESCRIPTION, content)


def read_classifier(path: Path) -> PeopleClassifier:
    """Reads and validates a classifier. The files are treated as untrusted.

    Raises:
        DataError: The folder has no classifier, or it is damaged or from another version.
    """
    if not is_classifier(path):
        state = "not a classifier" if path.is_dir() else "no such folder"
        raise DataError(f"{display_path(path)}: {state}; create one with faceclr linear-eval --save")
    description, weights = path / DESCRIPTION, path / WEIGHTS
    _require_size(description, _LARGEST_DESCRIPTION)
    _require_size(weights, _LARGEST_WEIGHTS)
    try:
        content = read_json(description)
    except RecursionError:
        raise DataError(f"{display_path(description)}: damaged: nested too deeply") from None
    if content.get("kind") != _KIND:
        raise DataError(f"{display_path(description)}: does not describe a classifier")
    tensors = _tensors(weights, content)
    try:
        return _parse(content, tensors, display_path(description))
    except (DataError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).removeprefix(f"{display_path(description)}: ").split())
        raise DataError(f"{display_path(description)}: damaged or of another version of faceclr ({reason})") from error


def _require_size(path: Path, largest: int) -> None:
    """Limits the file size before it is read. The file may be missing."""
    if path.is_file() and (size := path.stat().st_size) > largest:
        raise DataError(f"{display_path(path)}: {size / 2**30:.1f} GiB, larger than any file that faceclr writes")


def _tensors(path: Path, content: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    try:
        data = path.read_bytes()
        digest = content["weights"]["sha256"]
        if hashlib.sha256(data).hexdigest() != digest:
            text = f"damaged, or not the weights that {DESCRIPTION} in this folder describes"
            raise DataError(f"{display_path(path)}: {text}")
        tensors: dict[str, NDArray[Any]] = load(data)
    except FileNotFoundError:
        raise DataError(f"{display_path(path)}: no such file") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{display_path(path)}: cannot be read as classifier weights ({reason})") from error
    return tensors


def _parse(content: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], origin: str) -> PeopleClassifier:
    people, flip = content["people"], content["flip"]
    if not isinstance(people, list) or not all(isinstance(name, str) for name in people):
        raise ValueError("people must be a list of strings")
    if not isinstance(flip, bool):
        raise TypeError("flip must be true or false")
    # Earlier releases wrote names without Unicode normalization.
    names = [canonical(name) for name in people]
    if names != people:
        order = sorted(range(len(names)), key=names.__getitem__)
        names, tensors = sorted(names), {name: tensor[order] for name, tensor in tensors.items()}
    return PeopleClassifier(
        people=tuple(names),
        weights=tensors["weights"],
        bias=tensors["bias"],
        centroids=tensors["centroids"],
        calibration=Calibration.from_json(content["calibration"]),
        encoder=str(content["encoder"]),
        encoder_digest=str(content["encoder_digest"]),
        fingerprint=Fingerprint.from_json(content["fingerprint"], origin),
        flip=flip,
        source=dict(content["source"]),
    )
