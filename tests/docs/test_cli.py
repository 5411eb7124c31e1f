"""The reference is up to date."""

from __future__ import annotations

from pathlib import Path

from docs.cli import reference


def test_the_reference_is_what_help_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text(encoding="utf-8") == reference(), "run python docs/cli.py"
