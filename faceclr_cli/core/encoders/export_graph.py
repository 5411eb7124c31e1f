"""The graph that `faceclr export` writes: from crops to embeddings, preprocessing and normalization included."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.encoders.onnx_file import INPUT, LARGEST, OUTPUT, messages
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.text import display_path


class ExportedNetwork(nn.Module):
    """From crops to embeddings, in operations that every version of the exporter and of ONNX Runtime knows.

    Args:
        network: The network.
        side: Of the crops in pixels.
        half: Whether weights and network are in 16 bits; what lies before and behind is always in 32.
    """

    rows: Tensor

    def __init__(self, network: EncoderNetwork, side: int, *, half: bool) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half() if half else network
        self._resized = side != network.architecture.image_size
        self._type = torch.float16 if half else torch.float32
        # Resizing is linear, so how it changes the columns of the unit matrix is all of it. ONNX has an operation for
        # it, but exporters before torch 2.8 did not write it, and at the borders its default is not what torch does.
        height = (network.architecture.image_size, side)
        rows = F.interpolate(torch.eye(side)[None, None], height, mode="bilinear", antialias=True, align_corners=False)
        self.register_buffer("rows", rows[0, 0])

    def forward(self, crops: Tensor) -> Tensor:
        """As `normalize`, the network and L2 normalization.

        Args:
            crops: RGB, 0-255, uint8. Shape: (B, side, side, 3).

        Returns:
            Embeddings, float32. Shape: (B, embedding_dim).
        """
        pictures = crops.permute(0, 3, 1, 2).float()
        if self._resized:
            pictures = self.rows @ pictures @ self.rows.T
        embeddings = self.network((pictures / 127.5 - 1).to(self._type))
        return F.normalize(embeddings.float(), dim=1)


def trace(network: ExportedNetwork, side: int) -> onnx.ModelProto:
    """Makes an ONNX graph of a network, weights included, for batches of any size.

    Args:
        network: In evaluation mode from now on.
        side: Of the crops in pixels.

    Raises:
        ModelError: The exporter cannot do it.
    """
    if sum(tensor.nbytes for tensor in network.state_dict().values()) > LARGEST:
        raise ModelError("its weights are too large for one ONNX file, which holds 2 GiB; --half may do")
    example, batch = torch.zeros(2, side, side, 3, dtype=torch.uint8), {0: "batch"}
    with tempfile.TemporaryDirectory(prefix="faceclr-") as folder:
        path = Path(folder) / "graph.onnx"
        try:
            # What each version prefers: before torch 2.9 torch.jit, since torch.export there fails on batch norm.
            with _quiet():
                torch.onnx.export(
                    network.eval(),
                    (example,),
                    path,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_axes={INPUT: batch, OUTPUT: batch},
                    external_data=False,
                )
        except RuntimeError as error:
            cause = error.__cause__ or error
            reason = (str(cause).strip().splitlines() or [""])[0]
            raise ModelError(
                f"torch {torch.__version__} cannot export its network ({type(cause).__name__}: {display_path(reason)})"
            ) from error
        model = onnx.load(path, load_external_data=False)
    # Some versions leave the length of an embedding open.
    shape = ("batch", network.network.architecture.embedding_dim)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
    # Where each node came from, down to lines of files on this machine.
    for message in list(messages(model)):
        for name in ("metadata_props", "doc_string"):
            if name in message.DESCRIPTOR.fields_by_name:
                message.ClearField(name)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops what the exporter says and prints of its own work: where it fails, whole programs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
