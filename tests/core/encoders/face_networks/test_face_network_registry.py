from __future__ import annotations

import pytest
import torch
from torch import nn

from faceclr_cli.core.encoders.architecture import Architecture, Pool
from faceclr_cli.core.encoders.backbones import build_backbone
from faceclr_cli.core.encoders.face_networks.face_network_registry import FACE_NETWORKS
from faceclr_cli.core.encoders.face_networks.iresnet import BLOCKS
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ConfigError
from tests.core.encoders.face_networks import functional

# Channels and side behind each part, from the papers' tables. The side of the pictures comes first.
_STAGES = {"layer1": (64, 56), "layer2": (128, 28), "layer3": (256, 14), "layer4": (512, 7), "bn2": (512, 7)}
TABLES: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {
    **{
        name: (112, {"conv1": (64, 112), **_STAGES})
        for name in ("iresnet18", "iresnet34", "iresnet50", "iresnet100", "ir18", "ir34", "ir50", "ir101")
    },
    "mobilefacenet": (
        112,
        {
            "stem.0": (64, 56),
            "stem.1": (64, 56),
            "bottlenecks.0": (64, 28),
            "bottlenecks.4": (64, 28),
            "bottlenecks.5": (128, 14),
            "bottlenecks.11": (128, 14),
            "bottlenecks.12": (128, 7),
            "bottlenecks.14": (128, 7),
            "expansion": (512, 7),
            "pooling": (512, 1),
        },
    ),
    "inception_resnet_v1": (
        160,
        {
            "stem.0": (32, 79),
            "stem.1": (32, 77),
            "stem.2": (64, 77),
            "stem.3": (64, 38),
            "stem.4": (80, 38),
            "stem.5": (192, 36),
            "stem.6": (256, 17),
            "repeat_1": (256, 17),
            "mixed_6a": (896, 8),
            "repeat_2": (896, 8),
            "mixed_7a": (1792, 3),
            "repeat_3": (1792, 3),
            "last": (1792, 3),
        },
    ),
}
# Millions of parameters with an embedding of this length, by insightface, ports of MobileFaceNet and facenet-pytorch.
PARAMETERS = {
    "iresnet18": (512, 24.03),
    "iresnet50": (512, 43.59),
    "iresnet100": (512, 65.16),
    "mobilefacenet": (128, 1.0),
    "inception_resnet_v1": (512, 23.48),
}


def outcomes(network: nn.Module, pictures: torch.Tensor, names: list[str]) -> dict[str, torch.Tensor]:
    """Returns what each part of a network returns."""
    found: dict[str, torch.Tensor] = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _, __, outcome, name=name: found.__setitem__(name, outcome)
        )
        for name in names
    ]
    with torch.inference_mode():
        network.eval()(pictures)
    for hook in hooks:
        hook.remove()
    return found


def draw(network: nn.Module, seed: int = 0) -> None:
    """Fills a network with random weights and statistics of batch norms."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim == 1:
            value.normal_(0.2, 0.2, generator=generator)


def copy_in_order(state: functional.State, network: EncoderNetwork) -> None:
    """Copies weights in the order in which both have them."""
    own = network.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in state.values()]
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))


@pytest.mark.parametrize("name", TABLES)
def test_every_part_has_the_shape_of_the_table(name: str) -> None:
    size, table = TABLES[name]
    backbone = build_backbone(name, pretrained=False, image_size=size, pool="none")
    found = outcomes(backbone, torch.randn(1, 3, size, size), list(table))
    assert {part: tuple(outcome.shape[1:]) for part, outcome in found.items()} == {
        part: (channels, side, side) for part, (channels, side) in table.items()
    }


def test_all_networks_have_a_table() -> None:
    assert TABLES.keys() == FACE_NETWORKS.keys() - {"sface", "histograms"}  # Both have tests of their own.


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_has_as_many_parameters_as_published(name: str) -> None:
    dim, count = PARAMETERS[name]
    pool: Pool = "mean" if name == "inception_resnet_v1" else "none"
    with torch.device("meta"):
        # Only the backbone: an orthogonal embedding layer takes seconds.
        backbone = FACE_NETWORKS[name].backbone(TABLES[name][0], pool, {})
    features = {"inception_resnet_v1": 1792, "mobilefacenet": 512}.get(name, 512 * 7 * 7)
    head = features * dim + 2 * dim + (dim if name.startswith("iresnet") else 0)
    found = (sum(parameter.numel() for parameter in backbone.parameters()) + head) / 1e6
    assert found == pytest.approx(count, abs=0.006)


@pytest.mark.parametrize("layers", [18, 50])
def test_iresnet_computes_what_its_transcription_does(layers: int) -> None:
    state = functional.draw_iresnet(BLOCKS[layers], side=3)
    network = EncoderNetwork(Architecture(backbone=f"iresnet{layers}", embedding_dim=512, image_size=48)).eval()
    copy_in_order(state, network)
    pictures = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        functional.assert_same(network(pictures), functional.iresnet(state, BLOCKS[layers], pictures))


def test_mobilefacenet_computes_what_its_transcription_does() -> None:
    state = functional.draw_mobilefacenet(embedding_dim=128)
    network = EncoderNetwork(Architecture(backbone="mobilefacenet", embedding_dim=128, image_size=112)).eval()
    copy_in_order(state, network)
    pictures = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        functional.assert_same(network(pictures), functional.mobilefacenet(state, pictures))


def test_inception_resnet_v1_computes_what_facenet_pytorch_does() -> None:
    facenet_pytorch = pytest.importorskip("facenet_pytorch")
    original = facenet_pytorch.InceptionResnetV1(pretrained=None).eval()
    draw(original)
    architecture = Architecture(backbone="inception_resnet_v1", embedding_dim=512, image_size=160, pool="mean")
    network = EncoderNetwork(architecture).eval()
    copy_in_order(original.state_dict(), network)
    pictures = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        functional.assert_same(nn.functional.normalize(network(pictures)), original(pictures))


@pytest.mark.parametrize("name", ["iresnet18", "ir18", "mobilefacenet"])
@pytest.mark.parametrize(("size", "side"), [(64, 4), (100, 7)])
def test_at_another_size_the_map_changes(name: str, size: int, side: int) -> None:
    backbone = build_backbone(name, pretrained=False, image_size=size, pool="none").eval()
    last = {"mobilefacenet": "expansion"}.get(name, "bn2")
    assert outcomes(backbone, torch.randn(1, 3, size, size), [last])[last].shape[2:] == (side, side)


@pytest.mark.parametrize("name", ["iresnet18", "ir18", "mobilefacenet", "inception_resnet_v1"])
def test_pooled_features_are_the_mean_of_the_map(name: str) -> None:
    network = build_backbone(name, pretrained=False, image_size=96, pool="mean").eval()
    draw(network)
    last = {"mobilefacenet": "expansion", "inception_resnet_v1": "last"}.get(name, "bn2")
    pictures = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        features = network(pictures)
    torch.testing.assert_close(features, outcomes(network, pictures, [last])[last].mean(dim=(2, 3)))


def test_a_global_depthwise_convolution_fits_one_size_alone() -> None:
    network = EncoderNetwork(Architecture(backbone="mobilefacenet", embedding_dim=8, image_size=64))
    with pytest.raises(ConfigError, match="mobilefacenet was trained at 64"):
        network.at_size(112)
    pooled = EncoderNetwork(Architecture(backbone="mobilefacenet", embedding_dim=8, image_size=64, pool="mean"))
    assert pooled.at_size(112).eval()(torch.zeros(2, 3, 112, 112)).shape == (2, 8)


def test_pictures_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="inception_resnet_v1 does not support --image-size 74: at least 75"):
        build_backbone("inception_resnet_v1", pretrained=False, image_size=74, pool="none")
    backbone = build_backbone("inception_resnet_v1", pretrained=False, image_size=75, pool="none").eval()
    assert backbone(torch.zeros(1, 3, 75, 75)).shape == (1, 1792, 1, 1)


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("iresnet18", ("patch_size", 2), "iresnet18 does not have this argument; it takes none"),
        ("mobilefacenet", ("wdith", 64), "does not have this argument; it takes width, activation, pointwise_stem"),
        ("mobilefacenet", ("width", 100), "width=100: must be 64, 128, 192 or 256"),
        ("mobilefacenet", ("activation", "tanh"), "activation=tanh: must be prelu or relu6"),
        ("mobilefacenet", ("pointwise_stem", 2), "pointwise_stem=2: must be true or false"),
    ],
)
def test_arguments_that_a_network_does_not_take_are_refused(name: str, argument: tuple[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_backbone(name, pretrained=False, image_size=112, pool="none", args=(argument,))


def test_a_wider_mobilefacenet_has_the_width_of_insightface() -> None:
    wide = build_backbone("mobilefacenet", pretrained=False, image_size=112, pool="none", args=(("width", 128),))
    found = outcomes(wide, torch.zeros(1, 3, 112, 112), ["stem.1", "bottlenecks.0", "bottlenecks.5", "expansion"])
    assert [outcome.shape[1] for outcome in found.values()] == [128, 128, 256, 512]


def test_the_scale_of_the_iresnet_embedding_is_fixed() -> None:
    network = EncoderNetwork(Architecture(backbone="iresnet18", embedding_dim=16, image_size=32)).train()
    network(torch.randn(4, 3, 32, 32)).square().mean().backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without == {"embedding.1.weight"}
