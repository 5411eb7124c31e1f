"""The names that public checkpoints give to the weights of networks for faces."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from faceclr_cli.core.encoders.architecture import Architecture, InputNormalization
from faceclr_cli.core.encoders.checkpoints.mobilefacenet_names import (
    ARCFACE_TORCH,
    FOAMLIU,
    INSIGHTFACE_PYTORCH,
    XIAOCCER,
    MobileFaceNetNames,
)
from faceclr_cli.core.encoders.checkpoints.state_dicts import Weights
from faceclr_cli.core.encoders.face_networks.iresnet import BLOCKS

_STAGE_NAMES: dict[tuple[int, ...], int] = {blocks: layers for layers, blocks in BLOCKS.items()}
_DIVIDED_BY_128 = InputNormalization(std=(128.0,) * 3)
_BGR = InputNormalization(channels="bgr")
_IMAGENET = InputNormalization(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
_UNIT = InputNormalization(mean=(0.0,) * 3, std=(255.0,) * 3)


@dataclass(frozen=True, kw_only=True)
class Recognized:
    """A network that was recognized by the names of its weights.

    Attributes:
        source: The project that uses these names, for messages.
        architecture: The network.
        key_map: Translates names of faceclr's network into names of the checkpoint.
        weights: The weights of the checkpoint, in some cases rewritten for an equivalent network.
        normalization: The pixels that public weights of this form take, if they all take the same.
        template: How their faces are aligned, if all in the same way.
    """

    source: str
    architecture: Architecture
    key_map: Callable[[str], str]
    weights: Weights
    normalization: InputNormalization | None = None
    template: str | None = None


def recognize(weights: Weights) -> Recognized | None:
    """Recognizes a network for faces by the names of its weights.

    Args:
        weights: Weights without the prefixes of wrappers.

    Returns:
        The network, or None. Whether all weights fit is not checked.
    """
    for has_form, read in _FORMS:
        if all(name in weights for name in has_form):
            return read(weights)
    return None


def _shape(weights: Weights, name: str) -> tuple[int, ...]:
    return tuple(weights[name].shape) if name in weights else ()


def _pooled_architecture(backbone: str, layer: tuple[int, ...], size: int) -> Architecture:
    """Returns the architecture whose embedding layer, of this shape, takes averaged features."""
    return Architecture(backbone=backbone, embedding_dim=_dim(layer), image_size=size, pool="mean")


def _size(features: tuple[int, ...], channels: int, halvings: int) -> int:
    """Returns the side of the pictures whose feature map has this many elements."""
    elements = features[1] if len(features) == 2 else 0
    side = round(math.sqrt(elements / channels))
    return int((side or 7) * 2**halvings)


def _count(weights: Weights, pattern: str) -> int:
    """Returns the number of different names of blocks."""
    found = (re.match(pattern, name) for name in weights)
    return len({match[0] for match in found if match})


def _dim(shape: tuple[int, ...], default: int = 512) -> int:
    return shape[0] if shape else default


# insightface's arcface_torch


def _read_iresnet(weights: Weights) -> Recognized:
    blocks = tuple(_count(weights, rf"layer{stage}\.\d+\.") for stage in (1, 2, 3, 4))
    layers = _STAGE_NAMES.get(blocks, 0)
    shape = _shape(weights, "fc.weight")
    size = _size(shape, 512, 4)
    return Recognized(
        source="arcface_torch",
        architecture=Architecture(backbone=f"iresnet{layers}", embedding_dim=_dim(shape), image_size=size),
        key_map=_iresnet_key,
        weights=weights,
        normalization=InputNormalization(),
        template="arcface",
    )


def _iresnet_key(name: str) -> str:
    if name.startswith("embedding."):
        return name.replace("embedding.0", "fc").replace("embedding.1", "features")
    return name.removeprefix("backbone.")


# AdaFace, CVLface, TFace

_IR_LAYERS = {
    "bn1": "res_layer.0", "conv1": "res_layer.1", "bn2": "res_layer.2", "prelu": "res_layer.3", "conv2": "res_layer.4",
    "bn3": "res_layer.5", "downsample": "shortcut_layer",
}  # fmt: skip


def _read_ir(weights: Weights) -> Recognized:
    count = _count(weights, r"body\.\d+\.")
    layers = next((layers for blocks, layers in _STAGE_NAMES.items() if sum(blocks) == count), 0)
    shape = _shape(weights, "output_layer.3.weight")
    # AdaFace's last batch norm has no weights. Other projects use its layers with pictures in RGB.
    is_adaface = "output_layer.4.weight" not in weights
    return Recognized(
        source="AdaFace" if is_adaface else "an IR network",
        architecture=Architecture(
            backbone=f"ir{101 if layers == 100 else layers}", embedding_dim=_dim(shape), image_size=_size(shape, 512, 4)
        ),
        key_map=_ir_keys(layers),
        weights=weights if is_adaface else _without_affine_norm(weights),
        normalization=_BGR if is_adaface else None,
        template="arcface",
    )


def _ir_keys(layers: int) -> Callable[[str], str]:
    firsts = [0]
    for count in BLOCKS.get(layers, ()):
        firsts.append(firsts[-1] + count)

    def key(name: str) -> str:
        name = name.removeprefix("backbone.")
        block = re.match(r"layer(\d)\.(\d+)\.(\w+)(.*)", name)
        if block:
            number = firsts[int(block[1]) - 1] + int(block[2])
            return f"body.{number}.{_IR_LAYERS[block[3]]}{block[4]}"
        for own, other in (
            ("conv1.", "input_layer.0."),
            ("bn1.", "input_layer.1."),
            ("prelu.", "input_layer.2."),
            ("bn2.", "output_layer.0."),
            ("embedding.0.", "output_layer.3."),
            ("embedding.1.", "output_layer.4."),
        ):
            if name.startswith(own):
                return other + name.removeprefix(own)
        return name

    return key


def _without_affine_norm(weights: Weights) -> Weights:
    """Moves the weights of the last batch norm into the linear layer before it and its own running average."""
    linear, norm = "output_layer.3", "output_layer.4"
    names = {f"{linear}.weight", f"{linear}.bias"} | {
        f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")
    }
    if not names <= weights.keys():
        return weights
    scale, shift = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
    spread = (weights[f"{norm}.running_var"] + 1e-5).sqrt()
    kept = {name: value for name, value in weights.items() if name not in (f"{norm}.weight", f"{norm}.bias")}
    return {
        **kept,
        f"{linear}.weight": weights[f"{linear}.weight"] * scale[:, None],
        f"{linear}.bias": weights[f"{linear}.bias"] * scale,
        f"{norm}.running_mean": weights[f"{norm}.running_mean"] * scale - shift * spread,
    }


# MobileFaceNet


def _read_mobilefacenet(
    names: MobileFaceNetNames, source: str, normalization: InputNormalization | None, *, is_foamliu: bool = False
) -> Callable[[Weights], Recognized]:
    def read(weights: Weights) -> Recognized:
        linear = _shape(weights, f"{names.linear}.weight")
        kernel = _shape(weights, f"{names.parts(names.pooling, 0)}.weight")
        width = _dim(_shape(weights, f"{names.parts(names.stem[0], 0)}.weight"), 64)
        side = kernel[2] if len(kernel) == 4 else 7
        args: dict[str, bool | int | float | str] = {"width": width} if width != 64 else {}
        if is_foamliu:
            args |= {"activation": "relu6", "pointwise_stem": True}
        return Recognized(
            source=source,
            architecture=Architecture(
                backbone="mobilefacenet",
                embedding_dim=_dim(linear),
                image_size=side * 16,
                backbone_args=tuple(sorted(args.items())),
            ),
            key_map=names.key,
            weights=_without_bias(weights) if is_foamliu else weights,
            normalization=normalization,
            template="arcface",
        )

    return read


def _without_bias(weights: Weights) -> Weights:
    """Moves the bias of the last layer into the running average of the batch norm behind it."""
    if not {"conv3.bias", "bn.running_mean"} <= weights.keys():
        return weights
    kept = {name: value for name, value in weights.items() if name != "conv3.bias"}
    return {**kept, "bn.running_mean": weights["bn.running_mean"] - weights["conv3.bias"]}


# facenet-pytorch

_FACENET_STEM = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "", "conv2d_3b", "conv2d_4a", "conv2d_4b")


def _read_inception(weights: Weights) -> Recognized:
    return Recognized(
        source="facenet-pytorch",
        architecture=_pooled_architecture("inception_resnet_v1", _shape(weights, "last_linear.weight"), 160),
        key_map=_inception_key,
        weights=weights,
        normalization=_DIVIDED_BY_128,
        template="box 0",
    )


def _inception_key(name: str) -> str:
    name = name.removeprefix("backbone.").replace("embedding.0", "last_linear").replace("embedding.1", "last_bn")
    stem = re.fullmatch(r"stem\.(\d)\.(\d)\.(\w+)", name)
    if stem:
        return f"{_FACENET_STEM[int(stem[1])]}.{('conv', 'bn')[int(stem[2])]}.{stem[3]}"
    name = re.sub(r"^last\.", "block8.", name).replace("joint", "conv2d")
    branch = re.fullmatch(r"(.+)\.branches\.(\d)\.(\d)\.(\d)\.(\w+)", name)
    if not branch:
        return name
    block, number, layer, part, rest = branch.groups()
    # A branch of one layer is not a sequence there: the first of all blocks but mixed_7a.
    inner = "" if number == "0" and block != "mixed_7a" else f".{layer}"
    return f"{block}.branch{number}{inner}.{('conv', 'bn')[int(part)]}.{rest}"


# OpenFacePytorch

_OPENFACE_STEM = {0: (1, 2), 3: (6, 7), 4: (9, 10)}
_OPENFACE_BLOCKS = {
    "3a": 14, "3b": 15, "3c": 16, "4a": 17, "4e": 18, "5a": 19, "5b": 21,
}  # fmt: skip


def _read_openface(weights: Weights) -> Recognized:
    return Recognized(
        source="OpenFacePytorch",
        architecture=replace(
            _pooled_architecture("nn4_small2", _shape(weights, "layer25.weight"), 96),
            backbone_args=(("pooling", "openface"),),
            head="linear",
        ),
        key_map=_openface_key,
        weights=weights,
        normalization=_UNIT,
    )


def _openface_key(name: str) -> str:
    name = name.removeprefix("backbone.0.").replace("embedding", "layer25")
    stem = re.fullmatch(r"stem\.(\d)\.(\d)\.(\w+)", name)
    if stem:
        return f"layer{_OPENFACE_STEM[int(stem[1])][int(stem[2])]}.{stem[3]}"
    block = re.fullmatch(r"inception_(\w\w)\.branches\.(\d)\.(?:(\d)\.)?(\d)\.(\w+)", name)
    if not block:
        return name
    inception, branch, layer, part, rest = block.groups()
    # A branch numbers its layers from 1: convolution, batch norm, ReLU; pooling comes first in its branch.
    place = 1 + int(part) + (0 if layer is None else 3 * int(layer))
    if layer == "1" and _is_pooled(inception, int(branch)):
        place = 2 + int(part)
    return f"layer{_OPENFACE_BLOCKS[inception]}.seq_list.{branch}.{place}_{('conv', 'bn')[int(part)]}.{rest}"


def _is_pooled(inception: str, branch: int) -> bool:
    """The pooling branch follows those of the 3x3 and 5x5 convolutions; the last two blocks have no 5x5 convolution."""
    return branch == (1 if inception.startswith("5") else 2)


# Names that only one form has, and the function that reads it.
_FORMS: tuple[tuple[tuple[str, ...], Callable[[Weights], Recognized]], ...] = (
    (("input_layer.0.weight", "body.0.res_layer.1.weight"), _read_ir),
    (("prelu.weight", "layer1.0.prelu.weight", "layer1.0.bn3.weight"), _read_iresnet),
    (
        ("layers.0.layers.0.weight", "conv_sep.layers.0.weight"),
        _read_mobilefacenet(ARCFACE_TORCH, "arcface_torch", InputNormalization()),
    ),
    (
        ("conv_23.conv.conv.weight", "conv_6_sep.conv.weight"),
        _read_mobilefacenet(INSIGHTFACE_PYTORCH, "InsightFace_Pytorch", InputNormalization()),
    ),
    (
        ("dw_conv1.conv.weight", "blocks.0.conv.0.weight"),
        _read_mobilefacenet(XIAOCCER, "MobileFaceNet_Pytorch", _DIVIDED_BY_128),
    ),
    (
        ("dw_conv.depthwise.weight", "gdconv.depthwise.weight"),
        _read_mobilefacenet(FOAMLIU, "foamliu's MobileFaceNet", _IMAGENET, is_foamliu=True),
    ),
    (("conv2d_1a.conv.weight", "mixed_7a.branch0.0.conv.weight"), _read_inception),
    (("layer1.weight", "layer14.seq_list.0.1_conv.weight"), _read_openface),
)
