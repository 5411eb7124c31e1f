from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person, write_people
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.evaluation.importing.import_encoder import ImportResult, import_encoder
from faceclr_cli.core.evaluation.importing.preprocessing_candidates import TEMPLATES
from faceclr_cli.core.events import Event, Notice, Silent
from tests.core.evaluation.importing.foreign_files import EACH, IMAGENET, PEOPLE, Trained, untrained, write_model

UNIT, RAW = {"mean": (0.0,), "std": (255.0,)}, {"mean": (0.0,), "std": (1.0,)}
PHOTO = {"mean": IMAGENET[0], "std": IMAGENET[1]}
BYTES = {**RAW, "element": TensorProto.UINT8}
ALONE = {"batch": 1, "through_a_vector": True, "reshape_to_one": True}

FILES: dict[str, tuple[dict[str, Any], str, str]] = {
    "rgb": ({}, "rgb", "127.5"),
    "bgr": ({"bgr": True}, "bgr", "127.5"),
    "rgb 128": ({"std": (128.0,)}, "rgb", "127.5"),  # the embeddings are the same
    "rgb 0-1": (UNIT, "rgb", "255"),
    "bgr 0-1 in NHWC": ({**UNIT, "bgr": True, "nhwc": True}, "bgr", "255"),
    "rgb ImageNet": (PHOTO, "rgb", "imagenet"),
    "bgr ImageNet, normalized output": ({**PHOTO, "bgr": True, "normalized": True}, "bgr", "imagenet"),
    "rgb 0-255, normalization inside": (RAW, "rgb", "none"),
    "bgr 0-255 in NHWC, normalization inside": ({**RAW, "bgr": True, "nhwc": True}, "bgr", "none"),
    "rgb bytes in NHWC": ({**BYTES, "nhwc": True}, "rgb", "none"),
    "bgr bytes": ({**BYTES, "bgr": True}, "bgr", "none"),
    "float16": ({"element": TensorProto.FLOAT16}, "rgb", "127.5"),
    "one picture, rows by a constant": ({"batch": 1, "reshape_to_one": True}, "rgb", "127.5"),
    "one picture and no more, bgr": ({**ALONE, "bgr": True}, "bgr", "127.5"),
    "maps of one pixel, more outputs": ({**UNIT, "maps": True, "extra_outputs": True}, "rgb", "255"),
}


class Listening:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event)


def run(source: Path, out: Path, reporter: Listening | None = None, **options: Any) -> ImportResult:
    return import_encoder(ImportConfig(source=str(source), out=out, **options), reporter or Silent())


@pytest.mark.parametrize("name", FILES)
def test_the_preprocessing_of_any_file_is_found(name: str, trained: Trained, tmp_path: Path) -> None:
    options, color, scale = FILES[name]
    source = write_model(tmp_path / "theirs.onnx", trained, **options)
    result = run(source, tmp_path / "ours", faces=trained.faces)
    assert (result.color, result.scale, result.template) == (color, scale, "arcface")
    assert result.evidence["color"] == "measured"
    encoder = load_encoder(str(tmp_path / "ours"))
    for count in (1, 7, len(trained.crops)):
        crops = trained.crops[:count]
        assert np.sum(encoder.embed(crops) * trained.embed(crops), axis=1).min() >= 0.999


def test_the_report_is_a_table_and_the_folder_says_where_it_comes_from(trained: Trained, tmp_path: Path) -> None:
    source = write_model(tmp_path / "theirs.onnx", trained, bgr=True)
    words = ["import", str(source), "--faces", str(trained.faces), "-o", str(tmp_path / "ours"), "--license", "MIT"]
    done = CliRunner().invoke(app, [*words, "--url", "https://example.org/theirs.onnx"])
    assert done.exit_code == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    rows = [line for line in lines if line[:1] in (["rgb"], ["bgr"])]
    assert rows[0][:3] == ["bgr", "127.5", "120"]
    assert {(row[0], row[1]) for row in rows} == {
        (color, scale) for color in ("rgb", "bgr") for scale in ("127.5", "128", "255", "imagenet", "none")
    }
    assert ["bgr", "128"] in [row[:2] for row in rows if row[-2:] == ["the", "same"]]
    assert ["color", "bgr", "(measured)"] in lines
    said = json.loads((tmp_path / "ours" / "encoder.json").read_text())
    assert said["source"] == {
        "file": "theirs.onnx",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "url": "https://example.org/theirs.onnx",
        "revision": None,
        "license": "MIT",
        "evidence": {"color": "measured", "scale": "measured", "template": "faces"},
    }
    # 26 people are 325 pairs of people, enough for the threshold of a FAR of 0.01.
    assert [point["far"] for point in said["calibration"]["points"]] == [0.01]
    assert load_encoder(str(tmp_path / "ours")).calibration is not None


def test_a_wrong_color_is_believed_and_reported(trained: Trained, tmp_path: Path) -> None:
    source, heard = write_model(tmp_path / "theirs.onnx", trained), Listening()
    result = run(source, tmp_path / "ours", heard, faces=trained.faces, color="bgr", scale="127.5")
    assert (result.color, result.evidence["color"]) == ("bgr", "stated")
    (warning,) = [notice.text for notice in heard.notices if notice.level == "warning"]
    assert warning.startswith("--color rgb --scale 127.5 --template arcface separates people better (AUC ")
    assert warning.endswith("which is used because it is stated")
    encoder = load_encoder(str(tmp_path / "ours"))
    swapped = trained.embed(np.ascontiguousarray(trained.crops[..., ::-1]))
    assert np.sum(encoder.embed(trained.crops) * swapped, axis=1).min() >= 0.999


def test_a_right_statement_is_not_questioned(trained: Trained, tmp_path: Path) -> None:
    source, heard = write_model(tmp_path / "theirs.onnx", trained, **UNIT), Listening()
    result = run(source, tmp_path / "ours", heard, faces=trained.faces, color="rgb", scale="255")
    assert (result.color, result.scale) == ("rgb", "255")
    assert [notice.text for notice in heard.notices if notice.level == "warning"] == []


def test_without_faces_the_pixels_must_be_stated(trained: Trained, tmp_path: Path) -> None:
    source = write_model(tmp_path / "theirs.onnx", trained, mean=(131.0, 104.0, 91.0), std=(1.0,))
    with pytest.raises(ConfigError, match=r"give --faces DIR, .*, or --color and --scale"):
        run(source, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    result = run(source, tmp_path / "ours", color="rgb", scale="131,104,91/1")
    assert result.evidence == {"color": "stated", "scale": "stated", "template": "assumed"}
    rows = load_encoder(str(tmp_path / "ours")).embed(trained.crops)
    assert np.sum(rows * trained.embed(trained.crops), axis=1).min() >= 0.999


@pytest.mark.parametrize(("range_", "options"), [("Normalized_0_1", UNIT), ("NominalRange_0_255", RAW)])
def test_what_the_file_says_needs_no_faces(
    range_: str, options: dict[str, Any], trained: Trained, tmp_path: Path
) -> None:
    metadata = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": range_}
    source = write_model(tmp_path / "theirs.onnx", trained, bgr=True, metadata=metadata, **options)
    result = run(source, tmp_path / "ours")
    assert (result.color, result.evidence["color"], result.evidence["scale"]) == ("bgr", "file", "file")
    rows = load_encoder(str(tmp_path / "ours")).embed(trained.crops)
    assert np.sum(rows * trained.embed(trained.crops), axis=1).min() >= 0.999
    heard = Listening()
    run(source, tmp_path / "other", heard, color="rgb")
    assert ["--color rgb: " in notice.text and "itself says bgr" in notice.text for notice in heard.notices] == [True]


def test_two_assumptions_within_the_noise_are_not_decided_by_chance(trained: Trained, tmp_path: Path) -> None:
    """Faces without color: the order of the channels cannot be determined."""
    gray = tmp_path / "gray"
    for path in sorted(trained.faces.rglob("*.png")):
        target = gray / path.relative_to(trained.faces)
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    (gray / "faceclr.json").write_bytes((trained.faces / "faceclr.json").read_bytes())
    source = write_model(tmp_path / "theirs.onnx", trained)
    with pytest.raises(ConfigError, match=r"within the noise on 130 faces; give --color, or more people") as caught:
        run(source, tmp_path / "ours", faces=gray)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours").exists()
    assert run(source, tmp_path / "ours", faces=gray, color="rgb").scale == "127.5"


def test_a_network_that_is_no_encoder_is_refused(trained: Trained, tmp_path: Path) -> None:
    source = write_model(tmp_path / "theirs.onnx", untrained())
    with pytest.raises(ModelError, match=r"not a face encoder: on 130 faces it separates people no better \(AUC 0\."):
        run(source, tmp_path / "ours", faces=trained.faces)
    assert not (tmp_path / "ours").exists()


@pytest.fixture(scope="module")
def imported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported encoder in a folder with the faces, and a photograph of two of the people."""
    desk = tmp_path_factory.mktemp("desk")
    source = write_model(desk / "theirs.onnx", trained, bgr=True)
    run(source, desk / "ours", faces=trained.faces)
    (desk / "faces").symlink_to(trained.faces)
    write_people(desk / "people", 2, 2, 0, Silent())
    return desk


COMMANDS = {
    "verify": "verify people/person-01/01.jpg people/person-02/01.jpg --threshold 1 --model ours",
    "embed": "embed faces --model ours -o faces.h5",
    "identify": "identify people/person-01/01.jpg --gallery faces --threshold 0 --model ours",
    "cluster": "cluster faces --model ours --threshold 0.5",
    "linear-eval": "linear-eval faces --model ours",
    "tsne": "tsne faces --model ours -o map.png",
    "calibrate": "calibrate --root faces --all-pairs --model ours --rounds 100",
    "export": "export ours -o exported.onnx",
    "info": "info ours",
    "verify the exported": "verify people/person-01/01.jpg people/person-01/02.jpg --far 0.01 --model exported.onnx",
}


def test_every_command_takes_an_imported_encoder(
    imported: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(imported)
    for name, line in COMMANDS.items():
        done = CliRunner().invoke(app, line.split())
        assert done.exit_code in ((0, 1) if name.startswith("verify") else (0,)), (name, done.stderr)
        assert done.stdout, name
        assert name != "info" or "theirs.onnx" in done.stdout
    rows = load_encoder("exported.onnx").embed(trained.crops)
    assert np.sum(rows * trained.embed(trained.crops), axis=1).min() >= 0.999
    # Importing an export of faceclr gives the same encoder, and needs no options.
    result = run(Path("exported.onnx"), Path("again"), color="rgb")
    assert (result.scale, result.evidence["scale"]) == ("none", "file")
    again = load_encoder("again").embed(trained.crops)
    assert np.sum(rows * again, axis=1).min() >= 0.9999


@pytest.mark.parametrize("command", ["pretrain", "train-center", "train-triplet"])
def test_a_graph_cannot_be_trained(command: str, imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(imported)
    done = CliRunner().invoke(app, [command, "faces", "--init", "ours", "-o", "run", "--epochs", "1"])
    assert done.exit_code == 4, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "ours: was imported as an ONNX graph, which cannot be trained" in line
    assert not Path("run", "encoder").exists()


def test_an_output_that_is_something_else_is_not_replaced(trained: Trained, tmp_path: Path) -> None:
    source = write_model(tmp_path / "theirs.onnx", trained)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(ConfigError, match="exists, and is not an encoder folder"):
        run(source, tmp_path / "photos", color="rgb", scale="127.5")
    run(source, tmp_path / "ours", color="rgb", scale="127.5")
    run(source, tmp_path / "ours", color="bgr", scale="127.5")
    assert load_encoder(str(tmp_path / "ours")).fingerprint.channels == "bgr"


@pytest.mark.nightly
def test_on_photographs_the_alignment_is_found(trained: Trained, tmp_path: Path) -> None:
    for person in range(PEOPLE):
        folder = tmp_path / "people" / f"person-{person:02}"
        folder.mkdir(parents=True)
        for number in range(EACH):
            image = draw_photo(invent_person(person + 1), number).image
            cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
    source = write_model(tmp_path / "theirs.onnx", trained, bgr=True)
    # The detector aligns them less well than in training, where ImageNet's scale is nearly as good.
    result = run(source, tmp_path / "ours", faces=tmp_path / "people", scale="127.5")
    assert (result.color, result.scale, result.template) == ("bgr", "127.5", "arcface")
    assert result.evidence["template"] == "measured"
    assert {each.assumption.template for each in result.templates} == set(TEMPLATES)
    heard = Listening()
    result = run(
        source, tmp_path / "box", heard, faces=tmp_path / "people", color="bgr", scale="127.5", template="box 0.3"
    )
    assert result.template == "box 0.3"
    warnings = [notice.text for notice in heard.notices if notice.level == "warning"]
    assert any("--template arcface separates people better" in text for text in warnings)
    assert load_encoder(str(tmp_path / "box")).fingerprint.template == "box 0.3"
