"""Where measured thresholds are stored, and which commands use them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.embeddings.store import Store, read_store, write_store
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, LockedError, ModelError
from faceclr_cli.core.evaluation.verification import verify
from faceclr_cli.core.events import Silent
from tests.core.evaluation.calibration.calibrating import calibrate, make_desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def toy(desk: Path, tmp_path: Path) -> Path:
    """A copy of the encoder, without a threshold."""
    shutil.copytree(desk / "toy", tmp_path / "toy")
    return tmp_path / "toy"


@pytest.fixture(scope="module")
def store(desk: Path) -> Store:
    return read_store(desk / "faces.h5")


@pytest.mark.parametrize("inside", [False, True])
def test_an_encoder_keeps_them_and_nothing_else_of_it_changes(inside: bool, desk: Path, toy: Path) -> None:
    description = toy / "encoder" / "encoder.json"
    before, weights = json.loads(description.read_text()), (toy / "encoder" / "weights.safetensors").read_bytes()
    model = toy / "encoder" if inside else toy
    result = calibrate(model, embeddings=desk / "faces.h5")
    after = json.loads(description.read_text())
    assert before.pop("calibration") is None
    assert after.pop("calibration") == result.calibration.to_json()
    assert after == before
    assert (toy / "encoder" / "weights.safetensors").read_bytes() == weights
    assert sorted(path.name for path in (toy / "encoder").iterdir()) == ["encoder.json", "weights.safetensors"]
    assert (result.encoder, result.out) == ("toy", description)
    assert load_encoder(str(toy)).calibration == result.calibration
    # New thresholds replace the former ones.
    again = calibrate(model, embeddings=desk / "faces.h5", far=(0.1,))
    assert [point.far for point in load_encoder(str(toy)).calibration.points] == [0.1]
    assert again.calibration.points[0].threshold < result.calibration.points[0].threshold


def test_verify_goes_by_them(desk: Path, toy: Path) -> None:
    photos = (desk / "people" / "person-01" / "01.jpg", desk / "people" / "person-02" / "01.jpg")
    result = calibrate(toy, embeddings=desk / "faces.h5", far=(0.02, 0.1, 0.02))
    strict, lax = result.calibration.at(0.02), result.calibration.at(0.1)
    assert len(result.calibration.points) == 2
    usual = verify.verify(VerifyConfig(photos=photos, model=str(toy)), Silent())
    chosen = verify.verify(VerifyConfig(photos=photos, model=str(toy), far=0.1), Silent())
    assert isinstance(usual, verify.VerifyResult) and isinstance(chosen, verify.VerifyResult)
    assert (usual.far, usual.threshold) == (0.02, strict.threshold)
    assert (chosen.far, chosen.threshold) == (0.1, lax.threshold)
    assert chosen.same == (chosen.similarity >= lax.threshold)
    assert "1 in 10 pairs of different people" in chosen.meaning and "576 of two people" in (chosen.source or "")
    assert usual.probability is not None
    with pytest.raises(
        ConfigError, match=r"no threshold for a FAR.*only for 0\.1, 0\.02; run faceclr calibrate --far 0\.001"
    ):
        verify.verify(VerifyConfig(photos=photos, model=str(toy), far=0.001), Silent())


def test_what_cannot_keep_thresholds_needs_a_file_for_them(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.onnx").touch()
    for model, reason in (("pixels", "built-in"), (tmp_path / "toy.onnx", "not an encoder folder")):
        with pytest.raises(ConfigError, match=rf"{reason}.*-o FILE"):
            calibrate(model, root=desk / "people")
    with pytest.raises(ModelError, match="no such folder"):
        calibrate(tmp_path / "gone", root=desk / "people")


def test_a_file_of_thresholds_serves_verify(desk: Path, toy: Path, tmp_path: Path) -> None:
    photos = (desk / "people" / "person-01" / "01.jpg", desk / "people" / "person-01" / "02.jpg")
    result = calibrate("pixels", root=desk / "people", out=tmp_path / "new" / "mine.json", seed=7)
    content = json.loads((tmp_path / "new" / "mine.json").read_text())
    assert (content["encoder"], content["config"]["seed"]) == ("pixels", 7)
    verdict = verify.verify(
        VerifyConfig(photos=photos, model="pixels", calibration=tmp_path / "new" / "mine.json"), Silent()
    )
    assert isinstance(verdict, verify.VerifyResult)
    assert verdict.threshold == result.calibration.default_point.threshold
    with pytest.raises(ModelError, match="of the encoder pixels, not of toy"):
        verify.verify(VerifyConfig(photos=photos, model=str(toy), calibration=tmp_path / "new" / "mine.json"), Silent())
    # With -o, an encoder that could store them is not changed.
    calibrate(toy, embeddings=desk / "faces.h5", out=tmp_path / "toy.json")
    assert load_encoder(str(toy)).calibration is None


@pytest.mark.parametrize("model", ["toy", "toy/encoder"])
def test_a_run_that_is_being_trained_is_left_alone(model: str, desk: Path, toy: Path) -> None:
    before = (toy / "encoder" / "encoder.json").read_bytes()
    with exclusive(toy), pytest.raises(LockedError) as caught:
        calibrate(toy.parent / model, embeddings=desk / "faces.h5")
    assert caught.value.exit_code == 75
    assert (toy / "encoder" / "encoder.json").read_bytes() == before
    calibrate(toy.parent / model, embeddings=desk / "faces.h5")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_former_encoder(
    step: str, desk: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(toy, embeddings=desk / "faces.h5", far=(0.1,))
    before = (toy / "encoder" / "encoder.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(OSError, match="No space left"):
            calibrate(toy, embeddings=desk / "faces.h5")
    assert (toy / "encoder" / "encoder.json").read_bytes() == before
    assert sorted(path.name for path in (toy / "encoder").iterdir()) == ["encoder.json", "weights.safetensors"]


def test_a_run_killed_while_it_writes_leaves_the_former_encoder(desk: Path, toy: Path) -> None:
    before = (toy / "encoder" / "encoder.json").read_bytes()
    code = (
        "import os, signal, sys\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from faceclr_cli.__main__ import main\n"
        f"sys.argv = ['faceclr', 'calibrate', '-m', {str(toy)!r}, '--all-pairs', '--embeddings']\n"
        f"sys.argv += [{str(desk / 'faces.h5')!r}, '--far', '0.1', '--rounds', '100']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (toy / "encoder" / "encoder.json").read_bytes() == before
    calibrate(toy, embeddings=desk / "faces.h5")  # Its lock ended with it.


def test_at_the_command_line(desk: Path, store: Store, toy: Path, tmp_path: Path) -> None:
    def faceclr(*line: object) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, ["calibrate", *map(str, line)])
        return done.exit_code, done.stdout, done.stderr

    faces = ("--embeddings", desk / "faces.h5", "--all-pairs", "--far", "0.1", "--far", "0.02", "--rounds", 100)
    code, shown, _ = faceclr("--model", toy, *faces)
    points = load_encoder(str(toy)).calibration.points
    assert code == 0
    for word in ("FAR", "95% interval", "TAR", "36 of 9 people", "54 genuine, 576 impostor", "encoder.json"):
        assert word in shown
    for point in points:
        assert f"{point.threshold:.4f}" in shown
    assert f"{points[0].low:.4f} to {points[0].high:.4f}" in shown and "too few people" in shown
    code, printed, _ = faceclr("--model", toy, *faces, "--json")
    content = json.loads(printed)
    assert (content["encoder"], content["people"], content["failures"]) == ("toy", 9, [])
    assert [(p["far"], p["threshold"]) for p in content["calibration"]["points"]] == [
        (0.1, points[0].threshold),
        (0.02, points[1].threshold),
    ]
    write_store(tmp_path / "few.h5", store.take(range(12)))
    few = ("--embeddings", tmp_path / "few.h5", "--all-pairs")
    for expected, line in (
        (2, ("--model", "sface", *few)),
        (2, ("--model", toy, "--all-pairs")),
        (3, ("--model", toy, *few)),
        (4, ("--model", "sface", *few, "-o", tmp_path / "any.json")),
    ):
        code, printed, message = faceclr(*line)
        assert (code, printed) == (expected, "")
        assert message.splitlines()[0].startswith("error: ")
