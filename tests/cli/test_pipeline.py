"""The whole pipeline as a user types it, in an empty folder, on drawn people."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent

SMALL = ("--backbone", "test_resnet", "--image-size", "32", "--embedding-dim", "16", "--batch-size", "16")


def faceclr(line: str, *more: str, exit_code: int = 0) -> Any:
    """Runs a command line with --json and returns its output."""
    result = CliRunner().invoke(app, [*line.split(), *more, "--json"])
    assert result.exit_code == exit_code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return json.loads(result.stdout) if result.stdout else result.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with prepared faces, a split, and a run."""
    desk = tmp_path_factory.mktemp("desk")
    before = Path.cwd()
    os.chdir(desk)
    try:
        write_people(desk / "celeba", people=10, photos=6, seed=3, reporter=Silent())
        assert faceclr("prepare celeba")["faces"] == 60
        split = faceclr("split celeba-faces --train 0.5 --val 0.2 --test 0.3")
        assert {name: part["people"] for name, part in split["parts"].items()} == {"train": 5, "val": 2, "test": 3}
        faceclr("pretrain celeba-splits/train -o run --epochs 2", *SMALL)
    finally:
        os.chdir(before)
    return desk


@pytest.fixture(autouse=True)
def at_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)


def test_pretraining_leaves_a_run_that_says_how_it_was_made() -> None:
    assert {entry.name.split(".")[0] for entry in Path("run").iterdir()} == {
        "config", "history", "events", "checkpoints", "encoder"
    }  # fmt: skip
    assert json.loads(Path("run/config.json").read_text())["config"]["epochs"] == 2
    assert len(Path("run/history.csv").read_text().splitlines()) == 3
    encoder = json.loads(Path("run/encoder/encoder.json").read_text())
    assert encoder["fingerprint"]["template"] == "arcface"


@pytest.mark.parametrize("trainer", ["train-triplet", "train-center"])
def test_supervised_trainers_go_on_from_a_pretrained_run(trainer: str) -> None:
    result = faceclr(f"{trainer} celeba-splits/train -o {trainer} --init run --image-size 32 --epochs 2 --batch-size 8")
    assert result["epochs"] == 2
    assert faceclr(f"embed celeba-splits/test --model {trainer} -o {trainer}.h5")["dim"] == 16


def test_embeddings_are_probed_verified_and_mapped() -> None:
    for model in ("run", "pixels", "sface"):
        assert faceclr(f"embed celeba-splits/test --model {model} -o {model}.h5")["faces"] == 18
    table = faceclr("linear-eval run.h5 pixels.h5 sface.h5")
    assert [row["store"] for row in table["rows"]] == ["run.h5", "pixels.h5", "sface.h5"]
    pairs = faceclr("verify --embeddings sface.h5 --pairs celeba-splits/pairs.csv")
    assert pairs["missing"] == 0
    assert 0.5 <= pairs["accuracy"] <= 1
    assert faceclr("tsne sface.h5 -o map.png")["people"] == 3
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")


def test_short_forms_find_their_data_or_say_what_there_is() -> None:
    complaint = faceclr("pretrain", exit_code=2)
    assert "faceclr pretrain celeba-splits/train" in complaint
    assert "run: faceclr embed celeba-" in faceclr("embed", exit_code=2)
    Path("faceclr.toml").write_text('[pretrain]\ndata = "celeba-splits/train"\nepochs = 0\n')
    try:
        assert faceclr("pretrain -o untrained", *SMALL)["epochs"] == 0
    finally:
        Path("faceclr.toml").unlink()


def test_unlike_things_are_never_compared() -> None:
    faceclr("prepare celeba -o larger --size 160")
    complaint = faceclr("embed larger --model run -o larger.h5", exit_code=3)
    assert "size" in complaint
    assert not Path("larger.h5").exists()


def test_a_folder_without_pictures_is_exit_3_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = sorted(Path.cwd().iterdir())
    for line in (
        f"prepare {tmp_path}/empty -o nothing",
        f"prepare {tmp_path}/nowhere -o nothing",
        f"split {tmp_path}/empty -o nothing",
        f"pretrain {tmp_path}/empty -o nothing",
        f"embed {tmp_path}/empty -o nothing.h5",
        f"linear-eval {tmp_path}/nowhere.h5",
        f"tsne {tmp_path}/nowhere.h5 -o nothing.png",
    ):
        assert "error: " in faceclr(line, exit_code=3)
    assert sorted(Path.cwd().iterdir()) == before


def test_a_missing_model_is_exit_4_and_leaves_nothing() -> None:
    for line in (
        "embed celeba-splits/test --model nowhere -o nothing.h5",
        "pretrain celeba-splits/train --init nowhere -o nothing",
    ):
        assert "nowhere" in faceclr(line, exit_code=4)
    assert not list(Path.cwd().glob("nothing*"))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("people", [10, pytest.param(30, marks=pytest.mark.nightly)])
def test_real_photographs_in_celebas_layout(real_data: Path, tmp_path: Path, people: int) -> None:
    """CelebA's layout is detected, and nearly every press photograph yields a face."""
    lines = (real_data / "celeba-layout" / "identity_CelebA.txt").read_text().splitlines()
    chosen = sorted({line.split()[1] for line in lines}, key=int)[:people]
    lines = [line for line in lines if line.split()[1] in chosen]
    (tmp_path / "celeba" / "img_celeba").mkdir(parents=True)
    (tmp_path / "celeba" / "identity_CelebA.txt").write_text("\n".join(lines))
    for name in (line.split()[0] for line in lines):
        (tmp_path / "celeba" / "img_celeba" / name).symlink_to(real_data / "celeba-layout" / "img_celeba" / name)
    prepared = faceclr(f"prepare {tmp_path}/celeba -o {tmp_path}/faces")
    assert prepared["layout"] == "celeba"
    assert (prepared["photos"], prepared["people"]) == (20 * people, people)
    assert prepared["faces"] >= 0.99 * 20 * people
    faceclr(f"split {tmp_path}/faces -o {tmp_path}/splits")
    faceclr(f"embed {tmp_path}/splits/test -o {tmp_path}/test.h5")
    pairs = faceclr(f"verify --embeddings {tmp_path}/test.h5 --pairs {tmp_path}/splits/pairs.csv")
    assert pairs["accuracy"] > 0.97
