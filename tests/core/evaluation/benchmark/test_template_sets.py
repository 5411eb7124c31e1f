"""Templates in `benchmark`: a folder in IJB's layout, folders of pictures, and a store."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.events import Silent
from tests.core.evaluation.benchmark.benchmarking import EACH, PEOPLE, run
from tests.core.evaluation.ijb_layout import write_ijb


@pytest.fixture(scope="module")
def album(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people in IJB's layout: two templates for each person, with two pictures each, and every pair."""
    root = tmp_path_factory.mktemp("album") / "IJBX"
    (root / "meta").mkdir(parents=True)
    (root / "loose_crop").mkdir()
    members, people = [], []
    for person, folder in enumerate(sorted(path for path in (desk / "people").iterdir() if path.is_dir())):
        files = sorted(folder.iterdir())[:EACH]
        for side in range(2):
            people.append(person)
            for file in files[2 * side : 2 * side + 2]:
                number = len(members) + 1
                shutil.copy(file, root / "loose_crop" / f"{number}.jpg")
                members.append(f"{number}.jpg {len(people)} {number}")
    pairs = [(a, b, int(people[a] == people[b])) for a, b in combinations(range(len(people)), 2)]
    (root / "meta" / "ijbx_face_tid_mid.txt").write_text("\n".join(members))
    (root / "meta" / "ijbx_template_pair_label.txt").write_text("\n".join(f"{a + 1} {b + 1} {s}" for a, b, s in pairs))
    return root


def measure(*arguments: object) -> dict:
    return json.loads(run(*arguments, "--json"))


def test_a_folder_in_the_layout_of_ijb_is_a_set(album: Path, tmp_path: Path) -> None:
    found = measure(album, "--template", "mean", "--model", "pixels")
    (cell,), (each,) = found["cells"], found["sets"]
    assert (each["name"], each["pictures"]) == ("IJBX", PEOPLE * EACH)
    assert (each["genuine"], each["impostor"]) == (PEOPLE, 2 * PEOPLE * (2 * PEOPLE - 1) // 2 - PEOPLE)
    assert found["fars"] == [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
    assert cell["accuracy"] is None
    store = tmp_path / "pixels.h5"
    embed(EmbedConfig(faces=album / "loose_crop", model="pixels", face="center", out=store), Silent())
    rows = read_store(store)
    vectors = {}
    for line in (album / "meta" / "ijbx_face_tid_mid.txt").read_text().splitlines():
        name, template, _ = line.split()
        vectors[int(template)] = vectors.get(int(template), 0) + rows.embeddings[rows.paths.index(name)].astype(float)
    lines = (album / "meta" / "ijbx_template_pair_label.txt").read_text().splitlines()
    pairs = [tuple(map(int, line.split())) for line in lines]
    scores = [
        vectors[a] @ vectors[b] / (vectors[a] @ vectors[a] * (vectors[b] @ vectors[b])) ** 0.5 for a, b, _ in pairs
    ]
    assert cell["auc"] == pytest.approx(roc_auc_score([same for *_, same in pairs], scores), abs=1e-4)
    again = measure(
        *(store, "--template", "mean", "--pairs", album / "meta" / "ijbx_template_pair_label.txt"),
        *("--template-list", album / "meta" / "ijbx_face_tid_mid.txt"),
    )
    assert again["cells"][0]["auc"] == pytest.approx(cell["auc"], abs=1e-6)
    for one, other in zip(again["cells"][0]["tar_at_far"], cell["tar_at_far"], strict=True):
        assert (one["tar"], one["reason"]) == (other["tar"], other["reason"])


def test_each_folder_of_prepared_faces_is_a_template(desk: Path, tmp_path: Path) -> None:
    people = sorted(path.name for path in (desk / "faces").iterdir() if path.is_dir())
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("".join(f"{a},{b},{int(b == people[0])}\n" for a, b in combinations(people[::-1], 2)))
    found = measure(desk / "faces", "--pairs", pairs, "--template", "max", "--model", "pixels", "--model", desk / "toy")
    assert [cell["missing"] for cell in found["cells"]] == [0, 0]
    assert found["sets"][0]["genuine"] == PEOPLE - 1
    assert found["template"] == "max"


def test_the_table_has_no_column_of_accuracy(album: Path) -> None:
    text = run(album, "--template", "quality", "--model", "pixels", "--format", "markdown")
    heading, _, row = text.strip().splitlines()
    assert [cell.strip() for cell in heading.strip("|").split("|")][:4] == ["set", "encoder", "AUC", "TAR@0.1"]
    assert row.count("|") == heading.count("|")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("ALBUM --template-list LIST", 2, "--template-list: requires --template"),
        ("ALBUM --template mean --rule insightface", 2, "--rule: cannot be combined with --template"),
        ("ALBUM --template mean --trained-on ALBUM", 2, "--trained-on: cannot be combined with --template"),
        ("LIST --template mean", 2, "requires a folder or a store"),
        ("STORE --template mean", 2, "a store contains no pairs"),
        ("EMPTY --template mean", 3, "contains no lists of pairs of templates"),
    ],
)
def test_wrong_input_is_one_line(album: Path, tmp_path: Path, arguments: str, code: int, message: str) -> None:
    files = {
        "ALBUM": album,
        "LIST": album / "meta" / "ijbx_face_tid_mid.txt",
        "STORE": write_ijb(tmp_path / "ijb", people=4).store,
        "EMPTY": tmp_path,
    }
    done = CliRunner().invoke(app, ["benchmark", *(str(files.get(word, word)) for word in arguments.split())])
    assert done.exit_code == code, done.output
    assert message in done.output
