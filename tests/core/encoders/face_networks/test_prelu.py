from __future__ import annotations

import pytest
import torch
from torch import nn

from faceclr_cli.core.encoders.face_networks.prelu import PReLU


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 6, 5, 5, generator=generator).to(memory_format=memory_format)
    values[0, 0, 0, 0] = 0.0
    weights = torch.randn(4, 6, 5, 5, generator=generator)
    own, theirs = PReLU(6), nn.PReLU(6)
    found = []
    for layer in (own, theirs):
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(-0.5, 1.5, 6))
        features = values.clone().requires_grad_()
        activated = layer(features)
        torch.autograd.backward((activated * weights).sum())
        found.append((activated.detach(), features.grad, layer.weight.grad))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other)


def test_gradients_agree_with_differences() -> None:
    layer = PReLU(3).double()
    features = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, _: layer(x), (features, layer.weight))


def test_in_bf16_the_gradients_are_those_of_float32_rounded() -> None:
    values = torch.randn(8, 4, 6, 6, generator=torch.Generator().manual_seed(2)).bfloat16()
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        layer, features = PReLU(4), values.to(dtype).detach().requires_grad_()
        gradients = torch.autograd.grad(layer(features).float().square().sum(), (features, layer.weight))
        found.append([gradient.float() for gradient in gradients])
    for half, full in zip(*found, strict=True):
        torch.testing.assert_close(half, full, rtol=2e-2, atol=2e-2)


def test_frozen_slopes_have_no_gradient() -> None:
    layer = PReLU(3).requires_grad_(False)
    features = torch.randn(2, 3, 4, 4).requires_grad_()
    torch.autograd.backward(layer(features).sum())
    assert layer.weight.grad is None and features.grad is not None
