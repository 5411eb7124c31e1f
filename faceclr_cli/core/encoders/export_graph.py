"""The graph of `faceclr export`: crops to embeddings, including preprocessing and L2 normalization."""

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
from faceclr_cli.core.encoders.prelu_expansion import expand_prelu
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.text import display_path


class ExportedNetwork(nn.Module):
    """Crops to embeddings, in operations that all supported versions of the exporter and ONNX Runtime implement.

    Args:
        network: The network.
        side: Side of the crops in pixels.
        half: Convert the network to float16. Preprocessing and L2 normalization are always float32.
    """

    rows: Tensor

    def __init__(self, network: EncoderNetwork, side: int, *, half: bool) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half() if half else network
        self._resized = side != network.architecture.image_size
        self._type = torch.float16 if half else torch.float32
        # Resizing is linear, so the resized identity matrix represents it. ONNX has a Resize operation, but exporters
        # before torch 2.8 do not write it with antialiasing, and its default at the borders differs from torch's.
        height = (network.architecture.image_size, side)
        rows = F.interpolate(torch.eye(side)[None, None], height, mode="bilinear", antialias=True, align_corners=False)
        self.register_buffer("rows", rows[0, 0])

    def forward(self, crops: Tensor) -> Tensor:
        """Applies `normalize_pixels`, the network and L2 normalization.

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
    """Exports a network and its weights as an ONNX model for batches of any size.

    Args:
        network: The network, which is set to evaluation mode.
        side: Side of the crops in pixels.

    Raises:
        ModelError: The exporter fails, or the weights are too large.
    """
    if sum(tensor.nbytes for tensor in network.state_dict().values()) > LARGEST:
        raise ModelError("its weights exceed the 2 GiB limit of an ONNX file; try --half")
    example, batch = torch.zeros(2, side, side, 3, dtype=torch.uint8), {0: "batch"}
    with tempfile.TemporaryDirectory(prefix="faceclr-") as folder:
        path = Path(folder) / "graph.onnx"
        try:
            with silence_library():
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
    expand_prelu(model.graph)
    # Some torch versions leave the embedding dimension undefined.
    shape = ("batch", network.network.architecture.embedding_dim)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
    # Metadata would reveal the source location of each node, including paths of this machine.
    for message in list(messages(model)):
        for name in ("metadata_props", "doc_string"):
            if name in message.DESCRIPTOR.fields_by_name:
                message.ClearField(name)
    return model


@contextlib.contextmanager
def silence_library() -> Iterator[None]:
    """Suppresses the warnings, logs and output of a library; the exporter prints entire programs if it fails."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
