"""`faceclr export` of an encoder that was imported as an ONNX graph: the same graph with the current calibration."""

from __future__ import annotations

from pathlib import Path

import onnx

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.encoders.description import DESCRIPTION, GRAPH, GRAPH_ONLY, Description, read_description
from faceclr_cli.core.encoders.onnx_file import read_onnx, write_onnx
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.text import display_path


def find_graph_only(folder: Path) -> Description | None:
    """Returns the description of an encoder that has only an ONNX graph; None for any other.

    Raises:
        ModelError: The folder has a damaged description.
    """
    if not any((place / DESCRIPTION).is_file() for place in (folder, folder / "encoder")):
        return None
    description = read_description(folder)
    return description if description.architecture.backbone == GRAPH_ONLY else None


def copy_graph(description: Description, out: Path) -> int:
    """Writes the graph of an encoder with the description that its folder has now.

    Args:
        description: The encoder.
        out: The file.

    Returns:
        The size of the file in bytes.

    Raises:
        ModelError: The graph is missing, damaged or of another encoder.
        OSError: The file cannot be written.
    """
    model = read_imported_graph(description)
    with atomic_path(out) as temporary:
        write_onnx(temporary, model, description.content, "float32")
        return temporary.stat().st_size


def read_imported_graph(description: Description) -> onnx.ModelProto:
    """Reads the graph of an encoder that was imported as one, without its description.

    Raises:
        ModelError: The graph is missing, damaged or of another encoder.
    """
    file = read_onnx(description.folder / GRAPH)
    if not file.matches(description) or file.precision != "float32":
        raise ModelError(f"{display_path(file.path)}: not the graph that {DESCRIPTION} describes; import it again")
    model: onnx.ModelProto = onnx.ModelProto.FromString(file.content)
    del model.metadata_props[:]
    return model
