"""Networks with the names that public projects give to their weights, and the arithmetic of those projects."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def draw(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fills a network with random weights and with statistics of batch norms that are not those of a new one."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim == 1:
            value.normal_(0.2, 0.2, generator=generator)
        elif value.ndim > 1:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)
    return network.eval()


def named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def conv(channels: int, width: int, side: int, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, side, stride, padding, groups=groups, bias=False)


# Channels before a bottleneck, within it and behind it, and its stride; from the table of MobileFaceNet.
BOTTLENECKS = (
    (64, 128, 64, 2),
    *((64, 128, 64, 1),) * 4,
    (64, 256, 128, 2),
    *((128, 256, 128, 1),) * 6,
    (128, 512, 128, 2),
    *((128, 256, 128, 1),) * 2,
)


class Shortcut(nn.Module):
    """Adds its input. The name of the inner layers is that of the project."""

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.add_module(name, inner)

    def forward(self, x: Tensor) -> Tensor:
        (inner,) = self.children()
        return x + inner(x)


class ArcFaceTorchMobileFaceNet(nn.Module):
    """arcface_torch: all modules are called layers, and the first stage has twice the channels of the paper."""

    def __init__(self, dim: int = 512) -> None:
        super().__init__()

        def layer(*modules: nn.Module, width: int, acts: bool = True) -> nn.Module:
            return named(layers=nn.Sequential(*modules, nn.BatchNorm2d(width), *([nn.PReLU(width)] if acts else [])))

        def block(channels: int, hidden: int, width: int, stride: int) -> nn.Module:
            inner = nn.Sequential(
                layer(conv(channels, hidden, 1), width=hidden),
                layer(conv(hidden, hidden, 3, stride, 1, hidden), width=hidden),
                layer(conv(hidden, width, 1), width=width, acts=False),
            )
            return Shortcut("layers", inner) if stride == 1 else named(layers=inner)

        def blocks(width: int, hidden: int, count: int) -> nn.Module:
            return named(layers=nn.Sequential(*(block(width, hidden, width, 1) for _ in range(count))))

        self.layers = nn.ModuleList(
            [
                layer(conv(3, 128, 3, 2, 1), width=128),
                layer(conv(128, 128, 3, 1, 1, 64), width=128),
                block(128, 128, 128, 2),
                blocks(128, 128, 4),
                block(128, 256, 256, 2),
                blocks(256, 256, 6),
                block(256, 512, 256, 2),
                blocks(256, 256, 2),
            ]
        )
        self.conv_sep = layer(conv(256, 512, 1), width=512)
        whole = layer(conv(512, 512, 7, groups=512), width=512, acts=False)
        linear = nn.Linear(512, dim, bias=False)
        self.features = named(layers=nn.Sequential(whole, nn.Flatten(), linear, nn.BatchNorm1d(dim)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        embeddings: Tensor = self.features(self.conv_sep(x))
        return embeddings


class Xiaoccer(nn.Module):
    """Xiaoccer/MobileFaceNet_Pytorch: the last layer is a 1x1 convolution."""

    def __init__(self, dim: int = 128) -> None:
        super().__init__()

        def layer(inner: nn.Conv2d, *, acts: bool = True) -> nn.Module:
            width = inner.out_channels
            return named(conv=inner, bn=nn.BatchNorm2d(width), **({"prelu": nn.PReLU(width)} if acts else {}))

        def block(channels: int, hidden: int, width: int, stride: int) -> nn.Module:
            inner = nn.Sequential(
                conv(channels, hidden, 1),
                nn.BatchNorm2d(hidden),
                nn.PReLU(hidden),
                conv(hidden, hidden, 3, stride, 1, hidden),
                nn.BatchNorm2d(hidden),
                nn.PReLU(hidden),
                conv(hidden, width, 1),
                nn.BatchNorm2d(width),
            )
            return Shortcut("conv", inner) if stride == 1 else named(conv=inner)

        self.conv1 = layer(conv(3, 64, 3, 2, 1))
        self.dw_conv1 = layer(conv(64, 64, 3, 1, 1, 64))
        self.blocks = nn.Sequential(*(block(*row) for row in BOTTLENECKS))
        self.conv2 = layer(conv(128, 512, 1))
        self.linear7 = layer(conv(512, 512, 7, groups=512), acts=False)
        self.linear1 = layer(conv(512, dim, 1), acts=False)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x.flatten(1)


class Foamliu(nn.Module):
    """foamliu/MobileFaceNet: ReLU6, a pointwise convolution in the stem, and a bias in the last convolution."""

    def __init__(self, dim: int = 128) -> None:
        super().__init__()

        def layer(inner: nn.Conv2d) -> nn.Sequential:
            return nn.Sequential(inner, nn.BatchNorm2d(inner.out_channels), nn.ReLU6())

        def block(channels: int, hidden: int, width: int, stride: int) -> nn.Module:
            inner = nn.Sequential(
                layer(conv(channels, hidden, 1)),
                layer(conv(hidden, hidden, 3, stride, 1, hidden)),
                conv(hidden, width, 1),
                nn.BatchNorm2d(width),
            )
            return Shortcut("conv", inner) if stride == 1 else named(conv=inner)

        self.conv1 = layer(conv(3, 64, 3, 2, 1))
        self.dw_conv = named(
            depthwise=conv(64, 64, 3, 1, 1, 64),
            pointwise=conv(64, 64, 1),
            bn1=nn.BatchNorm2d(64),
            bn2=nn.BatchNorm2d(64),
        )
        self.conv2 = layer(conv(128, 512, 1))
        self.gdconv = named(depthwise=conv(512, 512, 7, groups=512), bn=nn.BatchNorm2d(512))
        self.conv3 = nn.Conv2d(512, dim, 1)
        self.bn = nn.BatchNorm2d(dim)
        self.features = nn.Sequential(*(block(*row) for row in BOTTLENECKS))

    def forward(self, x: Tensor) -> Tensor:
        stem = self.dw_conv
        x = F.relu(stem.bn1(stem.depthwise(self.conv1(x))))
        x = F.relu(stem.bn2(stem.pointwise(x)))
        x = self.gdconv(self.conv2(self.features(x)))
        return self.bn(self.conv3(x)).flatten(1)


class OpenFaceInception(nn.Module):
    """Branches of different sides are centered in zeros."""

    def __init__(
        self,
        channels: int,
        stride: int,
        convs: tuple[tuple[int, int, int], ...],
        pool: nn.Module,
        pooled: int | None,
        one: int | None,
    ) -> None:
        super().__init__()
        branches: list[nn.Module] = []
        for side, reduced, width in convs:
            names = {
                "1_conv": nn.Conv2d(channels, reduced, 1),
                "2_bn": nn.BatchNorm2d(reduced),
                "3_relu": nn.ReLU(),
                "4_conv": nn.Conv2d(reduced, width, side, stride, side // 2),
                "5_bn": nn.BatchNorm2d(width),
                "6_relu": nn.ReLU(),
            }
            branches.append(named(**names))
        after = {} if pooled is None else {"2_conv": nn.Conv2d(channels, pooled, 1), "3_bn": nn.BatchNorm2d(pooled)}
        branches.append(named(**{"1_pool": pool, **after, **({"4_relu": nn.ReLU()} if after else {})}))
        if one is not None:
            branches.append(
                named(**{"1_conv": nn.Conv2d(channels, one, 1), "2_bn": nn.BatchNorm2d(one), "3_relu": nn.ReLU()})
            )
        self.seq_list = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        outcomes = [branch(x) for branch in self.seq_list]
        side = max(outcome.shape[2] for outcome in outcomes)
        result = []
        for outcome in outcomes:
            canvas = torch.zeros(len(x), outcome.shape[1], side, side)
            start = (side - outcome.shape[2]) // 2
            canvas[:, :, start : start + outcome.shape[2], start : start + outcome.shape[2]] = outcome
            result.append(canvas)
        return torch.cat(result, 1)


class OpenFace(nn.Module):
    """thnkim/OpenFacePytorch: nn4.small2 as the weights of OpenFace were trained."""

    def __init__(self) -> None:
        super().__init__()
        lrn = nn.LocalResponseNorm(5, 0.0001, 0.75)
        largest, norm = nn.MaxPool2d(3, 2), nn.LPPool2d(2, 3, 3)
        layers: dict[int, nn.Module] = {
            1: nn.Conv2d(3, 64, 7, 2, 3),
            2: nn.BatchNorm2d(64),
            3: nn.ReLU(),
            4: nn.MaxPool2d(3, 2, 1),
            5: lrn,
            6: nn.Conv2d(64, 64, 1),
            7: nn.BatchNorm2d(64),
            8: nn.ReLU(),
            9: nn.Conv2d(64, 192, 3, 1, 1),
            10: nn.BatchNorm2d(192),
            11: nn.ReLU(),
            12: lrn,
            13: nn.MaxPool2d(3, 2, 1),
            14: OpenFaceInception(192, 1, ((3, 96, 128), (5, 16, 32)), largest, 32, 64),
            15: OpenFaceInception(256, 1, ((3, 96, 128), (5, 32, 64)), norm, 64, 64),
            16: OpenFaceInception(320, 2, ((3, 128, 256), (5, 32, 64)), largest, None, None),
            17: OpenFaceInception(640, 1, ((3, 96, 192), (5, 32, 64)), norm, 128, 256),
            18: OpenFaceInception(640, 2, ((3, 160, 256), (5, 64, 128)), largest, None, None),
            19: OpenFaceInception(1024, 1, ((3, 96, 384),), norm, 96, 256),
            21: OpenFaceInception(736, 1, ((3, 96, 384),), largest, 96, 256),
            22: nn.AvgPool2d(3, 1),
            25: nn.Linear(736, 128),
        }
        for number, layer in layers.items():
            self.add_module(f"layer{number}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            x = layer(x.flatten(1) if name == "layer25" else x)
        return x
