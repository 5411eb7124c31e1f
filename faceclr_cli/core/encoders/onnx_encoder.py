"""Exported encoders and `sface`, run by ONNX Runtime. Does not import torch, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from faceclr_cli.core.encoders.description import Description
from faceclr_cli.core.encoders.devices import PROVIDERS, find_provider
from faceclr_cli.core.encoders.onnx_file import INPUT, OUTPUT, OnnxFile
from faceclr_cli.core.encoders.weight_overflow import overflows_here, weight_bits
from faceclr_cli.core.errors import ConfigError, ModelError
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
_SUFFIXES = {"float32": "", "float16": "-half", "int8": "-int8"}


class OnnxEncoder:
    """A graph from crops to embeddings as an `Encoder`.

    Args:
        file: The exported encoder.
        folder_description: Description of the same encoder in its folder, whose calibration may be newer; None to use
            the description in the file.
        device: As for `find_provider`.
        chunk: On the CPU, each core computes this many crops by itself, which suits small networks; None to compute
            each layer of a batch on all cores together.

    Raises:
        ModelError: ONNX Runtime cannot load the graph, or this processor would compute other embeddings.
        ConfigError: ONNX Runtime lacks the provider of the device, or cannot start it.
    """

    def __init__(
        self,
        file: OnnxFile,
        folder_description: Description | None = None,
        device: str = "cpu",
        *,
        chunk: int | None = None,
    ) -> None:
        description = folder_description or file.description
        self.name = folder_description.name + _SUFFIXES[file.precision] if folder_description else file.path.stem
        self.dim = description.architecture.embedding_dim
        self.fingerprint = description.fingerprint
        self.digest = file.digest
        # Thresholds of the float encoder do not apply to 8-bit embeddings, so an 8-bit file has its own.
        self.calibration = (file.description if file.precision == "int8" else description).calibration
        self.card = description.card
        self.trained_on = description.card.everyone or None
        self._path = display_path(file.path)
        provider = find_provider(device, onnxruntime.get_available_providers())
        self.fills_cores = provider == PROVIDERS["cpu"]
        if self.fills_cores and file.precision == "int8" and overflows_here() and weight_bits(file.content) == 8:
            raise ModelError(
                f"{self._path}: its weights use all 8 bits; their sums overflow on this processor without VNNI, so "
                "that embeddings would be wrong; export it again: faceclr export --int8"
            )
        self._chunk = chunk if self.fills_cores else None
        threads = threads_per_process(1)  # as many as torch would use
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed") if self._chunk else None
        self._session = open_session(file.content, self._path, provider, 1 if self._chunk else threads)
        self._one_by_one = self._session.get_inputs()[0].shape[0] == 1
        # ONNX Runtime falls back to the CPU if the libraries of a provider are missing.
        if provider not in self._session.get_providers():
            raise ConfigError(
                f"--device {device}: ONNX Runtime cannot start {provider}; its libraries (for CUDA: CUDA and cuDNN of "
                "the version that onnxruntime-gpu was built for) are missing or incompatible"
            )

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `Encoder.embed`.

        Raises:
            ValueError: The type or size of the crops does not match the fingerprint.
            ModelError: The graph fails or does not return embeddings.
        """
        return self._embed(crops, OUTPUT)

    def _embed(self, crops: NDArray[np.uint8], output: str) -> NDArray[np.float32]:
        """Embeds a batch by an output of the graph; see `embed`."""
        side = self.fingerprint.size
        if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"{self.name} takes 8-bit crops of (batch_size, {side}, {side}, 3), not {crops.shape}")
        embeddings = self._compute(np.ascontiguousarray(crops), output)
        if embeddings.shape != (len(crops), self.dim):
            raise ModelError(f"{self._path}: its graph does not return embeddings of length {self.dim}")
        return embeddings

    def _compute(self, crops: NDArray[np.uint8], output: str) -> NDArray[np.float32]:
        if self._one_by_one and len(crops) > 1:
            return np.concatenate([self._run(crop, output) for crop in np.split(crops, len(crops))])
        if self._pool is None or self._chunk is None or len(crops) <= 1:
            return self._run(crops, output)
        chunks = np.split(crops, range(self._chunk, len(crops), self._chunk))
        return np.concatenate(list(self._pool.map(lambda chunk: self._run(chunk, output), chunks)))

    def _run(self, crops: NDArray[np.uint8], output: str) -> NDArray[np.float32]:
        (embeddings,) = run_session(self._session, [output], {INPUT: crops}, self._path)
        return np.asarray(embeddings, np.float32)


def open_session(
    content: bytes, path: str, provider: str = PROVIDERS["cpu"], threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Loads a graph.

    Args:
        content: The ONNX model.
        path: Name of its file, for errors.
        provider: The provider of ONNX Runtime.
        threads: Number of threads; None for as many as torch would use.

    Raises:
        ModelError: ONNX Runtime cannot load the graph.
    """
    options = _options(threads or threads_per_process(1))
    try:
        return onnxruntime.InferenceSession(content, options, providers=_providers(provider))
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

    Returns:
        The outputs, in the order of `outputs`.

    Raises:
        ModelError: The graph fails.
    """
    try:
        arrays: list[NDArray[Any]] = session.run(list(outputs), dict(inputs))
    except _RUNTIME_ERRORS as error:
        raise ModelError(f"{path}: its graph fails ({_reason(error)})") from error
    return arrays


def _providers(provider: str) -> list[str | tuple[str, dict[str, str]]]:
    """The provider, and the CPU for operations that it lacks, both in float32."""
    options = {"OpenVINOExecutionProvider": {"device_type": "CPU", "precision": "FP32"}}
    if provider == PROVIDERS["cpu"]:
        return [provider]
    return [(provider, options.get(provider, {})), PROVIDERS["cpu"]]


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin between batches would take the cores from the threads that load pictures.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = _ONLY_FATAL  # other errors are raised as exceptions
    return options


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
