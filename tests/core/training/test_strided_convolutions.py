from __future__ import annotations

import copy

import timm
import torch

from faceclr_cli.core.training.strided_convolutions import Float32Conv2d, keep_in_float32


def test_strided_depthwise_convolutions_are_computed_in_float32_under_autocast() -> None:
    network = timm.create_model("mobilenetv3_small_050", num_classes=0).eval()
    before = copy.deepcopy(network)
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1 and module.stride == (2, 2)
    ]
    keep_in_float32(network)
    changed = [name for name, module in network.named_modules() if isinstance(module, Float32Conv2d)]
    assert names and changed == names
    assert network.state_dict().keys() == before.state_dict().keys()
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(pictures), before(pictures))

    layer = network.get_submodule(names[0])
    seen = torch.randn(2, layer.in_channels, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(seen)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half, layer(seen).bfloat16(), rtol=0, atol=0)
    assert isinstance(copy.deepcopy(network).get_submodule(names[0]), Float32Conv2d)
