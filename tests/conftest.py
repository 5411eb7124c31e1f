from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own: they neither find what the user's holds nor leave anything there."""
    with pytest.MonkeyPatch.context() as patch:
        if "FACECLR_CACHE" not in os.environ:
            patch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
