"""`pretrain --backbone histograms`: the embedding layer is computed from unlabeled faces."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.encoders.export import export
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.encoders.network import normalize_pixels
from faceclr_cli.core.errors import ConfigError, DataError, InterruptedRunError, ModelError
from faceclr_cli.core.evaluation.quantization.quantized_export import export_int8
from faceclr_cli.core.events import Notice, Silent
from faceclr_cli.core.training.histogram_task import HistogramTask
from faceclr_cli.core.training.preview import show_views
from faceclr_cli.core.training.trainers import TrainResult, train
from faceclr_cli.core.training.training_sets import open_face_folders
from tests.core.training.toy import SIZE, Heard, describe_faces, make_faces, make_split

DIM = 16


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split(tmp_path_factory.mktemp("split"), people=12, pictures=8, shift=3)


def fit(data: Path, out: Path, **options: Any) -> TrainResult:
    chosen = {"image_size": SIZE, "embedding_dim": DIM, **options}
    return train(PretrainConfig(data=(data,), out=out, **chosen), Heard())


@pytest.fixture(scope="module")
def fitted(split: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return fit(split, tmp_path_factory.mktemp("fitted") / "run")


def link(real_data: Path, root: Path, people: slice, pictures: int) -> Path:
    """Links some pictures of some people with at least ten."""
    known = [folder for folder in sorted((real_data / "faces-train").iterdir()) if len(list(folder.iterdir())) > 9]
    for folder in known[people]:
        (root / folder.name).mkdir(parents=True)
        for picture in sorted(folder.iterdir())[:pictures]:
            (root / folder.name / picture.name).symlink_to(picture)
    describe_faces(root, "arcface", 112)
    return root


def test_it_recognizes_new_people_without_names_and_without_steps(real_data: Path, tmp_path: Path) -> None:
    faces = link(real_data, tmp_path / "faces", slice(0, 60), 10)
    others = link(real_data, tmp_path / "others", slice(60, 100), 5)
    result = fit(faces, tmp_path / "run", val=(others,), image_size=None, embedding_dim=128)
    assert result.epochs == 0 and read_json(result.run / "config.json")["config"]["epochs"] == 0
    # A random projection of the same features has 0.28 and 0.70; chance is 0.02 and 0.5.
    assert result.metrics["val_knn"] > 0.5 and result.metrics["val_accuracy"] > 0.76


def test_embeddings_change_less_than_features_if_a_head_turns(split: Path, fitted: TrainResult) -> None:
    network = load_network(fitted.run)[0].eval()
    crops = torch.from_numpy(open_face_folders([split], Silent()).crops(np.arange(96)))
    task = HistogramTask(PretrainConfig(data=(split,)).with_method(), network, len(crops))
    generator = torch.Generator().manual_seed(5)
    turned = task.augment(crops, torch.rand(len(crops), 1, task.augment.draws, generator=generator))
    with torch.no_grad():
        before, after = network.features(normalize_pixels(crops, SIZE)), network.features(turned)
        changes = [
            float((a - b).square().sum() / (a - a.mean(dim=0)).square().sum())
            for a, b in ((before, after), (network.embedding(before), network.embedding(after)))
        ]
    assert changes[1] < 0.6 * changes[0]


def test_a_run_again_computes_the_same(split: Path, fitted: TrainResult, tmp_path: Path) -> None:
    again = fit(split, tmp_path / "run")
    ours, theirs = (load_network(result.run)[0].state_dict() for result in (fitted, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_finished_run_is_not_computed_again(split: Path, fitted: TrainResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted.run, run)
    export(ExportConfig(run=run), Heard())
    before = {path: path.stat().st_mtime_ns for path in (run / "encoder").iterdir()}
    again = fit(split, run, resume="auto")
    assert again.metrics == fitted.metrics
    assert {path: path.stat().st_mtime_ns for path in (run / "encoder").iterdir()} == before


def test_a_run_does_not_keep_the_encoder_of_other_faces(tmp_path: Path) -> None:
    faces = make_split(tmp_path / "split")
    fit(faces, tmp_path / "run")
    make_faces(faces, 1, 8, first=50)
    with pytest.raises(ModelError, match="the training faces have changed since"):
        fit(faces, tmp_path / "run", resume="auto")


def test_one_face_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 face for histograms, but at least 2 are needed"):
        fit(make_faces(tmp_path / "faces", 1, 1), tmp_path / "run", hold_out=0.0)
    assert not (tmp_path / "run").exists()


def test_the_encoder_embeds_and_exports_like_others(fitted: TrainResult, tmp_path: Path) -> None:
    export(ExportConfig(run=fitted.run, out=tmp_path / "histograms.onnx"), Heard())
    crops = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    ours, exported = (load_encoder(str(model)).embed(crops) for model in (fitted.run, tmp_path / "histograms.onnx"))
    assert (ours * exported).sum(axis=1).min() > 0.9999


def test_a_signal_leaves_no_encoder(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = HistogramTask.compute_encoder

    def interrupted(self: HistogramTask, supply: Any, stop: Any, reporter: Any) -> None:
        stop.flag.value = 2
        before(self, supply, stop, reporter)

    monkeypatch.setattr(HistogramTask, "compute_encoder", interrupted)
    with pytest.raises(InterruptedRunError, match="stopped before the encoder was written"):
        fit(split, tmp_path / "run")
    assert not (tmp_path / "run/encoder").exists()


@pytest.mark.parametrize("option", ["half", "int8"])
def test_less_precise_numbers_are_errors(split: Path, fitted: TrainResult, option: str, tmp_path: Path) -> None:
    given = {option: True} | ({"faces": split} if option == "int8" else {})
    config = ExportConfig(run=fitted.run, out=tmp_path / "histograms.onnx", **given)
    with pytest.raises(ConfigError, match=f"--{option}: histograms depend on the signs of small numbers"):
        (export_int8 if option == "int8" else export)(config, Heard())
    assert not (tmp_path / "histograms.onnx").exists()


def test_options_of_training_have_no_effect_and_are_reported(split: Path, fitted: TrainResult, tmp_path: Path) -> None:
    options = {
        "epochs": 3,
        "time_budget": "5m",
        "augment": "heads",
        "pool": "mean",
        "processes": 2,
        "precision": "bf16",
    }
    heard = Heard()
    config = PretrainConfig(data=(split,), out=tmp_path / "run", image_size=SIZE, embedding_dim=DIM, **options)
    result = train(config, heard)
    (notice,) = (event.text for event in heard.of(Notice) if "no effect with --method histograms" in event.text)
    named = notice.split(": ")[0].split(", ")
    assert sorted(named) == sorted(f"--{name.replace('_', '-')}" for name in options)
    assert read_json(result.run / "config.json")["config"] | {"out": None} == read_json(fitted.run / "config.json")[
        "config"
    ] | {"out": None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backbone": "histograms", "init": "sface"},
            "--init sface: --method histograms has no weights to start from; omit --init",
        ),
        ({"method": "histograms", "backbone": "resnet18"}, "--backbone resnet18: --method histograms has no network"),
        ({"method": "simclr", "backbone": "histograms"}, "--backbone histograms has no weights to train"),
    ],
)
def test_it_has_no_weights_to_train(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "method", "backbone"),
    [
        ({}, "histograms", "histograms"),
        ({"epochs": 3, "gpus": 2}, "histograms", "histograms"),
        ({"backbone": "histograms"}, "histograms", "histograms"),
        ({"backbone": "resnet50"}, "simclr", "resnet50"),
        ({"init": "imagenet"}, "simclr", "resnet18"),
        ({"init": "runs/earlier", "method": "moco"}, "moco", "resnet18"),
        ({"method": "moco"}, "moco", "resnet18"),
    ],
)
def test_it_is_the_method_unless_a_network_is_named(options: dict[str, Any], method: str, backbone: str) -> None:
    chosen = PretrainConfig(**options).with_method()
    assert (chosen.method, chosen.backbone) == (method, backbone)


def test_a_resumed_run_keeps_its_method(split: Path, tmp_path: Path) -> None:
    small = {"image_size": SIZE, "embedding_dim": DIM, "batch_size": 16, "epochs": 1, "precision": "32"}
    options: dict[str, Any] = {"data": (split,), "out": tmp_path / "run", **small}
    train(PretrainConfig(method="moco", queue=16, **options), Heard())
    result = train(PretrainConfig(queue=16, resume="auto", **{**options, "epochs": 2}), Heard())
    recorded = read_json(result.run / "config.json")["config"]
    assert (result.epochs, recorded["method"], recorded["backbone"]) == (2, "moco", "resnet18")


def test_few_faces_leave_dimensions_at_zero(tmp_path: Path) -> None:
    run = fit(make_faces(tmp_path / "few", 3, 4), tmp_path / "run", hold_out=0.0).run
    weights = load_network(run)[0].state_dict()["embedding.weight"]
    assert weights[:11].any(dim=1).all() and not weights[11:].any()


def test_copies_add_no_directions(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "few", 3, 1)
    for picture in list(faces.glob("*/0.png")):
        for number in range(1, 9):
            shutil.copy(picture, picture.with_name(f"{number}.png"))
    weights = load_network(fit(faces, tmp_path / "run", hold_out=0.0).run)[0].state_dict()["embedding.weight"]
    assert weights[:2].any(dim=1).all() and not weights[2:].any()


@pytest.mark.parametrize("value", [None, 0])
def test_equal_faces_are_an_error(value: int | None, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "same", 1, 1)
    (picture,) = faces.glob("*/*.png")
    if value is not None:
        cv2.imwrite(str(picture), np.full((SIZE, SIZE, 3), value, np.uint8))
    for number in range(1, 20):
        shutil.copy(picture, picture.with_name(f"{number}.png"))
    with pytest.raises(DataError, match="the faces do not differ from each other"):
        fit(faces, tmp_path / "run", hold_out=0.0)


def test_pretrain_cannot_continue_from_it(split: Path, fitted: TrainResult, tmp_path: Path) -> None:
    for epochs in (3, 50):
        with pytest.raises(ConfigError, match="its backbone, histograms, has no weights that pretrain could train"):
            train(PretrainConfig(data=(split,), init=str(fitted.run), out=tmp_path / "run", epochs=epochs), Heard())


@pytest.mark.parametrize(("option", "value"), [("image_size", SIZE + 8), ("embedding_dim", DIM + 1)])
def test_its_size_and_length_are_fixed(
    split: Path, fitted: TrainResult, option: str, value: int, tmp_path: Path
) -> None:
    fixed = {"image_size": SIZE, "embedding_dim": DIM, option: value}
    with pytest.raises(ConfigError, match=f"give --image-size {SIZE} and --embedding-dim {DIM}"):
        train(CenterConfig(data=(split,), init=str(fitted.run), out=tmp_path / "run", **fixed), Heard())


def test_names_train_its_embedding_layer(split: Path, fitted: TrainResult, tmp_path: Path) -> None:
    options = {"image_size": SIZE, "batch_size": 16, "epochs": 2, "precision": "32"}
    result = train(CenterConfig(data=(split,), init=str(fitted.run), out=tmp_path / "run", **options), Heard())
    before, after = (load_network(run)[0].state_dict() for run in (fitted.run, result.run))
    assert result.epochs == 2 and before.keys() == after.keys()


def test_the_preview_shows_turned_heads(split: Path, tmp_path: Path) -> None:
    config = PretrainConfig(data=(split,), image_size=SIZE)
    assert show_views(config, tmp_path / "views.png", Heard()).augment == "turned heads"
