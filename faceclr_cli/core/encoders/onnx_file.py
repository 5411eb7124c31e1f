"""ONNX files of encoders: the graph, the description, and a checksum over both. Does not import torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from google.protobuf.message import DecodeError, Message

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.encoders.description import Description, parse_description, require_size, rounded_digest
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.text import display_path

INPUT, OUTPUT = "crops", "embeddings"
LARGEST = 2**31 - 1
"""Maximum size of a file in bytes, the limit of protobuf."""

Precision = Literal["float32", "float16", "int8"]
_PRECISIONS: dict[str, Precision] = {"float32": "float32", "float16": "float16", "int8": "int8"}
QUANTIZATION = "quantization"
"""Field of the description that an 8-bit graph adds: its digest, and the measurements."""

_KEY = "faceclr"
_SEAL = "faceclr.sha256"


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A verified file, whose graph reads only its input.

    Attributes:
        path: Path of the file.
        description: Description of the encoder at the time of export, with the digest of the trained weights.
        precision: Precision of weights and computation.
        content: Bytes of the file.
    """

    path: Path
    description: Description
    precision: Precision
    content: bytes

    @property
    def digest(self) -> str:
        """Digest of the trained weights for float32; another for float16 and int8, whose embeddings are rounded.

        The digest of int8 depends on the faces that the graph was quantized with, as do its embeddings.
        """
        trained = self.description.digest
        if self.precision == "float32":
            return trained
        if self.precision == "int8":
            return rounded_digest(trained, f"int8 {self.description.content[QUANTIZATION]['sha256']}")
        return rounded_digest(trained, self.precision)

    def matches(self, description: Description) -> bool:
        """True if the file was exported from the described encoder, apart from its calibration."""
        own = self.description
        return (own.digest, own.fingerprint, own.architecture) == (
            description.digest,
            description.fingerprint,
            description.architecture,
        )


def write_onnx(path: Path, model: onnx.ModelProto, content: Mapping[str, Any], precision: Precision) -> None:
    """Writes a graph with its description and checksum.

    Args:
        path: The file.
        model: Graph from `crops` to `embeddings`, including weights.
        content: Content of `encoder.json`.
        precision: Precision of weights and computation.
    """
    model.metadata_props.add(key=_KEY, value=json.dumps({**content, "precision": precision}))
    graph = model.SerializeToString()
    path.write_bytes(graph + seal(graph))


def is_sealed(path: Path) -> bool:
    """True if the file ends with a checksum of `write_onnx`, whether or not it matches."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - len(seal(b""))))
        return _SEAL.encode() in file.read()


def rewrite_description(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Changes the description in a file that `write_onnx` wrote. The graph and its weights stay the same.

    Args:
        path: The file.
        change: Returns the new description, given that of the file.

    Raises:
        ModelError: As for `read_onnx`.
    """
    model = onnx.ModelProto.FromString(read_onnx(path).content)
    entries = {entry.key: entry.value for entry in model.metadata_props if entry.key != _SEAL}
    entries[_KEY] = json.dumps(change(json.loads(entries[_KEY])))
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    graph = model.SerializeToString()
    with atomic_path(path) as temporary:
        temporary.write_bytes(graph + seal(graph))


def read_onnx(path: Path) -> OnnxFile:
    """Reads and verifies a file that `write_onnx` wrote. Never opens other files, even if the content refers to them.

    Raises:
        ModelError: The file is missing, damaged, unsupported or too large.
    """
    if not path.is_file():
        raise ModelError(f"{display_path(path)}: {'not a file' if path.exists() else 'no such file'}")
    require_size(path, LARGEST)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
    graph = content[: -len(seal(b""))]
    if content != graph + seal(graph):
        raise ModelError(
            f"{display_path(path)}: damaged, truncated or not written by faceclr; export it again, or "
            "import a model that others made: faceclr import"
        )
    try:
        model = onnx.ModelProto.FromString(content)
        said = json.loads({entry.key: entry.value for entry in model.metadata_props}[_KEY])
        description, precision = (
            parse_description(said, display_path(path), path.parent),
            _PRECISIONS[said["precision"]],
        )
        if precision == "int8":
            str(said[QUANTIZATION]["sha256"])
    except (DecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{display_path(path)}: does not describe an encoder ({type(error).__name__}: {error})"
        ) from error
    _require_plain(model, path)
    _require_interface(model, description, path)
    return OnnxFile(path=path, description=description, precision=precision, content=content)


def seal(graph: bytes) -> bytes:
    """Returns the checksum at the end of a file: a metadata entry of fixed length with the digest of the graph.

    Protobuf merges concatenated messages, so other tools read the file as usual.
    """
    model = onnx.ModelProto()
    model.metadata_props.add(key=_SEAL, value=hashlib.sha256(graph).hexdigest())
    end: bytes = model.SerializeToString()
    return end


def messages(message: Message) -> Iterator[Message]:
    """Yields a protobuf message and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from messages(part)


def forbidden_feature(model: onnx.ModelProto) -> str | None:
    """Returns the first feature of a graph that could read other files, run forever or need other software, or None."""
    for message in messages(model):
        if isinstance(message, onnx.TensorProto) and (message.external_data or message.data_location):
            return "keeps weights in other files"
        if isinstance(message, onnx.NodeProto) and message.domain not in ("", "ai.onnx"):
            return f"has operators of {display_path(message.domain)}"
        if isinstance(message, onnx.FunctionProto) or (
            isinstance(message, onnx.AttributeProto) and (message.HasField("g") or message.graphs)
        ):
            return "contains nested graphs"
    return None


def _require_plain(model: onnx.ModelProto, path: Path) -> None:
    feature = forbidden_feature(model)
    if feature is not None:
        raise ModelError(f"{display_path(path)}: {feature}, unlike any file that faceclr writes")


def _require_interface(model: onnx.ModelProto, description: Description, path: Path) -> None:
    side, dim = description.fingerprint.size, description.architecture.embedding_dim
    # Imported graphs may take one crop at a time.
    wanted = [
        [(INPUT, onnx.TensorProto.UINT8, (batch, side, side, 3)), (OUTPUT, onnx.TensorProto.FLOAT, (batch, dim))]
        for batch in (None, 1)
    ]
    if [_interface(value) for value in (*model.graph.input, *model.graph.output)] not in wanted:
        raise ModelError(
            f"{display_path(path)}: its graph does not map 8-bit crops of (batch_size, {side}, {side}, 3) to "
            f"embeddings of (batch_size, {dim})"
        )


def _interface(value: onnx.ValueInfoProto) -> tuple[str, int, tuple[int | None, ...]]:
    tensor = value.type.tensor_type
    shape = tuple(place.dim_value if place.HasField("dim_value") else None for place in tensor.shape.dim)
    return value.name, tensor.elem_type, shape
