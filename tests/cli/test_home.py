"""What commands leave in the home folder, and a home folder that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.embeddings.test_part_workers import faces

__all__ = ["faces"]  # The fixture.

pytestmark = pytest.mark.slow


def run(line: str, place: Path, home: Path) -> tuple[int, str]:
    ours = ("FACECLR_CACHE", "MPLCONFIGDIR", "ORT_DISABLE_TELEMETRY")
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("XDG_")}
    command = [sys.executable, "-m", "faceclr_cli", *line.split(), "--quiet"]
    done = subprocess.run(command, cwd=place, env={**kept, "HOME": str(home)}, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_only_caches_are_left_in_it(faces: Path, tmp_path: Path) -> None:
    """ONNX Runtime has usage data to send, for which it would leave an id of the device."""
    home = tmp_path / "home"
    home.mkdir()
    assert run("embed faces -o faces.h5", tmp_path, home) == (0, "")
    assert run("tsne faces.h5 --method pca -o map.png", tmp_path, home) == (0, "")
    files = {path.relative_to(home) for path in home.rglob("*") if path.is_file()}
    assert {path.parts[:2] for path in files} <= {(".cache", "faceclr"), (".cache", "matplotlib")}


def test_it_need_not_be_writable(faces: Path, tmp_path: Path) -> None:
    home = Path("/proc/nowhere")
    assert run("embed faces -o faces.h5", tmp_path, home) == (0, "")
    assert run("tsne faces.h5 --method pca -o map.png", tmp_path, home) == (0, "")
    assert (tmp_path / "map.png").is_file()
