"""Fine-tuning of an encoder: which of its weights are trained, and at which learning rate."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from faceclr_cli.core.configs.train import Tune
from faceclr_cli.core.encoders.network import EncoderNetwork

LORA_RANK = 8


class LowRankUpdate(nn.Module):
    """Adds a trained matrix of low rank to a weight (LoRA, arXiv 2106.09685). It starts at zero.

    The kernel of a convolution is a matrix with one row per output channel.

    Args:
        weight: The weight, of two or more dimensions.
        rank: Rank of the added matrix.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Shape: that of the weight."""
        return weight + (self.up @ self.down).view_as(weight)


def select_weights(network: EncoderNetwork, tune: Tune) -> None:
    """Freezes the weights that are not trained. Call it once, before the network becomes part of a task.

    Args:
        network: The network to fine-tune, in place.
        tune: `all`: every weight is trained. `last`: only the embedding layer. `lora`: matrices of low rank that are
            added to the weights of linear layers and convolutions, except depthwise ones, which have few weights.
    """
    if tune == "all":
        return
    if tune == "last":
        network.backbone.requires_grad_(False)
        return
    network.requires_grad_(False)
    for module in list(network.modules()):
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            parametrize.register_parametrization(module, "weight", LowRankUpdate(module.weight, LORA_RANK))


def merged_state(network: EncoderNetwork) -> dict[str, Tensor]:
    """Returns the state dict of a network with low-rank updates added to its weights, in the form without updates."""
    state = network.state_dict()
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            prefix = f"{name}." if name else ""
            for key in [key for key in state if key.startswith(f"{prefix}parametrizations.")]:
                del state[key]
            with torch.no_grad():
                state[f"{prefix}weight"] = module.weight.detach().clone()
    return state


def learning_rate_scales(network: EncoderNetwork, decay: float) -> dict[nn.Parameter, float]:
    """Returns the factor of each weight's learning rate: 1 in the embedding layer, and less toward the input.

    From block to block it falls by the same factor (layer-wise learning-rate decay, arXiv 1801.06146 and 2106.08254).

    Args:
        network: The network.
        decay: Factor from one block to the one before it; 1 gives all weights the same rate.

    Returns:
        The factors of all parameters of the network.
    """
    blocks = [dict.fromkeys(network.parameters(recurse=False))]
    for part in _parts(network.backbone):
        parameters = list(part.parameters())
        if any(parameter.ndim > 1 for parameter in parameters):
            blocks.append({})
        blocks[-1].update(dict.fromkeys(parameters))  # A norm belongs to the layer before it.
    blocks.append(dict.fromkeys(network.embedding.parameters()))
    scales = dict.fromkeys(network.parameters(), decay ** (len(blocks) - 1))
    for depth, block in enumerate(reversed(blocks)):
        scales |= dict.fromkeys(block, decay**depth)
    return scales


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Yields the parts of a backbone in the order of their definition, with sequences taken apart."""
    children = list(module.children())
    for child in children:
        if isinstance(child, nn.Sequential | nn.ModuleList) or (len(children) == 1 and list(child.children())):
            yield from _parts(child)
        else:
            yield child
