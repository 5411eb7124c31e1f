"""The network of the built-in encoder `sface`, with its weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from faceclr_cli.core.configs.embed import ComputePrecision
from faceclr_cli.core.encoders.devices import find_torch_device
from faceclr_cli.core.encoders.encoder_folder import TorchEncoder
from faceclr_cli.core.encoders.face_networks.sface_network import SFaceUnit
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.encoders.sface_description import SFACE_ARCHITECTURE, describe_sface


def load_sface_network() -> EncoderNetwork:
    """Returns the network of the built-in encoder, with its weights as float32, in evaluation mode.

    Raises:
        ModelError: The file with the weights is missing, or its digest is not the pinned one.
    """
    # Here, because trainings without it would import onnx and ONNX Runtime too.
    from faceclr_cli.core.encoders.sface_graph import read_sface_weights

    network = EncoderNetwork(SFACE_ARCHITECTURE, initialize_head=False)
    stored = read_sface_weights()
    state = {
        key: value if key.endswith(_COUNTER) else torch.tensor(stored[_stored_name(key)]).view_as(value)
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    return network.eval()


def load_sface_encoder(device: str = "auto", precision: ComputePrecision = "float32") -> TorchEncoder:
    """Returns the built-in encoder, run by PyTorch.

    Args:
        device: As for `find_torch_device`.
        precision: Precision of the computation.

    Raises:
        ModelError: The file with the weights is missing, or its digest is not the pinned one.
        ConfigError: PyTorch does not find the device.
    """
    found, network = find_torch_device(device), load_sface_network()
    if precision == "bf16":
        _fold_batch_norms(network)
    return TorchEncoder(describe_sface(), network, found, precision)


def _fold_batch_norms(network: EncoderNetwork) -> None:
    """Multiplies the convolutions by the batch norms that follow them, which makes bf16 a third faster."""
    for unit in network.backbone.children():
        if isinstance(unit, SFaceUnit) and isinstance(unit.norm, nn.BatchNorm2d):
            unit.conv = fuse_conv_bn_eval(unit.conv, unit.norm)
            unit.norm = nn.Identity()


_COUNTER = "num_batches_tracked"
_PARTS = {
    "conv.weight": "_conv2d_weight",
    "activation.weight": "_relu_gamma",
    "norm.weight": "_batchnorm_gamma",
    "norm.bias": "_batchnorm_beta",
    "norm.running_mean": "_batchnorm_moving_mean",
    "norm.running_var": "_batchnorm_moving_var",
    "weight": "_gamma",
    "bias": "_beta",
    "running_mean": "_moving_mean",
    "running_var": "_moving_var",
}
_LINEAR = {"embedding.0.weight": "pre_fc1_weight", "embedding.0.bias": "pre_fc1_bias"}


def _stored_name(key: str) -> str:
    """Returns the name of a parameter in the published file."""
    if key in _LINEAR:
        return _LINEAR[key]
    unit, part = key.replace("embedding.1", "fc1").removeprefix("backbone.").split(".", 1)
    return unit + _PARTS[part]
