"""Comparison of encoders: paired differences, runs of one recipe, and overlap with their training data."""

from __future__ import annotations

import csv
import io
import shutil
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import save_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.crop import default_fingerprint
from tests.core.evaluation.benchmark.benchmarking import measure, run


def test_every_two_encoders_are_compared_on_the_same_pairs(desk: Path, tmp_path: Path) -> None:
    """Over people where they are known, and over pairs in a .bin file; the table compares with the best encoder."""
    models = ("pixels", str(desk / "toy"), "sface")
    result = measure(desk / "faces", desk / "bins" / "drawn.bin", model=models)
    accuracy = {(cell.set, cell.encoder): cell.accuracy for cell in result.cells}
    assert [(each.set, each.first, each.second) for each in result.comparisons] == [
        (name, *two) for name in ("faces", "drawn") for two in combinations(("pixels", "toy", "sface"), 2)
    ]
    assert [each.resampled for each in result.comparisons] == ["people"] * 3 + ["pairs"] * 3
    for each in result.comparisons:
        # Folds differ in size by a pair at most.
        assert each.difference == pytest.approx(
            accuracy[each.set, each.first] - accuracy[each.set, each.second], abs=0.01
        )
        assert each.difference == (each.only_first - each.only_second) / 108
        assert each.low <= each.difference <= each.high
    table = run(desk / "faces", "-m", "pixels", "-m", "sface")
    best, other = sorted(("pixels", "sface"), key=lambda name: -accuracy["faces", name])
    (line,) = [row.split() for row in table.split("set, best encoder")[1].splitlines() if row.startswith("faces")]
    assert line[:3] == ["faces", best, other]
    assert float(line[3]) >= 0


def test_what_an_encoder_has_seen_is_reported_and_left_out(desk: Path, tmp_path: Path) -> None:
    """People by name in any spelling, pictures by their details; the figures are those of the pairs that are left."""
    trained = tmp_path / "trained"
    (trained / "Person_01").mkdir(parents=True)
    (trained / "someone").mkdir()
    shutil.copy(desk / "people" / "person-09" / "04.jpg", trained / "Person_01" / "other.jpg")
    image = cv2.imread(str(desk / "people" / "person-02" / "03.jpg"))
    smaller = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(trained / "someone" / "again.jpg"), smaller, [cv2.IMWRITE_JPEG_QUALITY, 80])
    cell = measure(desk / "people", trained_on=(trained,)).cells[0]
    overlap = cell.overlap
    assert overlap is not None
    assert overlap.people == ("person-01",)
    assert dict(overlap.examples) == {
        "person-02/03.jpg": str(trained / "someone" / "again.jpg"),
        "person-09/04.jpg": str(trained / "Person_01" / "other.jpg"),
    }
    rows = list(csv.reader(io.StringIO((desk / "people" / "pairs.csv").read_text())))[1:]
    seen = ("person-01/", "person-02/03.jpg", "person-09/04.jpg")
    left = [row for row in rows if not any(name.startswith(seen) for name in row[:2])]
    assert overlap.pairs == len(rows) - len(left)
    (tmp_path / "left.csv").write_text("".join(",".join(row) + "\n" for row in left))
    alone = measure(desk / "people", pairs=tmp_path / "left.csv").cells[0]
    assert (overlap.accuracy, overlap.auc) == (alone.accuracy, alone.auc)
    assert overlap.accuracy != cell.accuracy
    binary = measure(desk / "bins" / "drawn.bin", trained_on=(trained,)).cells[0].overlap
    assert binary is not None
    assert (binary.people, binary.pictures) == (None, 2)
    assert "seen in training" in run(desk / "people", "-m", "pixels", "--trained-on", trained)
    clean = measure(desk / "people", trained_on=(desk / "people" / "person-01",), pairs=tmp_path / "left.csv")
    assert clean.cells[0].overlap is not None
    assert (clean.cells[0].overlap.pairs, clean.cells[0].overlap.accuracy) == (0, None)
    assert measure(desk / "people").cells[0].overlap is None


def test_runs_of_one_recipe_are_one_row(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a pattern, or with --seeds by their options; the figures are those of the runs."""
    monkeypatch.chdir(tmp_path)
    fingerprint = default_fingerprint(112)
    for run_name, seed, lr in (("toy-1", 1, 0.5), ("toy-2", 2, 0.5), ("other", 1, 0.1)):
        torch.manual_seed(seed)
        network = EncoderNetwork(Architecture(backbone="test_convnext", embedding_dim=8, image_size=32))
        config = {"lr": lr, "seed": seed, "out": run_name}
        card = Card(command="pretrain", config=config, data="train", pictures=3, people={})
        save_encoder(Path(run_name) / "encoder", network, fingerprint, card=card)
        (Path(run_name) / "history.csv").write_text("epoch,seconds\n1,2.5\n2,3.5\n")
    size = sum(parameter.numel() for parameter in network.parameters())
    for arguments in (("toy-*", "other"), ("toy-1", "other", "toy-2")):
        result = measure(desk / "faces", desk / "bins", model=arguments, seeds="*" not in arguments[0])
        (group,) = result.groups
        assert (group.name, group.encoders) == ("toy-*", ("toy-1", "toy-2"))
        assert [cell.set for cell in group.cells] == ["faces", "drawn", "mean"]
        runs = [cell for cell in result.cells if cell.set == "faces" and cell.encoder in group.encoders]
        accuracies, areas = [cell.accuracy for cell in runs], [cell.auc for cell in runs]
        assert len(set(accuracies)) == 2
        assert group.cells[0].accuracy == pytest.approx(np.mean(accuracies))
        assert group.cells[0].accuracy_deviation == pytest.approx(np.std(accuracies, ddof=1))
        assert group.cells[0].auc_deviation == pytest.approx(np.std(areas, ddof=1))
        overall = [mean.accuracy for mean in result.means if mean.encoder != "other"]
        assert group.cells[2].accuracy == pytest.approx(np.mean(overall))
        assert {(each.parameters, each.training_seconds) for each in result.encoders} == {(size, 6.0)}
    assert not measure(desk / "faces", model=("toy-1", "toy-2")).groups
    table = run(desk / "faces", "-m", "toy-*", "-m", "other")
    assert "toy-* (2 runs)" in table
    assert "toy-1 " not in table.split("encoder  ")[0]
    assert "standard deviation over runs" in table
    with pytest.raises(ModelError, match=r"nothing-\*: matches no run"):
        measure(desk / "faces", model=("nothing-*",))
