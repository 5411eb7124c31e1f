"""ONNX models of other projects as foreign models: an encoder folder with the wrapped graph."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_folder, stamp, write_json
from faceclr_cli.core.encoders.architecture import Architecture, InputNormalization
from faceclr_cli.core.encoders.description import DESCRIPTION, GRAPH, GRAPH_ONLY
from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
from faceclr_cli.core.encoders.onnx_file import read_onnx, write_onnx
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.evaluation.importing.foreign_graph import (
    ForeignGraph,
    GraphRunner,
    probe_crops,
    read_foreign_graph,
)
from faceclr_cli.core.evaluation.importing.foreign_model import ImportedEncoder
from faceclr_cli.core.evaluation.importing.graph_wrapping import wrap_graph
from faceclr_cli.core.evaluation.importing.preprocessing_candidates import KnownPreprocessing, known_from_metadata
from faceclr_cli.core.text import display_path

_LEAST_COSINE = 0.9999


class OnnxModel:
    """An ONNX model as a `ForeignModel`.

    Args:
        path: The file.
        output: Name of the output with the embeddings, or None.
        size: Side of the input, or None if the file states it.

    Raises:
        ModelError, ConfigError: As for `read_foreign_graph`.
    """

    form = "ONNX graph"

    def __init__(self, path: Path, *, output: str | None, size: int | None) -> None:
        self._graph: ForeignGraph = read_foreign_graph(path, output=output, size=size)
        self.side, self.dim, self.takes_bytes = self._graph.side, self._graph.dim, self._graph.takes_bytes
        self.declared: KnownPreprocessing = known_from_metadata(self._graph.metadata)
        if self.takes_bytes:
            self.declared = replace(self.declared, scale="none")
        one_by_one = "its batch size is fixed: faces are embedded one by one, which is slower"
        self.notices: tuple[str, ...] = () if self._graph.batched else (one_by_one,)

    @cached_property
    def _runner(self) -> GraphRunner:
        return self._graph.open()

    def embed(self, crops: NDArray[np.uint8], normalization: InputNormalization) -> NDArray[np.float32]:
        """See `ForeignModel.embed`."""
        return self._runner.embed(crops, normalization)

    def write(self, folder: Path, encoder: ImportedEncoder) -> None:
        """See `ForeignModel.write`."""
        model = wrap_graph(self._graph, encoder.normalization)
        architecture = Architecture(
            backbone=GRAPH_ONLY, embedding_dim=self.dim, image_size=self.side, normalization=encoder.normalization
        )
        content: dict[str, Any] = {
            **stamp("encoder", encoder.card.config),
            "architecture": architecture.to_json(),
            "dim": self.dim,
            "fingerprint": encoder.fingerprint.to_json(),
            "calibration": encoder.calibration.to_json() if encoder.calibration else None,
            "card": encoder.card.to_json(),
            "weights": {"sha256": hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()},
            "source": dict(encoder.source),
        }
        with atomic_folder(folder) as temporary:
            write_onnx(temporary / GRAPH, model, content, "float32")
            write_json(temporary / DESCRIPTION, content)
            self._compare(temporary / GRAPH, encoder.normalization)

    def _compare(self, path: Path, normalization: InputNormalization) -> None:
        """Requires that the written graph computes the embeddings of the original, whose input NumPy prepares."""
        crops = probe_crops(self.side)
        written, original = OnnxEncoder(read_onnx(path)).embed(crops), self.embed(crops, normalization)
        cosine = float(np.sum(written * original, axis=1).min())
        if not cosine >= _LEAST_COSINE:
            raise ModelError(
                f"{display_path(self._graph.path)}: not imported: with the conversion of the pixels inside, its "
                f"embeddings change (minimum cosine {cosine:.6f})"
            )
