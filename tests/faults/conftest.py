from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.drawn import write_people


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `photos`: 60 drawn ones of 4 people, and 6 broken ones."""
    root = tmp_path_factory.mktemp("prepare")
    write_people(root / "photos", people=4, photos=15, seed=0, reporter=Silent())
    for number in range(6):  # broken ones have their rows too
        (root / "photos" / "person-02" / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(number))
    return root
