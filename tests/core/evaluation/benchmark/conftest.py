from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.evaluation.benchmark.bin_export import write_benchmark_bin
from faceclr_cli.core.events import Silent
from tests.core.evaluation.benchmark.benchmarking import write_pairs
from tests.core.evaluation.calibration.calibrating import make_desk


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of drawn people and their faces, each with pairs, the same as a .bin file, and an encoder `toy`."""
    desk = make_desk(tmp_path_factory.mktemp("desk"))
    write_pairs(desk / "people" / "pairs.csv", desk / "people")
    (desk / "faces" / "pairs.csv").write_text((desk / "people" / "pairs.csv").read_text())
    (desk / "bins").mkdir()
    write_benchmark_bin(BenchmarkConfig(sets=(desk / "people",), write_bin=desk / "bins" / "drawn.bin"), Silent())
    return desk


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
