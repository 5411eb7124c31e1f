"""Outputs in a folder that cannot be written: one error, which names the file that was asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from tests.core.embeddings.test_part_workers import faces

__all__ = ["faces"]  # The fixture.

pytestmark = pytest.mark.slow


def run(line: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*line.split(), "--quiet"])
    return done.exit_code, done.stderr


@pytest.fixture
def read_only(small_disk: tuple[Path, Callable[[int], None]], faces: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a disk that cannot be written, also by root. In the working directory are faces and their store."""
    folder, _ = small_disk
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    monkeypatch.chdir(faces.parent)
    assert run("embed faces -m pixels -o faces.h5")[0] == 0
    return folder


@pytest.mark.parametrize("below", ["", "new/folder/"])
def test_the_error_names_the_output(read_only: Path, below: str) -> None:
    for line in (
        "embed faces -m pixels -o {}faces.h5",
        "embed faces -m pixels -o {}faces.jsonl",
        "embed faces -m pixels -o {}faces.csv",
        "embed faces -m pixels -o {}faces.npz",
        "embed faces -m pixels -o {}faces.parquet",
        "prepare faces --detector none -o {}prepared",
        "split faces -o {}splits",
        "pack faces -o {}faces.rec",
        "pack faces -o {}faces-%06d.tar",
        "pack faces -o {}faces.parquet",
        "tsne faces.h5 --method pca -o {}map.png",
        "tsne faces.h5 --method pca -o {}map.html",
        "pretrain faces --backbone test_resnet --image-size 32 --epochs 0 --precision 32 -o {}run",
    ):
        line = line.format(f"{read_only}/{below}")
        code, error = run(line)
        assert code == 3, (line, error)
        reason, start = "Read-only file system", f"error: {line.split()[-1]}: "
        assert error in (f"{start}cannot be written ({reason})\n", f"{start}{reason}\n"), line


def test_the_disk_is_full(read_only: Path, small_disk: tuple[Path, Callable[[int], None]]) -> None:
    folder, resize = small_disk
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    resize(8)
    for line in (
        "embed faces -m pixels -o {}/faces.jsonl",
        "pack faces -o {}/faces.rec",
        "pack faces -o {}/faces.parquet",
        "tsne faces.h5 --method pca -o {}/map.png",
        "tsne faces.h5 --method pca -o {}/map.html",
    ):
        line = line.format(folder)
        code, error = run(line)
        assert (code, error) == (3, f"error: {line.split()[-1]}: cannot be written (No space left on device)\n"), line
        assert os.listdir(folder) == [], line
