from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from faceclr_cli.core.artifacts import write_json
from faceclr_cli.core.encoders import loader as load
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.description import Card, read_description
from faceclr_cli.core.encoders.encoder_folder import TorchEncoder, load_encoder_folder, save_encoder
from faceclr_cli.core.encoders.loader import BUILT_IN, load_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.faces.crop import default_fingerprint
from tests.core.encoders.toy_graph import CALIBRATION, WEIGHTS, encoder_json, write_toy

NEWER = {**CALIBRATION, "points": [{"far": 0.001, "threshold": 0.5, "tar": 0.75, "low": None, "high": None}]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose encoder torch can load."""
    torch.manual_seed(0)
    network = EncoderNetwork(Architecture(backbone="test_convnext", embedding_dim=3, image_size=32))
    card = Card(command="pretrain", config={}, data="train", pictures=3, people={})
    save_encoder(tmp_path / "run" / "encoder", network, default_fingerprint(), card=card)
    return tmp_path / "run"


def add_graph(run: Path, name: str = "encoder.onnx", **changes: object) -> Path:
    """Adds a graph that claims to be made from the run's weights, but computes different embeddings."""
    content = json.loads((run / "encoder" / "encoder.json").read_text())
    return write_toy(run / "encoder" / name, **{**content, **changes})


def threshold(encoder: Encoder) -> float | None:
    return encoder.calibration.default_point.threshold if encoder.calibration else None


@pytest.mark.parametrize("model", BUILT_IN)
def test_built_in_encoders_go_by_name(model: str) -> None:
    assert load_encoder(model).name == model


def test_a_missing_model_is_named_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such folder.*sface and pixels") as caught:
        load_encoder(str(tmp_path / "run"))
    assert str(tmp_path / "run") in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_file_or_a_folder_without_an_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"neither a folder nor an \.onnx file"):
        load_encoder(str(tmp_path / "weights.bin"))
    with pytest.raises(ModelError, match="no encoder"):
        load_encoder(str(tmp_path))


def test_a_device_that_the_machine_lacks_is_an_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    toy = str(write_toy(tmp_path / "toy.onnx"))
    for model in ("sface", str(run)):
        for device, said in (("cuda", "torch found no GPU"), ("mps", "torch found no Apple GPU")):
            with pytest.raises(ConfigError, match=f"--device {device}: {said}"):
                load_encoder(model, device)
    for model in ("sface", toy):
        for device, said in (("openvino", "onnxruntime-openvino"), ("coreml", "macOS")):
            with pytest.raises(ConfigError, match=f"--device {device}: the installed ONNX Runtime has no .*{said}"):
                load_encoder(model, device)
    swap = "run: pip uninstall -y onnxruntime && pip install onnx"
    with pytest.raises(ConfigError, match=f"no CUDAExecutionProvider; {swap}"):
        load_encoder(toy, "cuda")
    with pytest.raises(ConfigError, match="--device mps: ONNX Runtime has no such device; give the run"):
        load_encoder(toy, "mps")
    with pytest.raises(ConfigError, match="--device openvino: runs only exported encoders; run: faceclr export"):
        load_encoder(str(run), "openvino")
    with pytest.raises(ConfigError, match="--device cuda: pixels runs only on the CPU"):
        load_encoder("pixels", "cuda")


def test_a_provider_that_does_not_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As with onnxruntime-gpu on a machine without CUDA's libraries: ONNX Runtime would use the CPU.
    every = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError, match="--device cuda: ONNX Runtime cannot start CUDAExecutionProvider"):
            load_encoder(str(write_toy(tmp_path / "toy.onnx")), "cuda")


def test_for_few_faces_opencv_runs_sface_which_starts_faster() -> None:
    assert isinstance(load_encoder("sface", "cpu", one_off=True).encoder, SFaceEncoder)
    assert isinstance(load_encoder("sface", "cpu").encoder, OnnxEncoder)


@pytest.mark.parametrize(
    ("one_off", "absent"), [(True, {"torch", "onnx", "onnxruntime"}), (False, {"torch", "sklearn"})]
)
def test_sface_imports_only_what_runs_it(one_off: bool, absent: set[str]) -> None:
    program = (
        "import sys, numpy; from faceclr_cli.core.encoders.loader import load_encoder;"
        f"load_encoder('sface', 'cpu', one_off={one_off}).embed(numpy.zeros((1, 112, 112, 3), numpy.uint8));"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert absent.isdisjoint(done.stdout.split())


def test_bf16_is_computed_by_pytorch(run: Path, tmp_path: Path) -> None:
    add_graph(run)
    crops = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), np.uint8)
    exact = load_encoder_folder(run, "cpu").embed(crops)
    rounded = load_encoder(str(run), "cpu", precision="bf16").embed(crops)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.05
    for model in ("pixels", str(write_toy(tmp_path / "toy.onnx"))):
        with pytest.raises(ConfigError, match="--precision bf16: "):
            load_encoder(model, precision="bf16")


def test_an_exported_encoder_needs_nothing_beside_it(tmp_path: Path) -> None:
    encoder = load_encoder(str(write_toy(tmp_path / "mine.onnx")))
    assert (encoder.name, encoder.digest, threshold(encoder)) == ("mine", WEIGHTS, 0.25)


def test_the_threshold_beside_an_exported_encoder_counts_if_it_is_of_the_same_weights(tmp_path: Path) -> None:
    model = str(write_toy(tmp_path / "faces" / "encoder.onnx"))
    write_json(tmp_path / "faces" / "encoder.json", encoder_json(calibration=NEWER))
    assert (load_encoder(model).name, threshold(load_encoder(model))) == ("faces", 0.5)
    write_json(tmp_path / "faces" / "encoder.json", encoder_json(calibration=NEWER, weights={"sha256": "6" * 64}))
    assert (load_encoder(model).name, threshold(load_encoder(model))) == ("encoder", 0.25)


def test_rounded_weights_keep_the_threshold_under_a_name_of_their_own(tmp_path: Path) -> None:
    model = str(write_toy(tmp_path / "faces" / "any.onnx", precision="float16"))
    write_json(tmp_path / "faces" / "encoder.json", encoder_json(calibration=NEWER))
    encoder = load_encoder(model)
    assert (encoder.name, threshold(encoder)) == ("faces-half", 0.5)
    assert encoder.digest != WEIGHTS


def test_on_the_cpu_the_exported_graph_is_used(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_encoder(str(run), "cpu")
    assert isinstance(before.encoder, TorchEncoder)
    add_graph(run, calibration=NEWER)
    for folder in (run, run / "encoder"):
        encoder = load_encoder(str(folder), "cpu")
        assert isinstance(encoder.encoder, OnnxEncoder)
        assert (encoder.name, encoder.digest, encoder.fingerprint) == ("run", before.digest, before.fingerprint)
        # encoder.json takes precedence.
        assert encoder.calibration is None
    monkeypatch.setattr(load, "has_torch_gpu", lambda: False)
    assert isinstance(load_encoder(str(run)).encoder, OnnxEncoder)


def test_on_a_gpu_the_exported_graph_is_not_used(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_graph(run)
    monkeypatch.setattr(load, "has_torch_gpu", lambda: True)
    assert isinstance(load_encoder(str(run)).encoder, TorchEncoder)


@pytest.mark.parametrize("former", ["weights", "fingerprint", "architecture", "precision"])
def test_a_graph_of_something_else_is_not_used(former: str, run: Path) -> None:
    description = read_description(run)
    if former == "precision":
        add_graph(run, precision="float16")
    else:
        fingerprint = replace(description.fingerprint, padding="none").to_json()
        architecture = replace(description.architecture, image_size=64).to_json()
        changed = {"weights": {"sha256": WEIGHTS}, "fingerprint": fingerprint, "architecture": architecture}
        add_graph(run, **{former: changed[former]})
    encoder = load_encoder(str(run), "cpu")
    assert isinstance(encoder.encoder, TorchEncoder)
    assert encoder.digest == description.digest


def test_a_damaged_graph_is_an_error_also_where_torch_could_do(run: Path) -> None:
    path = add_graph(run)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"encoder\.onnx: damaged, truncated"):
        load_encoder(str(run), "cpu")


def test_weights_too_large_are_refused_before_they_are_read(run: Path) -> None:
    with open(run / "encoder" / "weights.safetensors", "ab") as file:
        file.truncate(2**32 + 1)
    with pytest.raises(ModelError, match=r"4\.0 GiB, larger than any"):
        load_encoder(str(run), "cpu")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"kind": "encoder", "architecture": {"embedding_dim": 1e999}}'])
def test_a_description_made_to_break_its_reader_is_one_line(content: bytes, run: Path) -> None:
    (run / "encoder" / "encoder.json").write_bytes(content)
    with pytest.raises(ModelError, match="damaged") as caught:
        load_encoder(str(run), "cpu")
    assert "\n" not in str(caught.value)
