"""ONNX face models of other projects: their input and output, and their execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, inliner

from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.encoders.onnx_encoder import open_session, run_session
from faceclr_cli.core.encoders.onnx_file import LARGEST, forbidden_feature, messages
from faceclr_cli.core.encoders.prelu_expansion import expand_prelu
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.evaluation.importing.graph_outputs import choose_output
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.text import display_path

Layout = Literal["nchw", "nhwc"]
RAW = InputNormalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Values 0-255 in RGB order, the only ones that an input of bytes accepts."""

PREFIX = "network/"
"""Prefix of all names of the foreign graph, so that they differ from those of `graph_wrapping`."""

_TYPES: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
}
_SMALLEST, _LARGEST_SIDE = 16, 512
_OLDEST_OPSET = 7  # broadcasting as in NumPy
_BATCH = 32
_LEAST_AGREEMENT = 0.9999


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignGraph:
    """A graph with one input for pictures, reduced to the part that computes the embeddings.

    Attributes:
        path: Its file.
        model: The graph; its names start with `PREFIX`.
        metadata: The metadata of the file.
        input: Name of the input.
        output: Name of the output.
        element: Type of the input, a value of `onnx.TensorProto.DataType`.
        layout: Order of the axes of the input.
        side: Side of the input in pixels.
        dim: Length of an embedding.
        batched: False if the graph takes one picture at a time.
    """

    path: Path
    model: onnx.ModelProto
    metadata: Mapping[str, str]
    input: str
    output: str
    element: int
    layout: Layout
    side: int
    dim: int
    batched: bool

    @property
    def takes_bytes(self) -> bool:
        """True if the input has the values 0-255 as bytes."""
        return self.element == TensorProto.UINT8

    def open(self) -> GraphRunner:
        """Loads the graph.

        Raises:
            ModelError: ONNX Runtime cannot load it.
        """
        return GraphRunner(self)


class GraphRunner:
    """A loaded graph, which embeds crops with any assumed pixel values.

    Args:
        graph: The graph.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """

    def __init__(self, graph: ForeignGraph) -> None:
        self._graph = graph
        self._path = display_path(graph.path)
        self._session = open_session(graph.model.SerializeToString(), self._path)

    def embed(self, crops: NDArray[np.uint8], normalization: InputNormalization) -> NDArray[np.float32]:
        """Embeds crops, normalized by NumPy; see `ForeignModel.embed`."""
        graph, step = self._graph, _BATCH if self._graph.batched else 1
        parts = [np.empty((0, graph.dim), np.float32)]
        for start in range(0, len(crops), step):
            pictures = network_input(crops[start : start + step], normalization, graph.layout, graph.element)
            (rows,) = run_session(self._session, [graph.output], {graph.input: pictures}, self._path)
            parts.append(rows.astype(np.float32).reshape(len(pictures), -1))
        return normalize_rows(np.concatenate(parts))


def network_input(
    crops: NDArray[np.uint8], normalization: InputNormalization, layout: Layout, element: int
) -> NDArray[Any]:
    """Converts crops to the input of a network.

    Args:
        crops: RGB, 0-255. Shape: (N, side, side, 3).
        normalization: The pixels that the network takes.
        layout: Order of the axes.
        element: Type of the values, of `onnx.TensorProto.DataType`.

    Returns:
        Shape: (N, 3, side, side) or (N, side, side, 3).
    """
    mean, std = (np.array(values, np.float32) for values in (normalization.mean, normalization.std))
    pictures = (crops.astype(np.float32) - mean) / std
    if normalization.channels == "bgr":
        pictures = pictures[..., ::-1]
    if layout == "nchw":
        pictures = pictures.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pictures.astype(_TYPES[element]))


def read_foreign_graph(path: Path, *, output: str | None = None, size: int | None = None) -> ForeignGraph:
    """Reads an ONNX model and finds its input and its embeddings. Never opens another file.

    Args:
        path: The file.
        output: Name of the output with the embeddings; None if only one output may hold them.
        size: Side of the input; None if the file states it.

    Raises:
        ModelError: The file is not an ONNX model, needs other files or custom operators, or does not map square
            pictures to embeddings.
        ConfigError: `output` or `size` is missing, or contradicts the file.
    """
    name = display_path(path)
    model = _parse(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    source = _picture_input(model, name)
    layouts, side, batch = _geometry(source, size, name)
    element = source.type.tensor_type.elem_type
    if element not in _TYPES:
        raise ModelError(f"{name}: its input is of the type {_type_name(element)}; faceclr supports floats and uint8")
    model = _tidy(model, source.name)
    problem: ModelError | None = None
    for layout in layouts:
        graph = ForeignGraph(
            path=path,
            model=model,
            metadata=metadata,
            input=PREFIX + source.name,
            output="",
            element=element,
            layout=layout,
            side=side,
            dim=0,
            batched=False,
        )
        try:
            found = _probe(graph, batch or 1)
        except ModelError as error:
            problem = error
            continue
        chosen, dim = choose_output(found, model, PREFIX, output, name)
        return _with_batches(_pruned(replace(graph, output=chosen, dim=dim)), batch, name)
    raise problem or ModelError(f"{name}: ONNX Runtime cannot run it")


def _parse(path: Path) -> onnx.ModelProto:
    name = display_path(path)
    if not path.is_file():
        raise ModelError(f"{name}: {'not a file' if path.exists() else 'no such file'}")
    if path.stat().st_size > LARGEST:
        raise ModelError(f"{name}: larger than 2 GiB, the limit of an ONNX file")
    try:
        content = path.read_bytes()
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except OSError as error:
        raise ModelError(f"{name}: cannot be read ({error.strerror})") from error
    except (DecodeError, RecursionError) as error:
        raise ModelError(f"{name}: not an ONNX model, or damaged") from error
    if not model.graph.node:
        raise ModelError(f"{name}: not an ONNX model, or damaged")
    if model.functions:
        model = inliner.inline_local_functions(model)
    feature = forbidden_feature(model)
    if feature is not None:
        raise ModelError(f"{name}: {feature}, which faceclr does not run; export it to one file of standard operators")
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < _OLDEST_OPSET:
        raise ModelError(f"{name}: opset {opset} is too old; convert it to {_OLDEST_OPSET} or later")
    return model


def _picture_input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """Returns the only input without a default. Old files also list weights and computed values as inputs."""
    given = {tensor.name for tensor in model.graph.initializer}
    given |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    given |= {value for node in model.graph.node for value in node.output}
    used = {value for node in model.graph.node for value in node.input}
    inputs: list[onnx.ValueInfoProto] = [value for value in model.graph.input if value.name in used - given]
    if len(inputs) != 1:
        listed = ", ".join(display_path(value.name) for value in inputs[:3]) or "none"
        raise ModelError(f"{name}: has {len(inputs)} inputs without a default ({listed}), not one for pictures")
    (picture,) = inputs
    found: onnx.ValueInfoProto = picture
    return found


def _geometry(value: onnx.ValueInfoProto, size: int | None, name: str) -> tuple[list[Layout], int, int | None]:
    """Returns the layouts that the shape of the input allows, its side, and the batch size if that is fixed."""
    tensor = value.type.tensor_type
    shape = [place.dim_value if place.dim_value > 0 else None for place in tensor.shape.dim]
    if len(shape) == 4 and shape[1] in (None, 3):
        found: list[tuple[Layout, Sequence[int | None]]] = [("nchw", shape[2:])]
    else:
        found = []
    if len(shape) == 4 and shape[3] in (None, 3):
        found.append(("nhwc", shape[1:3]))
    if not found:
        stated = "(" + ", ".join("?" if each is None else str(each) for each in shape) + ")"
        raise ModelError(f"{name}: its input {display_path(value.name)} has the shape {stated}, not that of pictures")
    sides = {side for _, pair in found for side in pair if side is not None and side != 3}
    if len(sides) > 1:
        raise ModelError(
            f"{name}: its input is not square ({' x '.join(map(str, found[0][1]))}); faceclr requires squares"
        )
    side = next(iter(sides), size)
    if side is None:
        raise ConfigError(f"{name}: its input has no fixed size; give --size, such as --size 112")
    if size not in (None, side):
        raise ConfigError(f"--size {size}: the input of {name} has {side} x {side} pixels; omit the option")
    if not _SMALLEST <= side <= _LARGEST_SIDE:
        raise ModelError(
            f"{name}: its input has {side} x {side} pixels; face encoders take {_SMALLEST} to {_LARGEST_SIDE}"
        )
    return [layout for layout, _ in found], side, shape[0]


def _tidy(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Returns the graph with `PREFIX` before all names, the pictures as its only input, and without comments."""
    inputs = [value for value in model.graph.input if value.name == source]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    del model.graph.value_info[:]  # their shapes may state a fixed batch
    for message in list(messages(model)):
        for field in ("metadata_props", "doc_string"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    return compose.add_prefix(model, PREFIX)


def _probe(graph: ForeignGraph, batch: int) -> dict[str, tuple[int, ...]]:
    """Runs the graph, and returns the shapes of all outputs of floats, per picture.

    Raises:
        ModelError: The graph fails.
    """
    path = display_path(graph.path)
    session = open_session(graph.model.SerializeToString(), path)
    crops = probe_crops(graph.side)[:batch]
    pictures = network_input(np.resize(crops, (batch, *crops.shape[1:])), RAW, graph.layout, graph.element)
    names = [value.name for value in session.get_outputs()]
    arrays = run_session(session, names, {graph.input: pictures}, path)
    return {
        name: tuple(array.shape[1:]) if array.shape[:1] == (batch,) else tuple(array.shape)
        for name, array in zip(names, arrays, strict=True)
        if isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating)
    }


def _pruned(graph: ForeignGraph) -> ForeignGraph:
    """Keeps only the nodes that the embeddings depend on, in operations that ONNX Runtime computes fast."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    nodes, needed = list[onnx.NodeProto](), {graph.output}
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    kept = helper.make_graph(
        list(reversed(nodes)), "encoder", model.graph.input, [onnx.ValueInfoProto(name=graph.output)], tensors
    )
    kept.sparse_initializer.extend(model.graph.sparse_initializer)
    expand_prelu(kept)
    model.graph.CopyFrom(kept)
    return replace(graph, model=model)


def _with_batches(graph: ForeignGraph, batch: int | None, name: str) -> ForeignGraph:
    """Makes the batch size of the graph variable if its embeddings then are the same as one by one."""
    fixed = _batch_variant(graph, 1)
    try:
        alone = replace(graph, model=fixed).open().embed(probe_crops(graph.side), RAW)
    except (ModelError, ValueError) as error:
        raise ModelError(f"{name}: takes only batches of {batch}; export it for one picture or any number") from error
    for model in (_batch_variant(graph, None), _free_reshapes(_batch_variant(graph, None))):
        free = replace(graph, model=model, batched=True)
        try:
            together = free.open().embed(probe_crops(graph.side), RAW)
        except (ModelError, ValueError):  # such as a reshape to one row
            continue
        if together.shape == alone.shape and np.sum(together * alone, axis=1).min() >= _LEAST_AGREEMENT:
            return free
    return replace(graph, model=fixed)


def _batch_variant(graph: ForeignGraph, batch: int | None) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    side = graph.side
    picture = (3, side, side) if graph.layout == "nchw" else (side, side, 3)
    stated = helper.make_tensor_value_info(graph.input, graph.element, (batch or "batch", *picture))
    model.graph.input[0].CopyFrom(stated)
    return model


def _free_reshapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Makes the first axis of a reshape variable if the shape is a constant that starts with 1."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        tensor = constants[node.input[1]]
        shape = onnx.numpy_helper.to_array(tensor).copy()
        if shape.ndim == 1 and len(shape) > 1 and shape[0] == 1:
            shape[0] = 0 if -1 in shape else -1
            tensor.CopyFrom(onnx.numpy_helper.from_array(shape, tensor.name))
    return model


def probe_crops(side: int) -> NDArray[np.uint8]:
    """Returns noise at several scales, for checks that need no faces. Shape: (5, side, side, 3)."""
    generator, crops = np.random.default_rng(0), np.empty((5, side, side, 3), np.uint8)
    for crop, grains in zip(crops, (2, 4, 8, 16, side), strict=True):
        places = np.arange(side) * grains // side
        crop[:] = generator.integers(0, 256, (grains, grains, 3), np.uint8)[places[:, None], places]
    return crops


def _type_name(element: int) -> str:
    try:
        return str(TensorProto.DataType.Name(element)).lower()
    except ValueError:
        return "unknown"
