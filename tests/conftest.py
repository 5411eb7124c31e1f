from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real photographs for development, which are not part of the project."""
    folder = Path(os.environ.get("FACECLR_TEST_DATA", _BESIDE))
    if not (folder / "photos").is_dir():
        pytest.skip("no real photographs: set FACECLR_TEST_DATA")
    return folder
