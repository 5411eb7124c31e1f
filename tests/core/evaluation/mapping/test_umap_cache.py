"""Packages that an administrator installed, for a user without a home folder."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faceclr_cli.core.embeddings.store import Store, write_store

UMAP = importlib.util.find_spec("umap")


@pytest.mark.nightly
@pytest.mark.parametrize("cache", ["cache", "/proc/nowhere"])
def test_umap_compiles_elsewhere(tmp_path: Path, crowd: Callable[..., Store], cache: str) -> None:
    """In a mount namespace of its own, where the packages are read-only; the cache is a folder, or there is none."""
    assert UMAP is not None and UMAP.origin is not None
    packages = Path(UMAP.origin).parents[1]
    freeze = f"mount --bind '{packages}' '{packages}' && mount -o remount,ro,bind '{packages}'"
    if subprocess.run(["unshare", "-m", "sh", "-c", freeze], capture_output=True).returncode:
        pytest.skip("a mount namespace may not be made here")
    write_store(tmp_path / "faces.h5", crowd(4, 5, 0.1, 16))
    command = f"{freeze} && exec '{sys.executable}' -m faceclr_cli tsne faces.h5 --method umap -o map.png --quiet"
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
    environment = {**unset, "HOME": "/proc/nowhere", "FACECLR_CACHE": cache, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    left = {"faces.h5", "map.png"} | ({cache} if cache == "cache" else set())
    assert {path.name for path in tmp_path.iterdir()} == left
