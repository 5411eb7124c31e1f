"""`faceclr linear-eval` as a shell sees it: what it prints, where, and its exit code."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.faces.fingerprint import Fingerprint


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["linear-eval", *map(str, arguments)])


def write_crowd(path: Path, people: int, pictures: int, noise: float) -> Path:
    rng = np.random.default_rng(people)
    names = [f"person {number:02d}" for number in range(people) for _ in range(pictures)]
    rows = np.repeat(rng.normal(size=(people, 16)), pictures, axis=0) + noise * rng.normal(size=(len(names), 16))
    paths = tuple(f"{name}/{number}.jpg" for number, name in enumerate(names))
    fingerprint = Fingerprint(
        detector="yunet", detector_digest="0", template="arcface", size=112, interpolation="linear", padding="black"
    )
    store = Store(
        embeddings=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
        paths=paths,
        identities=tuple(names),
        content_hashes=paths,
        detection_scores=np.full(len(names), np.nan, np.float32),
        boxes=np.full((len(names), 4), np.nan, np.float32),
        fingerprint=fingerprint,
        encoder="crowd",
        encoder_digest="0",
        calibration=None,
        config={},
    )
    write_store(path, store)
    return path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_crowd(Path("a.h5"), 25, 10, 1.5)
    write_crowd(Path("b.h5"), 25, 10, 0.2)


def test_one_store_shows_the_comparison_then_the_worst_people_then_the_confusions() -> None:
    done = typed("a.h5", "--shots", "1,2")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [
        number
        for number, line in enumerate(lines)
        if line.startswith(("embeddings", "95% intervals", "top-1 of 25 people", "worst first", "most frequent"))
    ]
    assert len(heads) == 5
    listed = [line for line in lines[heads[3] : heads[4]] if line.startswith("person ")]
    scores = [float(line.split()[4]) for line in listed]
    assert len(listed) == 20
    assert scores == sorted(scores)
    people = json.loads(typed("a.h5", "--json").stdout)["rows"][0]["per_person"]
    faulty = sum(person["f1"] < 1 for person in people)
    assert 20 < faulty < 25
    assert f"{faulty - 20} more with higher scores; --json lists all" in lines
    assert f"{25 - faulty} of 25 people without an error" in lines
    assert " mistaken for person " in lines[heads[4] + 2]


def test_of_few_people_the_whole_confusion_matrix_is_shown() -> None:
    write_crowd(Path("few.h5"), 6, 20, 2.5)
    [row] = json.loads(typed("few.h5", "--json").stdout)["rows"]
    lines = typed("few.h5").stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("true person / predicted"))
    assert lines[head].split()[-6:] == ["1", "2", "3", "4", "5", "6"]
    shown = [line.replace(".", "0").split()[-6:] for line in lines[head + 2 : head + 8]]
    assert [[int(cell) for cell in line] for line in shown] == row["matrix"]


def test_several_stores_stand_side_by_side_without_their_people() -> None:
    done = typed("a.h5", "b.h5")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["a.h5", "b.h5"]
    assert "worst first" not in done.stdout


def test_json_has_everything_that_the_table_leaves_out() -> None:
    result = json.loads(typed("a.h5", "--json", "--shots", "2").stdout)
    [row] = result["rows"]
    assert len(row["per_person"]) == 25
    assert np.array(row["matrix"]).shape == (25, 25)
    assert np.array(row["matrix"]).sum() == result["test"] == 50
    assert np.trace(row["matrix"]) / 50 == pytest.approx(row["top1"])
    assert sum(mistake["times"] for mistake in row["confusions"]) == 50 - np.trace(row["matrix"])
    assert row["intervals"]["top1"][0] <= row["top1"] <= row["intervals"]["top1"][1]
    assert len(row["shots"][0]["draws"]) == 5


def test_csv_is_one_line_of_numbers_for_each_store() -> None:
    done = typed("a.h5", "b.h5", "--format", "csv", "--shots", "1")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    found = json.loads(typed("a.h5", "b.h5", "--json", "--shots", "1").stdout)["rows"]
    for row, known in zip(rows, found, strict=True):
        assert row["store"] == known["store"]
        for name in ("top1", "top3", "jaccard", "precision", "recall", "f1", "knn", "c"):
            assert float(row[name]) == known[name]
        assert float(row["f1_low"]) == known["intervals"]["f1"][0]
        assert float(row["shots_1"]) == known["shots"][0]["top1"]


def test_markdown_is_one_table() -> None:
    Path("a|b.h5").write_bytes(Path("a.h5").read_bytes())
    done = typed("a|b.h5", "b.h5", "--format", "markdown")
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith(r"| a\|b.h5 | crowd | 16 | ")
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1


def test_the_plot_and_the_classifier_are_written_and_named() -> None:
    done = typed("a.h5", "--plot", "confusion.png", "--save", "kept")
    assert done.exit_code == 0, done.output
    assert "confusion.png" in done.stdout
    assert Path("confusion.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in Path("kept").iterdir()) == ["classifier.json", "weights.safetensors"]
    before = {path.name for path in Path().iterdir()}
    assert typed("a.h5", "--plot", "confusion.gif").exit_code == 2
    assert typed("a.h5", "--save", "a.h5").exit_code == 2
    assert typed("a.h5", "b.h5", "--save", "both").exit_code == 2
    assert typed("a.h5", "--probe", "centroid", "--save", "other").exit_code == 2
    assert {path.name for path in Path().iterdir()} == before


def test_people_with_too_few_pictures_for_a_curve_are_exit_3_or_said_aloud() -> None:
    done = typed("a.h5", "--shots", "100")
    assert done.exit_code == 3
    assert "0 of 25 people have 100 training pictures (maximum: 6)" in done.stderr
    assert typed("a.h5", "--shots", "0").exit_code == 2
