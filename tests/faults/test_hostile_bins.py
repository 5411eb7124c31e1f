"""A hostile `.bin` file is refused in one line: it runs nothing, and takes no more memory than a sound one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.insightface_bin import InsightfaceBin
from tests.faults.hostile_bins import hostile_bins, write_sparse

LIMIT = 1 << 30
NAMES = sorted(hostile_bins(Path("marker")))

_READ_ALL = f"""
import resource, sys
from pathlib import Path
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.insightface_bin import InsightfaceBin
resource.setrlimit(resource.RLIMIT_AS, ({LIMIT}, {LIMIT}))
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        InsightfaceBin(path)
    except DataError:
        continue
    sys.exit(f"{{path}} was read")
"""


def test_there_are_forty() -> None:
    assert len(NAMES) >= 40


@pytest.mark.parametrize("name", NAMES)
def test_each_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "set.bin").write_bytes(hostile_bins(marker)[name])
    with pytest.raises(DataError) as refused:
        InsightfaceBin(tmp_path / "set.bin")
    assert str(refused.value).startswith(f"{tmp_path / 'set.bin'}: not a .bin file of pairs (")
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 300 + len(str(tmp_path))
    assert not marker.exists()


def test_all_fit_in_little_memory(tmp_path: Path) -> None:
    for number, data in enumerate(hostile_bins(tmp_path / "marker").values()):
        (tmp_path / f"{number}.bin").write_bytes(data)
    write_sparse(tmp_path / "sparse.bin")
    done = subprocess.run([sys.executable, "-c", _READ_ALL, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        InsightfaceBin(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        InsightfaceBin(tmp_path / "missing.bin")
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(DataError, match="cannot be read"):
        InsightfaceBin(tmp_path / "pipe.bin")
