from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.encoders import export_graph as graph
from faceclr_cli.core.encoders.architecture import Architecture, Pool
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder, save_encoder
from faceclr_cli.core.encoders.export import export as run
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
from faceclr_cli.core.encoders.onnx_file import read_onnx
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.fingerprint import Fingerprint

SIDE = 48
SMALL = Architecture(backbone="test_convnext", embedding_dim=24, image_size=40)
FINGERPRINT = Fingerprint(
    detector="none", detector_digest="0" * 16, template="toy", size=SIDE, interpolation="none", padding="none"
)
CARD = Card(command="pretrain", config={"lr": 0.5}, data="train", pictures=3, people={"Zoë": 2, "Ann": 1})


def save(folder: Path, architecture: Architecture = SMALL, seed: int = 0) -> None:
    torch.manual_seed(seed)
    save_encoder(folder / "encoder", EncoderNetwork(architecture), FINGERPRINT, card=CARD)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its graph. Tests change copies of it."""
    folder = tmp_path_factory.mktemp("exported") / "run"
    save(folder)
    run(ExportConfig(run=folder), Silent())
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported, tmp_path / "run")
    return tmp_path / "run"


def crops(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_the_graph_gives_what_pytorch_gives_for_batches_of_any_size(count: int, exported: Path) -> None:
    encoder = load_encoder(str(exported), "cpu")
    assert isinstance(encoder.encoder, OnnxEncoder)
    expected = load_encoder_folder(exported, "cpu")
    assert encoder.embed(crops(count)) == pytest.approx(expected.embed(crops(count)), abs=1e-5)
    assert (encoder.name, encoder.dim, encoder.digest) == (expected.name, expected.dim, expected.digest)
    assert (encoder.fingerprint, encoder.calibration) == (expected.fingerprint, expected.calibration)


@pytest.mark.parametrize("side", [29, 40, 48, 112])
def test_crops_are_resized_in_the_graph_as_by_pytorch(side: int) -> None:
    class Bare(EncoderNetwork):
        """The pictures themselves."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.architecture = SMALL

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.flatten(1)

    noise = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8)
    expected = torch.nn.functional.normalize(normalize_pixels(noise, 40).flatten(1), dim=1)
    assert torch.allclose(graph.ExportedNetwork(Bare(), side, half=False)(noise), expected, atol=1e-6)


def test_the_file_says_all_that_the_folder_says_and_nothing_of_this_machine(exported: Path) -> None:
    path = exported / "encoder" / "encoder.onnx"
    said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}["faceclr"]
    content = json.loads((exported / "encoder" / "encoder.json").read_text())
    assert json.loads(said) == {**content, "precision": "float32"}
    assert b"site-packages" not in path.read_bytes()
    assert b".py" not in path.read_bytes()


def test_a_graph_of_former_weights_is_not_used(copy: Path) -> None:
    former = (copy / "encoder" / "encoder.onnx").read_bytes()
    save(copy, seed=1)
    (copy / "encoder" / "encoder.onnx").write_bytes(former)
    now = load_encoder(str(copy), "cpu")
    assert not isinstance(now.encoder, OnnxEncoder)
    assert np.array_equal(now.embed(crops(2)), load_encoder_folder(copy, "cpu").embed(crops(2)))


def test_half_is_half_the_size_and_gives_nearly_the_same(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = CliRunner().invoke(app, ["export", str(copy), "--half", "--json"])
    assert done.exit_code == 0, done.stderr
    # torch's exporter prints many messages.
    assert done.stderr == "" or all(json.loads(line) for line in done.stderr.splitlines())
    assert capfd.readouterr() == ("", "")
    result, whole = json.loads(done.stdout), copy / "encoder" / "encoder.onnx"
    half = copy / "encoder" / "encoder-half.onnx"
    assert (result["out"], result["bytes"], result["dim"]) == (str(half), half.stat().st_size, 24)
    assert result["precision"] == "float16"
    assert 0.999 <= result["cosine"] < 1
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    single, rounded = load_encoder(str(whole)), load_encoder(str(half))
    assert single.digest != rounded.digest
    assert (single.embed(crops(9)) * rounded.embed(crops(9))).sum(axis=1).min() > 0.999
    assert np.linalg.norm(rounded.embed(crops(9)), axis=1) == pytest.approx(1, abs=1e-5)


def altered(path: Path, noise: float) -> onnx.ModelProto:
    """Returns a graph with another embedding layer."""
    model = onnx.load(path)
    model.ClearField("metadata_props")
    layer = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("embedding.weight"))
    values = numpy_helper.to_array(layer)
    random = np.random.default_rng(0).normal(size=values.shape).astype(values.dtype)
    layer.CopyFrom(numpy_helper.from_array(values + noise * values.std() * random, layer.name))
    return model


@pytest.mark.parametrize(("half", "noise"), [(False, 0.05), (False, float("nan")), (True, 0.5)])
def test_a_graph_that_gives_other_embeddings_is_not_written(
    half: bool, noise: float, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    model = altered(copy / "encoder" / "encoder.onnx", noise)
    monkeypatch.setattr(graph, "trace", lambda network, side: model)
    with pytest.raises(ModelError, match=r"run: not exported: its embeddings differ from PyTorch") as caught:
        run(ExportConfig(run=copy, half=half), Silent())
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_network_that_cannot_be_exported_is_an_error_of_one_line(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def forward(network: EncoderNetwork, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.flatten(1)[:, :24] * (1 if pictures.sum() > 0 else 2)

    monkeypatch.setattr(EncoderNetwork, "forward", forward)
    with pytest.raises(ModelError, match=r"run: not exported: torch .* cannot export its network \(\w+: \w+") as caught:
        run(ExportConfig(run=copy), Silent())
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def test_what_is_missing_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        ModelError, match=r"export needs onnxscript, which is not installed; run: pip install 'faceclr\[onnx\]'"
    ):
        run(ExportConfig(run=copy), Silent())


def test_a_target_that_will_not_do_is_refused_at_once(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        ExportConfig(run=copy, out=tmp_path / "encoder.bin")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        run(ExportConfig(run=copy, out=tmp_path / "folder.onnx"), Silent())
    with pytest.raises(ModelError, match="holds no encoder"):
        run(ExportConfig(run=tmp_path), Silent())


def test_a_target_that_cannot_be_written_is_named(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    model = altered(copy / "encoder" / "encoder.onnx", 0)
    monkeypatch.setattr(graph, "trace", lambda network, side: model)
    with pytest.raises(DataError, match=r"file/encoder\.onnx: cannot be written"):
        run(ExportConfig(run=copy, out=tmp_path / "file" / "encoder.onnx"), Silent())


@pytest.mark.nightly
@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize(
    ("backbone", "pool", "size"),
    [
        ("resnet18", "none", 64),
        ("convnext_atto", "mean", 48),
        ("efficientnet_b0", "none", 64),
        ("nn4_small2", "none", 96),
        ("nn4_small2", "mean", 64),
        ("inception_resnet_v2", "mean", 112),
        ("test_vit", "mean", 48),
        ("iresnet18", "none", 48),
        ("ir18", "mean", 64),
        ("mobilefacenet", "none", 64),
        ("inception_resnet_v1", "mean", 96),
    ],
)
def test_networks_of_every_family_are_exported(
    backbone: str, pool: Pool, size: int, half: bool, tmp_path: Path
) -> None:
    save(tmp_path, Architecture(backbone=backbone, embedding_dim=64, image_size=size, pool=pool))
    result = run(ExportConfig(run=tmp_path, out=tmp_path / "out.onnx", half=half), Silent())
    assert result.cosine >= (0.999 if half else 0.9999)
    assert read_onnx(tmp_path / "out.onnx").precision == result.precision


@pytest.mark.parametrize("half", [False, True])
def test_the_built_in_encoder_is_exported_as_the_same_encoder(
    half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(ExportConfig(run=Path("sface"), half=half), Silent())
    assert result.out == Path("sface-half.onnx" if half else "sface.onnx")
    exported, built_in = load_encoder(str(result.out), "cpu"), load_encoder("sface", "cpu")
    faces = np.kron(np.random.default_rng(0).integers(0, 256, (4, 7, 7, 3)), np.ones((1, 16, 16, 1))).astype(np.uint8)
    assert (exported.embed(faces) * built_in.embed(faces)).sum(axis=1).min() > (0.999 if half else 0.99999)
    assert exported.fingerprint == built_in.fingerprint
    assert exported.calibration == built_in.calibration
    # Halves are rounded, so their stores don't mix with those of sface.
    assert (exported.digest == built_in.digest) is not half
    assert "PRelu" not in {node.op_type for node in onnx.load(result.out).graph.node}
