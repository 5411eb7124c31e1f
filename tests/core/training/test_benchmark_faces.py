"""`--benchmark` of the trainers: sets of pairs that are verified during training."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError
from faceclr_cli.core.evaluation.benchmark.benchmark import benchmark
from faceclr_cli.core.events import Notice, Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.sources.insightface_bin import write_bin
from faceclr_cli.core.training.run_folder import best_epoch
from faceclr_cli.core.training.trainers import train as run
from tests.core.training.test_validation import listed
from tests.core.training.toy import SMALL, Heard, make_faces, pretrain


def history(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sets of prepared faces, each with its pairs."""
    root = tmp_path_factory.mktemp("sets")
    found = []
    for name, first in (("easy", 200), ("hard", 300)):
        folder = make_faces(root / name, 6, 4, first=first)
        listed(folder, folder / "pairs.csv")
        found.append(folder)
    return found[0], found[1]


def test_sets_are_verified_every_few_epochs_and_may_choose_the_best_encoder(
    split: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    options = {"benchmark": sets, "benchmark_every": 2, "epochs": 4, "best_by": "hard"}
    result = pretrain(split, tmp_path / "run", **options)
    rows = history(result.run)
    for column in ("easy_accuracy", "hard_accuracy", "hard_auc", "easy_threshold", "benchmark_accuracy"):
        assert [row[column] != "" for row in rows] == [False, True, False, True]
    for row in rows[1::2]:
        both = [float(row["easy_accuracy"]), float(row["hard_accuracy"])]
        assert float(row["benchmark_accuracy"]) == pytest.approx(np.mean(both), abs=1e-5)
    assert result.best_by == "hard_accuracy"
    measured = {int(row["epoch"]): float(row["hard_accuracy"]) for row in rows[1::2]}
    assert result.best_epoch in measured and measured[result.best_epoch] == max(measured.values())
    # The kept encoder is that of this epoch, although the run continued.
    [cell] = benchmark(BenchmarkConfig(sets=(sets[1],), model=(str(result.run),)), Silent()).cells
    assert cell.accuracy == pytest.approx(measured[result.best_epoch], abs=1e-5)
    assert pretrain(split, result.run, resume="yes", **{**options, "epochs": 5}).epochs == 5
    with pytest.raises(ConfigError, match=r"--benchmark-every: the run in .* has 2"):
        pretrain(split, result.run, resume="yes", **{**options, "benchmark_every": 1})


def test_only_a_set_that_was_asked_for_chooses_the_best_encoder(split: Path, sets: tuple[Path, Path]) -> None:
    table = [
        {"epoch": 1, "val_loss": 0.1, "val_knn": 0.9, "hard_accuracy": 0.6, "benchmark_accuracy": 0.8},
        {"epoch": 2, "val_loss": 0.2, "val_knn": 0.8, "hard_accuracy": 0.7, "benchmark_accuracy": 0.7},
        {"epoch": 3, "val_loss": 0.3, "val_knn": 0.7},
    ]
    given = {"benchmark": sets}
    assert best_epoch(table, TripletConfig(**given)) == 1
    assert best_epoch(table, PretrainConfig(**given)) == 1
    assert best_epoch(table, TripletConfig(best_by="hard", **given)) == 2
    assert best_epoch(table, PretrainConfig(best_by="benchmark", **given)) == 1
    assert best_epoch(table[2:], PretrainConfig(best_by="hard", **given)) is None  # not measured yet


def test_a_set_that_cannot_be_verified_is_refused_before_training(
    split: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    other = make_faces(tmp_path / "other", 6, 4, first=200, template="another")
    listed(other, other / "pairs.csv")
    for options, error, said in [
        ({"benchmark": (sets[0],), "best_by": "easier"}, ConfigError, "--best-by easier: no such set of pairs.*easy"),
        ({"benchmark": (sets[0],), "best_by": "benchmark"}, ConfigError, "choose easy"),
        ({"benchmark": (tmp_path / "nowhere",)}, DataError, "nowhere: no such file"),
        ({"benchmark": (tmp_path / "faces.h5",)}, ConfigError, r"faces.h5: a store has no pictures to embed"),
        ({"benchmark": (split,)}, DataError, "contains neither .bin files nor pairs"),
        ({"benchmark": (other,)}, FingerprintError, "template"),
    ]:
        with pytest.raises(error, match=said):
            pretrain(split, tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="--best-by hard: a set of pairs must be given with --benchmark"):
        PretrainConfig(data=(split,), best_by="hard")


def test_photographs_and_bin_files_give_the_same_accuracy_as_the_command(tmp_path: Path) -> None:
    photos, pairs = tmp_path / "photos", []
    for person in range(5):
        (photos / f"p{person}").mkdir(parents=True)
        for picture in range(3):
            cv2.imwrite(
                str(photos / f"p{person}" / f"{picture}.png"),
                draw_photo(invent_person(person), picture).image[..., ::-1],
            )
        pairs += [(f"p{person}/{a}.png", f"p{person}/{b}.png", 1) for a, b in ((0, 1), (0, 2), (1, 2))]
        pairs += [(f"p{person}/{a}.png", f"p{(person + 1) % 5}/{a}.png", 0) for a in range(3)]
    cropper = PhotoCropper(default_fingerprint())
    crops = {name: cropper.crop_file(photos / name).crop for pair in pairs for name in pair[:2]}
    coded = {name: cv2.imencode(".png", crop[..., ::-1])[1].tobytes() for name, crop in crops.items()}
    write_bin(tmp_path / "drawn.bin", ((coded[a], coded[b], bool(same)) for a, b, same in pairs))
    prepare(PrepareConfig(source=photos, out=tmp_path / "faces", workers=1), Silent())
    cv2.imwrite(str(photos / "p0" / "wall.png"), np.full((200, 200, 3), 128, np.uint8))
    pairs.append(("p0/wall.png", "p0/0.png", 1))
    lines = "".join(f"{a},{b},{same}\n" for a, b, same in pairs)
    (photos / "pairs.csv").write_text("a,b,same\n" + lines)
    heard, given = Heard(), (tmp_path / "drawn.bin", photos)
    small = {**SMALL, "batch_size": 8}
    config = PretrainConfig(data=(tmp_path / "faces",), out=tmp_path / "run", benchmark=given, epochs=1, **small)
    result = run(config, heard)
    assert any("1 of 31 pairs have a picture that is missing" in notice.text for notice in heard.of(Notice))
    found = benchmark(BenchmarkConfig(sets=given, model=(str(result.run),)), Silent())
    for cell in found.cells:
        assert result.metrics[f"{cell.set}_accuracy"] == pytest.approx(cell.accuracy), cell.set
    assert {cell.set for cell in found.cells} == {"drawn", "photos"}
