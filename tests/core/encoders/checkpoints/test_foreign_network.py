"""Networks from checkpoints in the forms of public projects compute the embeddings of the original networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.encoders.checkpoints.foreign_network import ForeignNetwork, load_checkpoint_network
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder, save_encoder
from faceclr_cli.core.encoders.face_networks.iresnet import BLOCKS
from faceclr_cli.core.encoders.network import normalize_pixels
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from tests.core.encoders.checkpoints import foreign_modules
from tests.core.encoders.face_networks import functional

State = dict[str, Tensor]


@dataclass(frozen=True)
class Form:
    """How a project saves a network, and how it computes embeddings of 8-bit RGB crops."""

    backbone: str
    size: int
    state: State
    forward: Callable[[Tensor], Tensor]
    pixels: Callable[[Tensor], Tensor]
    normalization: InputNormalization | None
    template: str | None
    wrap: Callable[[State], Any] = dict


def _scaled(mean: Any, std: Any) -> Callable[[Tensor], Tensor]:
    def pixels(crops: Tensor) -> Tensor:
        return ((crops.float() - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)

    return pixels


def _bgr(crops: Tensor) -> Tensor:
    # AdaFace: ((np_img[:, :, ::-1] / 255.) - 0.5) / 0.5
    return (
        torch.from_numpy(np.ascontiguousarray((crops.numpy()[..., ::-1] / 255.0 - 0.5) / 0.5))
        .permute(0, 3, 1, 2)
        .float()
    )


def _of_module(module: torch.nn.Module) -> tuple[State, Callable[[Tensor], Tensor]]:
    network = foreign_modules.draw(module)
    return dict(network.state_dict()), network


HALVES, DIV128 = _scaled(127.5, 127.5), _scaled(127.5, 128.0)


def arcface_torch() -> Form:
    state = functional.draw_iresnet(BLOCKS[18])
    return Form(
        "iresnet18",
        112,
        state,
        lambda x: functional.iresnet(state, BLOCKS[18], x),
        HALVES,
        InputNormalization(),
        "arcface",
    )


def arcface_torch_run() -> Form:
    """What its training saves for resuming: the backbone beside the classifier and the optimizer."""
    state = functional.draw_iresnet(BLOCKS[34], seed=1, side=3)

    def wrap(weights: State) -> Any:
        return {
            "epoch": 3,
            "global_step": 99,
            "state_dict_backbone": {f"module.{name}": value for name, value in weights.items()},
            "state_dict_softmax_fc": {"weight": torch.randn(50, 512)},
            "state_optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        }

    forward = lambda x: functional.iresnet(state, BLOCKS[34], x)  # noqa: E731
    return Form("iresnet34", 48, state, forward, HALVES, InputNormalization(), "arcface", wrap)


def adaface() -> Form:
    state = functional.draw_ir(BLOCKS[18])

    def wrap(weights: State) -> Any:
        heads = {"head.kernel": torch.randn(512, 70), "head.t": torch.zeros(1), "head.batch_mean": torch.ones(1) * 20}
        return {"epoch": 1, "state_dict": {**{f"model.{name}": value for name, value in weights.items()}, **heads}}

    forward = lambda x: functional.ir(state, BLOCKS[18], x)  # noqa: E731
    return Form("ir18", 112, state, forward, _bgr, InputNormalization(channels="bgr"), "arcface", wrap)


def cvlface() -> Form:
    state = functional.draw_ir(BLOCKS[50], seed=2, side=3)
    forward = lambda x: functional.ir(state, BLOCKS[50], x)  # noqa: E731
    return Form(
        "ir50", 48, state, forward, _bgr, InputNormalization(channels="bgr"), "arcface",
        lambda weights: {f"model.net.{name}": value for name, value in weights.items()},
    )  # fmt: skip


def tface() -> Form:
    """An IR network whose last batch norm has weights, unlike that of AdaFace."""
    state = functional.draw_ir(BLOCKS[18], seed=3, side=3)
    state["output_layer.4.weight"] = torch.linspace(0.5, 2.0, 512)
    state["output_layer.4.bias"] = torch.linspace(-1.0, 1.0, 512)
    return Form("ir18", 48, state, lambda x: functional.ir(state, BLOCKS[18], x), HALVES, None, "arcface")


def facenet_pytorch() -> Form:
    library = pytest.importorskip("facenet_pytorch")
    state, network = _of_module(library.InceptionResnetV1(pretrained=None))
    state = {**state, "logits.weight": torch.randn(20, 512), "logits.bias": torch.zeros(20)}
    return Form("inception_resnet_v1", 160, state, network, DIV128, InputNormalization(std=(128.0,) * 3), "box 0")


def mobilefacenet() -> Form:
    state = functional.draw_mobilefacenet(embedding_dim=512)
    return Form(
        "mobilefacenet",
        112,
        state,
        lambda x: functional.mobilefacenet(state, x),
        HALVES,
        InputNormalization(),
        "arcface",
    )


def arcface_torch_mobilefacenet() -> Form:
    state, network = _of_module(foreign_modules.ArcFaceTorchMobileFaceNet())
    return Form("mobilefacenet", 112, state, network, HALVES, InputNormalization(), "arcface")


def xiaoccer() -> Form:
    state, network = _of_module(foreign_modules.Xiaoccer())
    own = InputNormalization(std=(128.0,) * 3)
    return Form(
        "mobilefacenet",
        112,
        state,
        network,
        DIV128,
        own,
        "arcface",
        lambda weights: {"net_state_dict": weights, "iters": 1},
    )


def foamliu() -> Form:
    state, network = _of_module(foreign_modules.Foamliu())
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    own = InputNormalization(mean=mean, std=std)
    return Form("mobilefacenet", 112, state, network, _scaled(mean, std), own, "arcface")


def openface() -> Form:
    state, network = _of_module(foreign_modules.OpenFace())
    own = InputNormalization(mean=(0.0,) * 3, std=(255.0,) * 3)
    return Form("nn4_small2", 96, state, network, _scaled(0.0, 255.0), own, None)


FORMS = (
    arcface_torch, arcface_torch_run, adaface, cvlface, tface, facenet_pytorch, mobilefacenet,
    arcface_torch_mobilefacenet, xiaoccer, foamliu, openface,
)  # fmt: skip


def embed(foreign: ForeignNetwork, crops: Tensor) -> Tensor:
    with torch.inference_mode():
        return foreign.network(normalize_pixels(crops, foreign.network.architecture.image_size))


def crops_of(size: int) -> Tensor:
    return torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("make", FORMS, ids=[form.__name__ for form in FORMS])
def test_a_public_checkpoint_gives_the_embeddings_of_its_network(make: Callable[[], Form], tmp_path: Path) -> None:
    form = make()
    path = tmp_path / "checkpoint.pth"
    torch.save(form.wrap(form.state), path)
    foreign = load_checkpoint_network(path, None)
    architecture = foreign.network.architecture
    assert (architecture.backbone, architecture.image_size) == (form.backbone, form.size)
    assert (foreign.normalization, foreign.template) == (form.normalization, form.template)
    crops = crops_of(form.size)
    with torch.inference_mode():
        expected = form.forward(form.pixels(crops))
    found = embed(foreign, crops)
    if make is facenet_pytorch:
        found = torch.nn.functional.normalize(found)
    functional.assert_same(found, expected)
    # It trains and is saved as every other network: the file and the network share no memory.
    assert all(parameter.is_contiguous() for parameter in foreign.network.parameters())


@pytest.mark.parametrize("make", [tface, foamliu, openface], ids=["ir18", "mobilefacenet", "nn4_small2"])
def test_it_is_saved_as_an_encoder(make: Callable[[], Form], tmp_path: Path) -> None:
    form = make()
    torch.save(form.state, tmp_path / "c.pth")
    network = load_checkpoint_network(tmp_path / "c.pth", None).network
    fingerprint = Fingerprint(
        detector="none",
        detector_digest="0" * 16,
        template="arcface",
        size=form.size,
        interpolation="none",
        padding="none",
    )
    card = Card(command="import", config={}, data="", pictures=0, people={})
    save_encoder(tmp_path / "encoder", network, fingerprint, card=card)
    encoder = load_encoder_folder(tmp_path / "encoder", "cpu")
    crops = crops_of(form.size)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(form.forward(form.pixels(crops)))
    functional.assert_same(torch.from_numpy(encoder.embed(crops.numpy())), expected)


def test_heads_that_are_left_out_are_named(tmp_path: Path) -> None:
    form = adaface()
    torch.save(form.wrap(form.state), tmp_path / "c.ckpt")
    notices = load_checkpoint_network(tmp_path / "c.ckpt", "ir18").notices
    assert any("left out" in text and "head.kernel" in text for text in notices)
    assert any("ir18 of AdaFace" in text for text in notices)


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    state = functional.draw_mobilefacenet()
    save_file({f"module.{name}": value for name, value in state.items()}, tmp_path / "c.safetensors")
    foreign = load_checkpoint_network(tmp_path / "c.safetensors", "mobilefacenet")
    crops = crops_of(112)
    functional.assert_same(embed(foreign, crops), functional.mobilefacenet(state, HALVES(crops)))


@pytest.mark.parametrize("is_half", [True, False])
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.model."])
def test_a_timm_model_is_named(prefix: str, is_half: bool, tmp_path: Path) -> None:
    model = foreign_modules.draw(timm.create_model("test_resnet", num_classes=10))
    if is_half:
        model = model.half().float()
    state = {f"{prefix}{name}": value.half() if is_half else value for name, value in model.state_dict().items()}
    torch.save({"state_dict": {**state, "loss.weight": torch.zeros(3)}}, tmp_path / "c.ckpt")
    foreign = load_checkpoint_network(tmp_path / "c.ckpt", "test_resnet", image_size=64)
    model.reset_classifier(0)
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        functional.assert_same(foreign.network(pictures), model(pictures))
    assert foreign.normalization is None
    assert any("left out" in text and "fc.weight" in text and "loss.weight" in text for text in foreign.notices)


def test_a_classifier_with_the_length_of_an_embedding_is_the_embedding(tmp_path: Path) -> None:
    args = {"patch_size": 2}
    model = foreign_modules.draw(timm.create_model("test_convnext", num_classes=128, **args))
    torch.save(model.state_dict(), tmp_path / "c.pth")
    foreign = load_checkpoint_network(tmp_path / "c.pth", "test_convnext", backbone_args=tuple(args.items()))
    pictures = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        functional.assert_same(foreign.network(pictures), model(pictures))
    assert foreign.network.architecture.embedding_dim == 128
    with pytest.raises(ModelError, match=r"1 of the wrong shape \(stem.0.weight \[\d+, 3, 2, 2\] instead of"):
        load_checkpoint_network(tmp_path / "c.pth", "test_convnext")


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    state = functional.draw_mobilefacenet()
    del state["conv2_dw.bn.running_mean"]
    state |= {"surplus.weight": torch.zeros(2), "linear.weight": torch.zeros(512, 100)}
    torch.save(state, path)
    with pytest.raises(ModelError) as caught:
        load_checkpoint_network(path, None)
    text = str(caught.value)
    assert "1 missing (conv2_dw.bn.running_mean)" in text
    assert "1 unexpected (surplus.weight)" in text
    assert "1 of the wrong shape (linear.weight [512, 100] instead of [512, 512])" in text
    assert caught.value.exit_code == 4


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    state = {name: value for name, value in functional.draw_mobilefacenet().items() if value.ndim}
    torch.save(state, tmp_path / "c.pth")
    assert load_checkpoint_network(tmp_path / "c.pth", None).network.architecture.embedding_dim == 512


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("linear.weight", (10**9, 0), "embeddings of 1000000000 numbers"),
        ("conv_6_dw.conv.weight", (512, 1, 10**6, 0), "pictures of 16000000 pixels"),
        ("conv1.conv.weight", (64 * 10**6, 0), "width=64000000: must be 64"),
        ("conv1.conv.weight", (), "1 of the wrong shape"),
    ],
)
def test_shapes_that_would_fill_the_memory_are_refused(
    name: str, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    state = functional.draw_mobilefacenet()
    state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(ModelError, match=message):
        load_checkpoint_network(tmp_path / "c.pth", None)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = functional.draw_mobilefacenet()
    state["conv1.conv.weight"][0] = float("nan")
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(ModelError, match="not finite"):
        load_checkpoint_network(tmp_path / "c.pth", None)


@pytest.mark.parametrize(
    ("backbone", "error", "message"),
    [
        (None, ModelError, r"not recognized by the names of its weights \(.*\n.*--backbone NAME"),
        ("iresnet18", ModelError, "not the weights of iresnet18"),
        ("resnet19", ConfigError, "similar names: .*resnet18"),
        ("resnet18", ModelError, r"not the weights of resnet18: \d+ missing \(.*, \.\.\.\); .*wrong shape"),
    ],
)
def test_another_network_is_an_error(
    backbone: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "c.pth")
    with pytest.raises(error, match=message):
        load_checkpoint_network(tmp_path / "c.pth", backbone)


def test_a_recognized_network_must_be_the_one_that_was_named(tmp_path: Path) -> None:
    torch.save(functional.draw_mobilefacenet(), tmp_path / "c.pth")
    with pytest.raises(ModelError, match="not the weights of iresnet18 but of mobilefacenet"):
        load_checkpoint_network(tmp_path / "c.pth", "iresnet18")
    torch.save(functional.draw_iresnet((1, 1, 1, 1)), tmp_path / "d.pth")
    with pytest.raises(ModelError, match="form of arcface_torch, but with an unknown number of blocks"):
        load_checkpoint_network(tmp_path / "d.pth", None)
