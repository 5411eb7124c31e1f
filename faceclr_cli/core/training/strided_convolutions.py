"""Strided depthwise convolutions on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Float32Conv2d(nn.Conv2d):
    """A convolution that is computed in float32 under autocast on CPUs, and as usual otherwise."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', H', W')."""
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            convolved: Tensor = self._conv_forward(input.float(), self.weight, self.bias)
        return convolved.to(torch.get_autocast_dtype("cpu"))


def keep_in_float32(module: nn.Module) -> None:
    """Changes the strided depthwise convolutions in a module to `Float32Conv2d`.

    Their backward pass in bf16 takes 3 to 50 times as long as in float32. In SFace and MobileNets, it would be most of
    the time of a training step.
    """
    for each in module.modules():
        if type(each) is nn.Conv2d and each.groups == each.in_channels > 1 and max(each.stride) > 1:
            each.__class__ = Float32Conv2d
