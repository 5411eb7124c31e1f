"""docs/architecture.md names files and folders that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_files_exist() -> None:
    files = {str(path) for folder in ("faceclr_cli", "tests", "docs") for path in (ROOT / folder).rglob("*.*")}
    named = set(re.findall(r"`([\w/]+\.pyi?)`", TEXT))
    assert len(named) > 40
    assert not [name for name in sorted(named) if not any(file.endswith(f"/{name}") for file in files)]


def test_packages_are_those_of_the_core() -> None:
    drawn = TEXT.split("core/ ")[1].split("\n\n")[0]
    packages = {path.name for path in (ROOT / "faceclr_cli" / "core").iterdir() if path.is_dir()} - {"__pycache__"}
    assert set(re.findall(r"^        (\w+)/", drawn, re.MULTILINE)) == packages
