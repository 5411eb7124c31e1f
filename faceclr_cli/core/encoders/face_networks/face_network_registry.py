"""The networks made for faces by name: their backbones, embedding heads, arguments and smallest pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from faceclr_cli.core.configs.train import HISTOGRAMS
from faceclr_cli.core.encoders.architecture import SFACE_BACKBONE, BackboneArgs, Pool
from faceclr_cli.core.encoders.face_networks import inception_resnet_v1 as inception
from faceclr_cli.core.encoders.face_networks import mobilefacenet
from faceclr_cli.core.encoders.face_networks.face_histograms import LEAST_SIZE, FaceHistograms
from faceclr_cli.core.encoders.face_networks.iresnet import BLOCKS, IResNet
from faceclr_cli.core.encoders.face_networks.sface_network import LAST_EPS, SFaceBackbone
from faceclr_cli.core.encoders.heads import GlobalBatchNorm, embedding_layer
from faceclr_cli.core.errors import ConfigError

_MOBILEFACENET_WIDTHS = (64, 128, 192, 256)

Arguments = Mapping[str, bool | int | float | str]


@dataclass(frozen=True, kw_only=True)
class FaceNetwork:
    """The construction of a network made for faces.

    Attributes:
        backbone: Builds the backbone from the side of the pictures, the pooling and the arguments of the backbone.
        head: Builds the embedding head from the number of features and the length of an embedding.
        arguments: Names of the arguments that the backbone takes.
        least_size: Smallest side of the pictures.
    """

    backbone: Callable[[int, Pool, Arguments], nn.Module]
    head: Callable[[int, int], nn.Module]
    arguments: tuple[str, ...] = ()
    least_size: int = 1


def build_face_backbone(name: str, *, image_size: int, pool: Pool, args: BackboneArgs) -> nn.Module:
    """Builds the backbone of a network made for faces, with random weights.

    Args:
        name: A name in `FACE_NETWORKS`.
        image_size: Side of the input in pixels.
        pool: See `build_backbone`.
        args: Arguments of the backbone.

    Raises:
        ConfigError: The pictures are too small, or the network does not take these arguments.
    """
    network = FACE_NETWORKS[name]
    unknown = [argument for argument, _ in args if argument not in network.arguments]
    if unknown:
        takes = f"it takes {', '.join(network.arguments)}" if network.arguments else "it takes none"
        raise ConfigError(f"--backbone-args {unknown[0]}: {name} does not have this argument; {takes}")
    if image_size < network.least_size:
        raise ConfigError(
            f"--backbone {name} does not support --image-size {image_size}: at least {network.least_size} pixels needed"
        )
    return network.backbone(image_size, pool, dict(args))


def _iresnet(layers: int) -> FaceNetwork:
    def backbone(image_size: int, pool: Pool, args: Arguments) -> nn.Module:
        del image_size, args
        return IResNet(BLOCKS[layers], has_pooled_shortcut=False, pool=pool)

    return FaceNetwork(backbone=backbone, head=_iresnet_head)


def _ir(layers: int) -> FaceNetwork:
    def backbone(image_size: int, pool: Pool, args: Arguments) -> nn.Module:
        del image_size, args
        return IResNet(BLOCKS[layers], has_pooled_shortcut=True, pool=pool)

    return FaceNetwork(backbone=backbone, head=_ir_head)


def _iresnet_head(features: int, embedding_dim: int) -> nn.Module:
    """Linear layer and batch norm. The scale of the norm stays 1, as in insightface."""
    norm = GlobalBatchNorm(embedding_dim)
    norm.weight.requires_grad_(False)
    return nn.Sequential(embedding_layer(features, embedding_dim, bias=True), norm)


def _ir_head(features: int, embedding_dim: int) -> nn.Module:
    norm = GlobalBatchNorm(embedding_dim, affine=False)
    return nn.Sequential(embedding_layer(features, embedding_dim, bias=True), norm)


def _mobilefacenet_backbone(image_size: int, pool: Pool, args: Arguments) -> nn.Module:
    width, activation = args.get("width", 64), args.get("activation", "prelu")
    if isinstance(width, bool) or not isinstance(width, int) or width not in _MOBILEFACENET_WIDTHS:
        raise ConfigError(f"--backbone-args width={width}: must be 64, 128, 192 or 256")
    if activation not in ("prelu", "relu6"):
        raise ConfigError(f"--backbone-args activation={activation}: must be prelu or relu6")
    has_pointwise_stem = args.get("pointwise_stem", False)
    if not isinstance(has_pointwise_stem, bool):
        raise ConfigError(f"--backbone-args pointwise_stem={has_pointwise_stem}: must be true or false")
    return mobilefacenet.MobileFaceNet(
        image_size=image_size,
        pool=pool,
        width=width,
        activation="prelu" if activation == "prelu" else "relu6",
        has_pointwise_stem=has_pointwise_stem,
    )


def _mobilefacenet_head(features: int, embedding_dim: int) -> nn.Module:
    return nn.Sequential(embedding_layer(features, embedding_dim), GlobalBatchNorm(embedding_dim))


def _inception_backbone(image_size: int, pool: Pool, args: Arguments) -> nn.Module:
    del image_size, args
    return inception.InceptionResnetV1(pool=pool)


def _inception_head(features: int, embedding_dim: int) -> nn.Module:
    norm = GlobalBatchNorm(embedding_dim, eps=inception.BATCH_NORM_EPS)
    return nn.Sequential(embedding_layer(features, embedding_dim), norm)


def _sface_backbone(image_size: int, pool: Pool, args: Arguments) -> nn.Module:
    del image_size, args
    return SFaceBackbone(pool)


def _sface_head(features: int, embedding_dim: int) -> nn.Module:
    norm = GlobalBatchNorm(embedding_dim, eps=LAST_EPS)
    return nn.Sequential(embedding_layer(features, embedding_dim, bias=True), norm)


def _histogram_backbone(image_size: int, pool: Pool, args: Arguments) -> nn.Module:
    del pool, args
    return FaceHistograms(image_size)


def _histogram_head(features: int, embedding_dim: int) -> nn.Module:
    return embedding_layer(features, embedding_dim, bias=True)


FACE_NETWORKS: Mapping[str, FaceNetwork] = {
    "iresnet18": _iresnet(18),
    "iresnet34": _iresnet(34),
    "iresnet50": _iresnet(50),
    "iresnet100": _iresnet(100),
    "ir18": _ir(18),
    "ir34": _ir(34),
    "ir50": _ir(50),
    "ir101": _ir(100),
    "mobilefacenet": FaceNetwork(
        backbone=_mobilefacenet_backbone,
        head=_mobilefacenet_head,
        arguments=("width", "activation", "pointwise_stem"),
    ),
    "inception_resnet_v1": FaceNetwork(
        backbone=_inception_backbone, head=_inception_head, least_size=inception.LEAST_SIZE
    ),
    SFACE_BACKBONE: FaceNetwork(backbone=_sface_backbone, head=_sface_head),
    HISTOGRAMS: FaceNetwork(backbone=_histogram_backbone, head=_histogram_head, least_size=LEAST_SIZE),
}
