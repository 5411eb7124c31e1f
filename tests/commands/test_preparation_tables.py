"""The summary of `faceclr prepare` counts one thing in the singular, and films as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.preparation_tables import show_prepared
from faceclr_cli.core.preparing.prepare import PrepareResult


@pytest.mark.parametrize(
    ("photos", "tracks", "faces", "run"),
    [
        (1, 0, "1 of 1 photograph, 1 person", "1 photograph in 8.0 s"),
        (2, 0, "1 of 2 photographs, 1 person", "2 photographs in 8.0 s"),
        (1, 1, "1 in 1 file, 1 person, 1 track in films", "1 file in 8.0 s"),
    ],
)
def test_numbers_agree_with_their_nouns(
    photos: int, tracks: int, faces: str, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = PrepareResult(
        out=Path("faces"),
        ledger=Path("faces/manifest.sqlite"),
        layout="flat",
        photos=photos,
        faces=1,
        people=1,
        tracks=tracks,
        states={"done": photos},
        reasons={},
        processed=photos,
        removed=0,
        seconds=8.0,
    )
    show_prepared(result, Console())
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"faces {faces}" in lines
    assert f"this run {run}" in lines
