"""A store with any file name is a store for every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    write_people(root / "people", people=4, photos=6, seed=0, reporter=Silent())
    result = CliRunner().invoke(app, ["embed", str(root / "people"), "-m", "sface", "-o", str(root / "x.emb"), "-q"])
    assert result.exit_code == 0, result.output
    return root


@pytest.mark.parametrize(
    "command",
    [
        "info x.emb",
        "verify --embeddings x.emb --all-pairs",
        "linear-eval x.emb",
        "cluster x.emb --threshold 0.5",
        "tsne x.emb --method pca -o map.svg",
        "identify people/person-01/01.jpg --gallery x.emb",
    ],
)
def test_each_command_takes_it(place: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    result = CliRunner().invoke(app, [*command.split(), "--json"])
    assert result.exit_code == 0, result.output
