"""Descriptions of artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.info import InfoConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.splitting.split import split
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.events import Silent
from faceclr_cli.core.upkeep.info import InfoResult
from faceclr_cli.core.upkeep.info import info as run
from tests.core.training.toy import make_faces, pretrain


def info(path: Path) -> InfoResult:
    return run(InfoConfig(path=path), Silent())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, a split of them, a run on them and a store."""
    place = tmp_path_factory.mktemp("place")
    faces = make_faces(place / "faces", 4, 4)
    split(SplitConfig(faces=faces, out=place / "splits", train=0.5, val=0.25, test=0.25), Silent())
    pretrain(faces, place / "run", epochs=1)
    embed(EmbedConfig(faces=faces, model=str(place / "run"), out=place / "faces.h5", half=True), Silent())
    return place


def test_groups_of_faces(place: Path) -> None:
    options = {"threshold": 0.5, "out": place / "groups"}
    made = cluster(ClusterConfig(source=place / "faces.h5", faces=place / "faces", **options), Silent())
    found = info(place / "groups")
    assert (found.kind, found.about["groups"], found.about["faces"]) == ("groups", len(made.groups), 16)
    assert found.about["method"] == "agglomerative"


def test_a_classifier(place: Path) -> None:
    path = place / "known"
    path.mkdir()
    (path / "classifier.json").write_text('{"kind": "classifier", "people": ["ann", "bob"], "dim": 8, "flip": false}')
    found = info(path)
    assert (found.kind, found.about["people"], found.about["dim"]) == ("classifier", 2, 8)
    (path / "classifier.json").write_text("{}")
    with pytest.raises(DataError, match="does not describe a classifier"):
        info(path)


def test_faces(place: Path) -> None:
    found = info(place / "faces")
    assert (found.kind, found.about["faces"], found.about["people"]) == ("faces", 16, 4)
    assert found.about["fingerprint"]["template"] == "toy"


def test_a_split_and_its_parts(place: Path) -> None:
    found = info(place / "splits")
    assert found.kind == "split"
    assert found.about["parts"]["train"] == {"faces": 8, "people": 2}
    assert info(place / "splits" / "test").kind == "faces"


def test_a_split_by_the_sources_own_parts_says_so(tmp_path: Path) -> None:
    said = {"kind": "split", "parts": {}, "config": {"by": "identity", "official": True}}
    (tmp_path / "split.json").write_text(json.dumps(said))
    assert info(tmp_path).about["by"] == "official"


def test_a_run_and_its_encoder(place: Path) -> None:
    found = info(place / "run")
    assert (found.kind, found.about["command"], found.about["epochs"]) == ("run", "pretrain", 1)
    assert found.about["last_epoch"]["loss"] > 0
    encoder = info(place / "run" / "encoder")
    assert encoder.kind == "encoder"
    assert found.about["encoder"] == encoder.about
    assert encoder.about["architecture"]["embedding_dim"] == 32
    assert encoder.about["exported"] is False


def test_a_store(place: Path) -> None:
    found = info(place / "faces.h5").to_json()
    assert (found["kind"], found["faces"], found["people"], found["dim"]) == ("embeddings", 16, 4, 32)
    assert (found["numbers"], found["encoder"]) == ("float16", "run")
    assert found["encoder_digest"] == info(place / "run" / "encoder").about["digest"]


@pytest.mark.parametrize("name", ["faces", "splits", "run", "run/encoder", "faces.h5"])
def test_the_command_line_says_it_in_words_and_in_json(name: str, place: Path) -> None:
    said = CliRunner().invoke(app, ["info", str(place / name)])
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("kind")
    assert "None" not in said.stdout
    assert json.loads(CliRunner().invoke(app, ["info", str(place / name), "--json"]).stdout)["kind"] in said.stdout


def test_what_is_not_ours_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match=r"not faces, a split, .* or a container of pictures"):
            info(path)
    with pytest.raises(DataError, match="no such file"):
        info(tmp_path / "gone")


def test_damage_is_one_line(place: Path, tmp_path: Path) -> None:
    (tmp_path / "faces.h5").write_bytes((place / "faces.h5").read_bytes()[:3000])
    with pytest.raises(DataError, match="damaged"):
        info(tmp_path / "faces.h5")
    (tmp_path / "encoder.json").write_text("{")
    with pytest.raises(ModelError):
        info(tmp_path)
