from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.backbones import Pool
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder, load_network, save_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint

SMALL = Architecture(backbone="test_convnext", embedding_dim=24, image_size=40)
FINGERPRINT = Fingerprint(
    detector="none", detector_digest="0" * 16, template="toy", size=48, interpolation="none", padding="none"
)
CARD = Card(command="pretrain", config={"lr": 0.5}, data="train", pictures=3, people={"Zoë": 2, "Ann": 1})
CALIBRATION = Calibration(points=(FarPoint(far=0.001, threshold=0.25, tar=0.75),), source="pairs")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For networks as small as these, threads cost more than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def crops() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save(tmp_path / "run" / "encoder", 0, CALIBRATION)
    return tmp_path / "run"


def save(folder: Path, seed: int, calibration: Calibration | None = None) -> EncoderNetwork:
    torch.manual_seed(seed)
    network = EncoderNetwork(SMALL)
    save_encoder(folder, network, FINGERPRINT, card=CARD, calibration=calibration)
    return network


def test_what_was_saved_comes_back(run: Path, crops: NDArray[np.uint8]) -> None:
    encoder = load_encoder_folder(run)
    assert (encoder.name, encoder.dim) == ("run", 24)
    assert (encoder.card, encoder.calibration) == (CARD, CALIBRATION)
    assert encoder.fingerprint.require_same_crops(FINGERPRINT, "a", "b") is None
    embeddings = encoder.embed(crops)
    assert (embeddings.shape, embeddings.dtype) == ((5, 24), np.float32)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1.0, abs=1e-5)
    # Of the run or of the folder in it, of one crop or of several.
    assert np.array_equal(embeddings, load_encoder_folder(run / "encoder").embed(crops))
    assert embeddings[:1] == pytest.approx(encoder.embed(crops[:1]), abs=1e-5)


@pytest.mark.filterwarnings("error")
def test_crops_may_lie_anywhere_and_stay_as_they_are(run: Path, crops: NDArray[np.uint8]) -> None:
    encoder, before = load_encoder_folder(run, "cpu"), crops.copy()
    expected = encoder.embed(crops)
    assert np.array_equal(crops, before)
    locked = crops.copy()
    locked.flags.writeable = False
    assert np.array_equal(encoder.embed(locked), expected)
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    assert np.array_equal(encoder.embed(mirrored[:, :, ::-1]), expected)


@pytest.mark.parametrize(("pool", "size"), [("none", 96), ("mean", 96), ("none", 32)])
def test_an_encoder_with_nn4_comes_back(pool: Pool, size: int, tmp_path: Path, crops: NDArray[np.uint8]) -> None:
    network = EncoderNetwork(Architecture(backbone="nn4_small2", embedding_dim=24, image_size=size, pool=pool)).eval()
    save_encoder(tmp_path / "encoder", network, FINGERPRINT, card=CARD)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(
            network(normalize_pixels(torch.from_numpy(crops), size)), dim=1
        ).numpy()
    assert load_encoder_folder(tmp_path / "encoder", "cpu").embed(crops) == pytest.approx(expected, abs=1e-5)


def test_an_encoder_folder_may_be_moved(run: Path, tmp_path: Path, crops: NDArray[np.uint8]) -> None:
    before = load_encoder_folder(run).embed(crops)
    moved = tmp_path / "mine"
    shutil.move(run / "encoder", moved)
    assert load_encoder_folder(moved).name == "mine"
    assert np.array_equal(before, load_encoder_folder(moved).embed(crops))


def test_an_encoder_is_replaced_whole(run: Path) -> None:
    first = load_encoder_folder(run).digest
    network = save(run / "encoder", 1)
    assert load_encoder_folder(run).digest != first
    assert load_encoder_folder(run).calibration is None
    restored, _ = load_network(run)
    assert torch.equal(restored.embedding.weight, network.embedding.weight)
    assert sorted(path.name for path in run.iterdir()) == ["encoder"]
    assert sorted(path.name for path in (run / "encoder").iterdir()) == ["encoder.json", "weights.safetensors"]


def test_others_may_read_it(run: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (run / "encoder").iterdir()}
    (run / "file").touch()
    assert modes == {stat.S_IMODE((run / "file").stat().st_mode)}


def test_the_order_of_memory_does_not_change_the_weights(tmp_path: Path) -> None:
    network = save(tmp_path / "a", 0)
    save_encoder(tmp_path / "b", network.to(memory_format=torch.channels_last), FINGERPRINT, card=CARD)
    assert load_encoder_folder(tmp_path / "a").digest == load_encoder_folder(tmp_path / "b").digest


@pytest.mark.parametrize(
    "crops",
    [np.zeros((1, 40, 40, 3), np.uint8), np.zeros((1, 48, 48, 3), np.float32), np.zeros((48, 48, 3), np.uint8)],
    ids=["size", "type", "one"],
)
def test_unfit_crops_are_refused(run: Path, crops: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"run takes 8-bit crops of \(batch_size, 48, 48, 3\)"):
        load_encoder_folder(run).embed(crops)


def change(content: dict[str, object], **changes: object) -> bytes:
    return json.dumps({**content, **changes}).encode()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("weights.safetensors", lambda content: content[:-10]),
        ("weights.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        ("weights.safetensors", lambda _: b""),
        ("encoder.json", lambda content: content[:40]),
        ("encoder.json", lambda _: b"[]"),
        ("encoder.json", lambda content: change(json.loads(content), kind="faces")),
        ("encoder.json", lambda content: change(json.loads(content), architecture={"backbone": 3})),
        ("encoder.json", lambda content: change(json.loads(content), fingerprint=None)),
        ("encoder.json", lambda content: change(json.loads(content), card=None)),
        ("encoder.json", lambda content: change(json.loads(content), weights={})),
        ("encoder.json", lambda content: content.replace(b"mean 0.5", b"mean 0.6")),
        ("encoder.json", lambda content: content.replace(b"test_convnext", b"test_resnet")),
        ("encoder.json", lambda content: content.replace(b"test_convnext", b"no_model")),
    ],
)
def test_damage_is_an_error_of_one_line(name: str, damage: object, run: Path) -> None:
    path = run / "encoder" / name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ModelError) as caught:
        load_encoder_folder(run)
    assert str(run / "encoder") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_named(run: Path) -> None:
    (run / "encoder" / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors: no such file"):
        load_encoder_folder(run)


def test_weights_are_never_unpickled(run: Path) -> None:
    weights = run / "encoder" / "weights.safetensors"
    torch.save({"x": torch.zeros(1)}, weights)
    description = json.loads((run / "encoder" / "encoder.json").read_text())
    from faceclr_cli.core.artifacts import digest_file

    description["weights"]["sha256"] = digest_file(weights)
    (run / "encoder" / "encoder.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match="not the weights of this encoder"):
        load_encoder_folder(run)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_no_encoder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such folder|holds no encoder"):
        load_encoder_folder(tmp_path / name)


def test_a_gpu_that_is_not_there_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device cuda"):
        load_encoder_folder(run, "cuda")
