"""An encoder as a single ONNX file: its graph, what `encoder.json` says of it, and a seal over both. Knows no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from google.protobuf.message import DecodeError, Message

from faceclr_cli.core.encoders.description import Description, parse_description, require_size
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.text import display_path

INPUT, OUTPUT = "crops", "embeddings"
LARGEST = 2**31 - 1
"""Bytes of a file: protobuf reads no more."""

Precision = Literal["float32", "float16"]
_PRECISIONS: dict[str, Precision] = {"float32": "float32", "float16": "float16"}
_KEY = "faceclr"
_SEAL = "faceclr.sha256"


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A file that was found whole, with a graph that reads nothing but its input.

    Attributes:
        path: Where it lies.
        description: What was said of the encoder when it was exported. Its digest is that of the trained weights.
        precision: Of weights and network.
        content: The file.
    """

    path: Path
    description: Description
    precision: Precision
    content: bytes

    @property
    def digest(self) -> str:
        """That of the trained weights where the embeddings are the same, and another where they are rounded."""
        trained = self.description.digest
        return (
            trained
            if self.precision == "float32"
            else hashlib.sha256(f"{trained} {self.precision}".encode()).hexdigest()
        )

    def matches(self, description: Description) -> bool:
        """Whether it was made of the encoder described; calibration may have been measured since."""
        own = self.description
        return (own.digest, own.fingerprint, own.architecture) == (
            description.digest,
            description.fingerprint,
            description.architecture,
        )


def write_onnx(path: Path, model: onnx.ModelProto, content: Mapping[str, Any], precision: Precision) -> None:
    """Writes a graph with its description.

    Args:
        path: Where to.
        model: From `crops` to `embeddings`, weights included.
        content: What `encoder.json` holds.
        precision: Of weights and network.
    """
    model.metadata_props.add(key=_KEY, value=json.dumps({**content, "precision": precision}))
    graph = model.SerializeToString()
    path.write_bytes(graph + seal(graph))


def read_onnx(path: Path) -> OnnxFile:
    """Reads and checks a file that `write_onnx` wrote. No other file is opened, whatever it says.

    Raises:
        ModelError: It is missing, damaged, foreign or too large.
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
        raise ModelError(f"{display_path(path)}: damaged, truncated or not what faceclr export writes; export it again")
    try:
        model = onnx.ModelProto.FromString(content)
        said = json.loads({entry.key: entry.value for entry in model.metadata_props}[_KEY])
        description, precision = (
            parse_description(said, display_path(path), path.parent),
            _PRECISIONS[said["precision"]],
        )
    except (DecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{display_path(path)}: does not describe an encoder ({type(error).__name__}: {error})"
        ) from error
    _require_plain(model, path)
    _require_interface(model, description, path)
    return OnnxFile(path=path, description=description, precision=precision, content=content)


def seal(graph: bytes) -> bytes:
    """The end of a file, by which damage is found: a digest of all before it, as metadata, always as long.

    Protobuf takes two messages in a row for one, so that other tools read the file like any.
    """
    model = onnx.ModelProto()
    model.metadata_props.add(key=_SEAL, value=hashlib.sha256(graph).hexdigest())
    end: bytes = model.SerializeToString()
    return end


def messages(message: Message) -> Iterator[Message]:
    """A protobuf message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from messages(part)


def _require_plain(model: onnx.ModelProto, path: Path) -> None:
    """Refuses what an exported encoder has no need of, and could be used to read other files or to run for ever."""
    for message in messages(model):
        if isinstance(message, onnx.TensorProto) and (message.external_data or message.data_location):
            reason = "keeps weights in other files"
        elif isinstance(message, onnx.NodeProto) and message.domain not in ("", "ai.onnx"):
            reason = f"has operators of {display_path(message.domain)}"
        elif isinstance(message, onnx.FunctionProto) or (
            isinstance(message, onnx.AttributeProto) and (message.HasField("g") or message.graphs)
        ):
            reason = "has graphs within its graph"
        else:
            continue
        raise ModelError(f"{display_path(path)}: {reason}, which no encoder that faceclr export wrote does")


def _require_interface(model: onnx.ModelProto, description: Description, path: Path) -> None:
    side, dim = description.fingerprint.size, description.architecture.embedding_dim
    wanted = [(INPUT, onnx.TensorProto.UINT8, (None, side, side, 3)), (OUTPUT, onnx.TensorProto.FLOAT, (None, dim))]
    if [_interface(value) for value in (*model.graph.input, *model.graph.output)] != wanted:
        raise ModelError(
            f"{display_path(path)}: its graph does not map 8-bit crops of (batch_size, {side}, {side}, 3) to "
            "embeddings of "
            f"(batch_size, {dim})"
        )


def _interface(value: onnx.ValueInfoProto) -> tuple[str, int, tuple[int | None, ...]]:
    tensor = value.type.tensor_type
    shape = tuple(place.dim_value if place.HasField("dim_value") else None for place in tensor.shape.dim)
    return value.name, tensor.elem_type, shape
