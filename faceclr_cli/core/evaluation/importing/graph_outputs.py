"""The choice of the output of a foreign graph that holds the embeddings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import onnx

from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.text import display_path

_SHORTEST, _LONGEST = 16, 4096
_IMAGENET = 1000
_PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Sigmoid", "Hardmax"})
_CLASSIFIER = re.compile(r"logit|prob|class|cls|score|softmax", re.IGNORECASE)


def choose_output(
    shapes: Mapping[str, tuple[int, ...]], model: onnx.ModelProto, prefix: str, asked: str | None, name: str
) -> tuple[str, int]:
    """Chooses the output with the embeddings.

    Args:
        shapes: Shape of each output of floats for one picture.
        model: The graph.
        prefix: Prefix of the names in the graph, which messages leave out.
        asked: The name that the user gives, without the prefix, or None.
        name: Name of the file, for errors.

    Returns:
        The name of the output, and the length of an embedding.

    Raises:
        ModelError: No output can hold embeddings.
        ConfigError: The file has no output with this name, or several that may hold embeddings.
    """
    outputs = {value.name for value in model.graph.output}
    if asked is not None:
        if prefix + asked not in outputs:
            listed = ", ".join(display_path(each.removeprefix(prefix)) for each in sorted(outputs)[:8])
            raise ConfigError(f"--output {asked}: {name} has no such output; it has {listed}")
        shapes = {each: shape for each, shape in shapes.items() if each == prefix + asked}
    makers = {value: node.op_type for node in model.graph.node for value in node.output}
    problems = {
        each: _problem(None if asked else each.removeprefix(prefix), shape, makers.get(each))
        for each, shape in shapes.items()
    }
    fitting = [each for each, problem in problems.items() if problem is None]
    if len(fitting) > 1:
        listed = " or ".join(f"--output {display_path(each.removeprefix(prefix))}" for each in fitting[:4])
        raise ConfigError(f"{name}: several outputs may be the embeddings; give {listed}")
    if not fitting:
        each, problem = next(iter(problems.items()), ("", "its outputs are not floats"))
        of = f"its output {display_path(each.removeprefix(prefix))} " if each else ""
        raise ModelError(f"{name}: not a face encoder: {of}{problem}")
    return fitting[0], math.prod(shapes[fitting[0]])


def _problem(name: str | None, shape: tuple[int, ...], maker: str | None) -> str | None:
    """Returns why an output does not hold embeddings, or None. The name is None if the user gave it."""
    length = math.prod(shape)
    shape = shape or (1,)
    # (D,), (1, D), (1, 1, D) and (D, 1, 1) are one row; (N, 1) is one value for each of N places.
    if length != shape[-1] and shape != (length, 1, 1):
        return f"has {' x '.join(map(str, shape))} values for a picture, as the maps of a detector have, not one row"
    if not _SHORTEST <= length <= _LONGEST:
        return f"has {length} values for a picture; embeddings have {_SHORTEST} to {_LONGEST}"
    if maker in _PROBABILITIES:
        return "holds the probabilities of a classifier, not embeddings"
    if name is not None and length == _IMAGENET:
        return "has 1000 values, as many as ImageNet has classes; if it is an embedding, name it with --output"
    if name is not None and _CLASSIFIER.search(name):
        return "has the name of a classifier's scores, not of embeddings; if it is one, name it with --output"
    return None
