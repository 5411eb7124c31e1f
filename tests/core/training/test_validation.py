"""Validation metrics and decisions based on them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.datasets.pairs.sampled_pairs import write_pairs
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder
from faceclr_cli.core.errors import DataError, FingerprintError
from faceclr_cli.core.events import Notice
from faceclr_cli.core.training.alarms import is_overfitting
from faceclr_cli.core.training.run_folder import best_epoch
from faceclr_cli.core.training.trainers import TrainResult
from faceclr_cli.core.training.trainers import train as run
from faceclr_cli.core.training.validation import calibration_of
from tests.core.training.test_trainers import rows
from tests.core.training.toy import SMALL, Heard, make_faces, make_split, pretrain


def embedded(result: TrainResult, folder: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Returns embeddings by the encoder of a run, computed with public functions, with people and names."""
    import cv2

    files = sorted(folder.glob("*/*.png"))
    crops = np.stack([cv2.imread(str(file))[:, :, ::-1] for file in files])
    names = [file.relative_to(folder).as_posix() for file in files]
    return load_encoder_folder(result.run).embed(crops).astype(np.float64), [file.parent.name for file in files], names


def test_validation_metrics_are_those_of_the_kept_encoder(tmp_path: Path) -> None:
    split = make_split(tmp_path / "split")
    make_faces(split.with_name("val"), 21, 4, first=105)
    config = TripletConfig(data=(split,), out=tmp_path / "run", epochs=1, **SMALL)
    result = run(config, Heard())
    embeddings, owners, _ = embedded(result, split.with_name("val"))
    pairs = np.triu_indices(len(owners), 1)
    scores = (embeddings @ embeddings.T)[pairs]
    same = np.array([owners[a] == owners[b] for a, b in zip(*pairs, strict=True)])
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    row = result.metrics
    assert row["val_accuracy"] == pytest.approx(np.max(tar + 1 - far) / 2)
    assert row["val_tar@1e-1"] == pytest.approx(tar[far <= 0.1].max())
    assert row["val_tar@1e-2"] == pytest.approx(tar[far <= 0.01].max())
    assert "val_tar@1e-3" not in row  # 325 pairs of people are too few.
    assert row["val_accuracy_low"] <= row["val_accuracy"] <= row["val_accuracy_high"]
    assert row["val_knn_low"] <= row["val_knn"] <= row["val_knn_high"]
    assert row["val_knn_chance"] == pytest.approx(3 / 103)
    assert (row["val_pictures"], row["val_people"]) == (104, 26)
    assert (row["val_genuine"], row["val_impostor"]) == (same.sum(), (~same).sum())
    calibration = load_encoder_folder(result.run).calibration
    assert calibration is not None
    assert calibration.source == "all pairs of 104 pictures of 26 people held out from training"
    kept, strict = calibration.points
    assert kept.far == pytest.approx((scores >= kept.threshold)[~same].mean())
    assert kept.tar == pytest.approx((scores >= kept.threshold)[same].mean())
    assert (kept.tar + 1 - kept.far) / 2 == pytest.approx(row["val_accuracy"])
    assert strict == calibration.default_point and strict.far == 0.01
    assert (scores >= strict.threshold)[~same].mean() <= 0.01
    assert strict.tar == pytest.approx((scores >= strict.threshold)[same].mean())


@pytest.mark.parametrize(("people", "fars"), [(19, None), (20, [0.3]), (25, [0.3, 0.01]), (78, [0.3, 0.01, 0.001])])
def test_thresholds_need_enough_people(people: int, fars: list[float] | None) -> None:
    row = {
        "val_people": people, "val_pictures": 4 * people, "val_threshold": 0.4, "val_far": 0.3, "val_tar": 0.8,
        "val_threshold@1e-2": 0.6, "val_tar@1e-2": 0.2, "val_threshold@1e-3": 0.7, "val_tar@1e-3": 0.1,
    }  # fmt: skip
    kept = calibration_of(row)
    assert fars == (None if kept is None else [point.far for point in kept.points])


def test_the_validation_loss_is_the_loss_of_random_triplets(split: Path, tmp_path: Path) -> None:
    config = TripletConfig(data=(split,), out=tmp_path / "run", epochs=1, margin=2.0, **SMALL)
    result = run(config, Heard())
    embeddings, owners, _ = embedded(result, split.with_name("val"))
    distances = np.square(embeddings[:, None] - embeddings).sum(axis=2)
    count = range(len(owners))
    losses = [
        max(0.0, 2.0 + distances[a, p] - distances[a, n])
        for a in count
        for p in count
        for n in count
        if a != p and owners[a] == owners[p] != owners[n]
    ]
    # It is the mean over one random triplet for each of the 20 pictures.
    assert abs(result.metrics["val_loss"] - np.mean(losses)) < 4 * np.std(losses) / np.sqrt(20)
    assert np.std(losses) < np.mean(losses)


def test_held_out_pictures_of_trained_people_are_recognized(tmp_path: Path) -> None:
    split = make_split(tmp_path / "split", people=8, pictures=10)
    config = CenterConfig(data=(split,), out=tmp_path / "run", epochs=8, lr=3e-3, hold_out=0.2, **SMALL)
    heard = Heard()
    result = run(config, heard)
    assert "on 64 pictures" in "\n".join(notice.text for notice in heard.of(Notice))
    # Sixteen pictures of eight people; chance is one in eight.
    assert result.metrics["val_top1"] > 0.5
    assert result.metrics["val_top1"] <= result.metrics["val_top3"] <= result.metrics["val_top5"] <= 1
    assert result.metrics["val_top1"] * 16 == pytest.approx(round(result.metrics["val_top1"] * 16))
    # Guessing among eight has a loss of log 8; what is kept is the encoder with the least.
    assert result.metrics["val_loss"] < math.log(8) / 2
    losses = [row["val_loss"] for row in rows(result.run)]
    assert (result.best_by, result.best_epoch) == ("val_loss", int(np.argmin(losses)) + 1)
    assert sum(load_encoder_folder(result.run).card.people.values()) == 64


def listed(folder: Path, file: Path, *, absent: int = 0) -> Path:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    generator = np.random.default_rng(0)
    pairs = []
    for place in range(40):
        a, b = generator.choice(len(names), 2, replace=False)
        if place % 2:
            b = a - a % 4 + (a + 1 + generator.integers(3)) % 4
        pairs.append(Pair(names[a], names[b], names[a].split("/")[0] == names[b].split("/")[0]))
    write_pairs(file, [*pairs, *[Pair("nobody/0.png", names[0], False)] * absent])
    return file


def test_listed_pairs_are_verified_every_few_epochs(split: Path, tmp_path: Path) -> None:
    lfw = make_faces(tmp_path / "lfw", 6, 4, first=200)
    pairs = listed(lfw, tmp_path / "pairs.csv")
    config = TripletConfig(
        data=(split,), out=tmp_path / "run", lfw=lfw, pairs=pairs, lfw_every=2, epochs=4, best_by="accuracy", **SMALL
    )
    heard = Heard()
    result = run(config, heard)
    with open(result.run / "history.csv") as file:
        header, *lines = (line.rstrip("\n").split(",") for line in file)
    column = header.index("lfw_accuracy")
    assert [line[column] != "" for line in lines] == [False, True, False, True]
    # The last epoch's encoder, where it is the kept one, scores the pairs as the history says.
    assert result.best_epoch is not None
    if result.best_epoch == 4:
        embeddings, _, names = embedded(result, lfw)
        rows_of = {name: row for row, name in enumerate(names)}
        content = [line.split(",") for line in pairs.read_text().splitlines()[1:]]
        scores = [float(embeddings[rows_of[a]] @ embeddings[rows_of[b]]) for a, b, _ in content]
        expected = roc_auc_score([same == "1" for *_, same in content], scores)
        assert result.metrics["lfw_auc"] == pytest.approx(expected, abs=1e-6)
    resumed = run(
        TripletConfig(
            data=(split,), out=result.run, lfw=lfw, pairs=pairs, lfw_every=2, epochs=5, best_by="accuracy",
            resume="yes", **SMALL,
        ),
        Heard(),
    )  # fmt: skip
    assert resumed.epochs == 5


def test_pairs_with_missing_pictures_are_reported_and_count_as_errors(split: Path, tmp_path: Path) -> None:
    lfw = make_faces(tmp_path / "lfw", 6, 4, first=200)
    whole, fewer = listed(lfw, tmp_path / "whole.csv"), listed(lfw, tmp_path / "fewer.csv", absent=40)

    def accuracy(pairs: Path, reporter: Heard) -> float:
        out = tmp_path / pairs.stem
        config = TripletConfig(data=(split,), out=out, lfw=lfw, pairs=pairs, epochs=1, **SMALL)
        return run(config, reporter).metrics["lfw_accuracy"]

    heard = Heard()
    assert accuracy(fewer, heard) <= 0.5 < accuracy(whole, Heard())
    assert any("40 of 80 pairs have a picture that" in notice.text for notice in heard.of(Notice))


def test_pairs_that_cannot_be_measured_are_refused_before_training(split: Path, tmp_path: Path) -> None:
    lfw = make_faces(tmp_path / "lfw", 6, 4, first=200)
    pairs = listed(lfw, tmp_path / "pairs.csv")
    (tmp_path / "photographs").mkdir()
    (tmp_path / "strange.csv").write_text("a,b,same\nx/1.png,x/2.png,1\nx/1.png,y/1.png,0\n")
    (tmp_path / "unlabeled.csv").write_text("a,b\nx/1.png,x/2.png\n")
    other = make_faces(tmp_path / "other", 6, 4, first=200, template="another")
    for folder, file, error, said in [
        (tmp_path / "photographs", pairs, DataError, "faceclr prepare"),
        (lfw, tmp_path / "strange.csv", DataError, "too few of the pictures"),
        (lfw, tmp_path / "unlabeled.csv", DataError, "no label"),
        (other, pairs, FingerprintError, "template"),
    ]:
        with pytest.raises(error, match=said):
            run(TripletConfig(data=(split,), out=tmp_path / "run", lfw=folder, pairs=file, **SMALL), Heard())
        assert not (tmp_path / "run").exists()


def test_the_best_epoch_is_the_one_asked_for() -> None:
    table = [
        {"epoch": 1, "val_loss": 0.3, "val_accuracy": 0.8, "val_knn": 0.5},
        {"epoch": 2, "val_loss": 0.1, "val_accuracy": 0.7, "val_knn": 0.9},
        {"epoch": 3, "val_loss": 0.2, "val_accuracy": 0.9, "val_knn": 0.4},
    ]
    assert best_epoch(table, TripletConfig()) == 2
    assert best_epoch(table, TripletConfig(best_by="accuracy")) == 3
    assert best_epoch([{"epoch": 1, "loss": 1.0}], TripletConfig()) is None
    from faceclr_cli.core.configs.pretrain import PretrainConfig

    assert best_epoch(table, PretrainConfig()) == 2


def test_a_rising_validation_loss_is_overfitting() -> None:
    losses = [0.5, 0.3, 0.2, 0.22, 0.23, 0.25]
    table = [
        {"epoch": place, "step": place, "loss": 0.2, "active": 0.5 - 0.05 * place, "val_loss": loss}
        for place, loss in enumerate(losses, start=1)
    ]
    assert is_overfitting(table)
    assert not is_overfitting(table[:-1])
    assert not is_overfitting([{**row, "active": 0.5} for row in table])  # It has stopped learning.


def test_an_untrained_encoder_has_a_threshold_too(tmp_path: Path) -> None:
    split = make_split(tmp_path / "split")
    make_faces(split.with_name("val"), 15, 2, first=105)
    content = json.loads((pretrain(split, tmp_path / "run", epochs=0).encoder / "encoder.json").read_text())
    assert -1 <= content["calibration"]["points"][0]["threshold"] <= 1
    shutil.rmtree(tmp_path / "run")
    alone = make_faces(tmp_path / "alone", 3, 4)
    content = json.loads((pretrain(alone, tmp_path / "run", epochs=0).encoder / "encoder.json").read_text())
    assert content["calibration"] is None
