from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `photos`: 60 drawn ones of 4 people, and 6 broken ones."""
    root = tmp_path_factory.mktemp("prepare")
    write_people(root / "photos", people=4, photos=15, seed=0, reporter=Silent())
    for number in range(6):  # broken ones have their rows too
        (root / "photos" / "person-02" / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(number))
    return root


@pytest.fixture
def small_disk(place: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A file system of its own, and how to set its size in KiB."""
    folder = place / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a tmpfs may not be mounted here")

    def resize(kibibytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", folder], check=True)

    yield folder, resize
    # Lazily, since Python's own helper of a process that ended may still have it as its working directory.
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()
