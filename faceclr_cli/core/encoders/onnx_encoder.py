"""Exported encoders, run by ONNX Runtime. Does not import torch, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from faceclr_cli.core.encoders.description import Description
from faceclr_cli.core.encoders.onnx_file import INPUT, OUTPUT, OnnxFile
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import threads_per_process

# These classes have no common base class.
_RUNTIME_ERRORS = (
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoSuchFile,
    states.NotImplemented,
    states.RuntimeException,
    RuntimeError,
    ValueError,
    MemoryError,
)
_ONLY_FATAL = 4


class OnnxEncoder:
    """An exported network as an `Encoder`, on the CPU.

    Args:
        file: The exported encoder.
        folder_description: Description of the same encoder in its folder, whose calibration may be newer; None to use
            the description in the file.

    Raises:
        ModelError: ONNX Runtime cannot load the graph.
    """

    def __init__(self, file: OnnxFile, folder_description: Description | None = None) -> None:
        description = folder_description or file.description
        suffix = "-half" if file.precision == "float16" else ""
        self.name = folder_description.name + suffix if folder_description else file.path.stem
        self.dim = description.architecture.embedding_dim
        self.fingerprint = description.fingerprint
        self.digest = file.digest
        self.calibration = description.calibration
        self.card = description.card
        self.trained_on = description.card.people.keys() or None
        self.fills_cores = True
        self._path = display_path(file.path)
        self._session = open_session(file.content, self._path)
        self._one_by_one = self._session.get_inputs()[0].shape[0] == 1

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `Encoder.embed`.

        Raises:
            ValueError: The type or size of the crops does not match the fingerprint.
            ModelError: The graph fails or does not return embeddings.
        """
        side = self.fingerprint.size
        if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"{self.name} takes 8-bit crops of (batch_size, {side}, {side}, 3), not {crops.shape}")
        batches = np.split(crops, len(crops)) if self._one_by_one and len(crops) else [crops]
        embeddings = np.concatenate([self._run(batch) for batch in batches])
        if embeddings.shape != (len(crops), self.dim):
            raise ModelError(f"{self._path}: its graph does not return embeddings of length {self.dim}")
        return embeddings

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        (embeddings,) = run_session(self._session, [OUTPUT], {INPUT: np.ascontiguousarray(crops)}, self._path)
        return np.asarray(embeddings, np.float32)


def open_session(content: bytes, path: str) -> onnxruntime.InferenceSession:
    """Loads a graph on the CPU.

    Args:
        content: The ONNX model.
        path: Name of its file, for errors.

    Raises:
        ModelError: ONNX Runtime cannot load the graph.
    """
    try:
        return onnxruntime.InferenceSession(content, _options(), providers=["CPUExecutionProvider"])
    except _RUNTIME_ERRORS as error:
        raise ModelError(f"{path}: ONNX Runtime cannot run it ({_reason(error)})") from error


def run_session(
    session: onnxruntime.InferenceSession, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]], path: str
) -> list[NDArray[Any]]:
    """Runs a graph.

    Args:
        session: The loaded graph.
        outputs: Names of the outputs to return.
        inputs: The inputs by name.
        path: Name of the graph's file, for errors.

    Raises:
        ModelError: The graph fails.
    """
    try:
        arrays: list[NDArray[Any]] = session.run(list(outputs), dict(inputs))
    except _RUNTIME_ERRORS as error:
        raise ModelError(f"{path}: its graph fails ({_reason(error)})") from error
    return arrays


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_per_process(1)  # as many as torch would use
    # Threads that spin between batches would take the cores from the threads that load pictures.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = _ONLY_FATAL  # other errors are raised as exceptions
    return options


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
