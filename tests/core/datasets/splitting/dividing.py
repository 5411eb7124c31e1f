"""Helpers of several tests of splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.splitting.split import SplitResult
from faceclr_cli.core.datasets.splitting.split import split as run
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing.ledger import Ledger, Row, RowState

Make = Callable[..., Path]
"""Makes a folder of faces whose pictures hold nothing but their names."""


def split(faces: Path, **options: object) -> SplitResult:
    return run(SplitConfig(faces=faces, **options), Silent())  # type: ignore[arg-type]


def members(result: SplitResult) -> dict[str, set[str]]:
    return {part: set(open_faces(result.out / part).paths) for part in result.parts}


class Ear:
    """A reporter that keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice) and event.level == "warning":
            self.warnings.append(event.text)


def split_json(result: SplitResult) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((result.out / "split.json").read_text())
    return content


def write_ledger(faces: Path, parts: dict[str, str | None]) -> None:
    with Ledger.open(faces / "manifest.sqlite", {}) as ledger:
        for path, part in parts.items():
            ledger.add(Row(path=f"photos/{path}", state=RowState.DONE, output=path, part=part))
