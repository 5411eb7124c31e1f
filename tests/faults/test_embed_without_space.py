"""`embed` on a full disk: one error that says where, and no loss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.embeddings.store import read_store
from tests.core.embeddings.test_part_workers import draw, faces

__all__ = ["faces"]  # The fixture.


def embed(place: Path, faces: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faceclr_cli", "embed", str(faces), "-m", "pixels", "-o", "faces.h5", "--quiet"]
    return subprocess.run(command, cwd=place, capture_output=True, text=True)


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_no_loss(faces: Path, small_disk: tuple[Path, Callable[[int], None]]) -> None:
    """Full before the part is written, within it, and as the parts are joined."""
    folder, resize = small_disk
    resize(10_000)
    assert embed(folder, faces).returncode == 0
    old = read_store(folder / "faces.h5")
    for number in range(20, 40):
        draw(faces / "person-9" / f"{number}.png", number)
    size = (folder / "faces.h5").stat().st_size // 1024
    for more in (8, size // 2, 2 * size + 100):
        resize(size + more)
        done = embed(folder, faces)
        assert done.returncode == 3, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: faces.h5")
        assert line.endswith("cannot be written (No space left on device)")
        assert np.array_equal(read_store(folder / "faces.h5").embeddings, old.embeddings)
        assert not list(folder.rglob(".*"))
    resize(10_000)
    assert embed(folder, faces).returncode == 0
    assert len(read_store(folder / "faces.h5")) == 40
