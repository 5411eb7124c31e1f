"""Each benchmark starts, runs to its end on the smallest input that it takes, and prints its figures."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import pytest

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person, write_people
from faceclr_cli.core.events import Silent
from faceclr_cli.core.preparing.prepare import prepare
from tests.preload import run_script

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
PARTS = {"pretrain_ours.py", "pretrain_step.py", "pretrain_lightly.py"}
"""Scripts that pretrain.py starts."""
NEEDS_LIGHTLY = {"pretrain_lightly.py"}
"""Needs an environment of its own with another package."""

RUNS = {
    "adapted_domain.py": "faces faces --pairs lfw -o adapted --epochs 1 --only student",
    "all_pairs.py": "--faces 40 --dim 8 --rounds 1",
    "backbones.py": "lfw faces -o backbones --budget 1s --seeds 0 --only mobilefacenet --batch-size 4",
    "benchmark.py": "faces --pairs 24 --sets 2 --model pixels --scratch scratch",
    "blends.py": "faces -o blends --count 3",
    "clean.py": "faces -o cleaning --rates 0.2 --merged 1",
    "clean.py --link": "cleaned 0 faces -o linking --rates 0.2",
    "cluster.py": "command --faces 40 --dim 8 --rounds 1",
    "cluster.py methods": "--faces 300 --dim 8",
    "cluster.py random": "--faces 400 --dim 8",
    "embed.py": "rate faces --pictures 8 --batch-size 4 --rounds 1",
    "embed.py sface": "faces --photos lfw/images --pictures 8 --batch-size 4 --rounds 1",
    "embed.py size": "--rows 64 --scratch scratch",
    "fine_tuning.py": "faces faces -o tuned --people 2 --pictures 2 --held-out 3 --epochs 1 --only last --device cpu",
    "fine_tuning_layer.py": "album album --model pixels --others 2 --epochs 1",
    "gradients.py": "faces faces --pairs lfw --fit 12",
    "input_pipeline.py": "faces --records 300 --scratch scratch --pictures 64 --rounds 1 --workers 1",
    "input_pipeline.py --folder": "faces --records 300 --scratch links --pictures 64 --rounds 1 --workers 1",
    "linear_faces.py": "album -o linear --people 2 --epochs 1 --backbone test_resnet --image-size 32",
    "mining.py": "--pictures 60 --dim 8 --people 10 --anchors 10 --loop-anchors 5 --candidates 5 --rounds 1",
    "open_set.py": "lfw/images",
    "precision.py": "lfw/images",
    "prepare.py": "lfw/images --rounds 1",
    "pretrain.py": "faces --batch 4 --size 32 --steps 1 --rounds 1 --without-lightly --device cpu",
    "recipe.py": "lfw faces -o runs --budget 1s --only simclr-faces",
    "search.py": "--faces 200 --dim 8 --rounds 1",
    "slower_machine.py": "rates faces --backbones test_resnet --steps 1 --batch-size 4",
    "startup.py": "lfw/images/person_0/person_0_0001.jpg lfw/images/person_1/person_1_0001.jpg --rounds 1",
    "students.py": "resnet10t@32 --batch-size 2 --rounds 1 --threads 1",
    "tsne.py": "--faces 40 --dim 8",
    "weeks.py": "lfw/images --scratch weeks --named 1",
    "transfer.py": "album -o transfer --people 2 --epochs 1 --backbone test_resnet --image-size 32",
    "views.py": "faces --count 3",
}
LONG = {
    "clean.py --link", "input_pipeline.py --folder",
    "adapted_domain.py", "backbones.py", "clean.py", "cluster.py", "cluster.py methods", "embed.py", "embed.py size",
    "fine_tuning.py", "fine_tuning_layer.py",
    "input_pipeline.py", "linear_faces.py", "mining.py", "prepare.py", "pretrain.py", "recipe.py",
    "slower_machine.py", "students.py", "transfer.py", "tsne.py",
}  # fmt: skip
"""Scripts that start several processes, each of which imports PyTorch or all of faceclr."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people in LFW's layout, with lists of pairs and their faces, and four people with ten pictures each."""
    place = tmp_path_factory.mktemp("place")
    for person in range(6):
        folder = place / "lfw" / "images" / f"person_{person}"
        folder.mkdir(parents=True)
        for number in range(1, 2 if person > 3 else 4):
            image = draw_photo(invent_person(person), number).image
            cv2.imwrite(str(folder / f"person_{person}_{number:04d}.jpg"), image[..., ::-1])
    for name, (a, b) in {"pairsDevTrain.txt": (0, 1), "pairsDevTest.txt": (2, 3)}.items():
        lines = [
            "2",
            *(f"person_{who}\t1\t2" for who in (a, b)),
            *(f"person_{a}\t{n}\tperson_{b}\t{n}" for n in (1, 2)),
        ]
        (place / "lfw" / name).write_text("\n".join(lines) + "\n")
    prepare(PrepareConfig(source=place / "lfw" / "images", out=place / "faces", workers=1), Silent())
    write_people(place / "portraits", people=4, photos=10, seed=1, reporter=Silent())
    prepare(PrepareConfig(source=place / "portraits", out=place / "album", workers=1), Silent())
    (place / "scratch").mkdir()
    return place


def test_each_script_has_a_run() -> None:
    assert {path.name for path in SCRIPTS.glob("*.py")} == {name.split()[0] for name in RUNS} | PARTS


@pytest.mark.parametrize("script", sorted((PARTS | {name.split()[0] for name in RUNS}) - NEEDS_LIGHTLY))
def test_it_can_be_imported_and_has_a_description(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    assert runpy.run_path(str(SCRIPTS / script), run_name="imported")["__doc__"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if name in LONG else ()) for name in RUNS]
)
def test_it_runs_to_its_end(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS.parent))
    script, *command = name.split()
    done = run_script(SCRIPTS / script, *command, *RUNS[name].split(), cwd=place)
    assert done.returncode == 0, done.stderr
    assert any(character.isdigit() for character in done.stdout), done.stdout
