"""An encoder whose training diverged: every command that would compare its embeddings reports an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import save_encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from tests.core.encoders.toy_graph import SIDE, graph, write_toy

COMPLAINT = "produced NaN or infinite embeddings; training probably diverged"


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two encoders, by the engine that runs them."""
    folder = tmp_path_factory.mktemp("diverged")
    network = EncoderNetwork(Architecture(backbone="test_convnext", embedding_dim=3, image_size=32))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(torch.nan)
    card = Card(command="pretrain", config={}, data="train", pictures=3, people={})
    save_encoder(folder / "run" / "encoder", network, default_fingerprint(), card=card)
    nodes = [
        helper.make_node("Sub", ["unit", "unit"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["embeddings"]),
    ]
    return {
        "torch": str(folder / "run"),
        "onnx": str(write_toy(folder / "toy.onnx", graph(*nodes, result="unit"))),
    }


@pytest.mark.parametrize("runs", ["torch", "onnx"])
def test_its_embeddings_are_an_error_whatever_runs_it(runs: str, diverged: dict[str, str]) -> None:
    encoder = load_encoder(diverged[runs], "cpu")
    with pytest.raises(ModelError, match=f": {COMPLAINT}$"):
        encoder.embed(np.zeros((2, SIDE, SIDE, 3), np.uint8))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of three people, and pairs of them."""
    folder = tmp_path_factory.mktemp("people")
    write_people(folder / "photos", people=3, photos=3, seed=0, reporter=Silent())
    photos = sorted(path.relative_to(folder / "photos") for path in (folder / "photos").glob("*/*"))
    lines = [f"{a},{b},{int(a.parent == b.parent)}" for a in photos for b in photos if a < b]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "verify PHOTO OTHER --threshold 0.5",
        "verify PHOTO OTHER --threshold 0.5 --json",
        "verify --pairs PAIRS --root PHOTOS --threshold 0.5",
        "verify --pairs PAIRS --root PHOTOS --protocol lfw",
        "calibrate --pairs PAIRS --root PHOTOS -o OUT.json",
        "embed PHOTOS -o OUT.h5",
        "identify PHOTOS --gallery PHOTOS --threshold 0.5",
        "cluster PHOTOS --threshold 0.5",
    ],
)
def test_every_command_ends_with_exit_4_and_the_reason(
    command: str, people: Path, diverged: dict[str, str], tmp_path: Path
) -> None:
    photo, other, *_ = sorted((people / "photos").glob("*/*"))
    places = {"PHOTOS": people / "photos", "PHOTO": photo, "OTHER": other, "PAIRS": people / "pairs.csv"}
    arguments = [str(places.get(word, word.replace("OUT", str(tmp_path / "out")))) for word in command.split()]
    done = CliRunner().invoke(app, [*arguments, "--model", diverged["onnx"]])
    assert done.exit_code == 4, done.output
    assert COMPLAINT in done.stderr
    assert list(tmp_path.glob("out*")) == []
