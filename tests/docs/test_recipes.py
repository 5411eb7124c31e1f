"""The crontab and the timer of docs/recipes.md work as described, in folders of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.events import Silent
from tests.docs.pages import read_page

pytestmark = pytest.mark.slow

PAGE = read_page("recipes.md")
PROGRAMS = Path(sys.executable).parent
# A network as small as can be: what is tried is the job.
SMALL = {
    "BACKBONE": "test_resnet", "IMAGE_SIZE": 32, "EMBEDDING_DIM": 16, "BATCH_SIZE": 8, "EPOCHS": 2, "PRECISION": 32,
}  # fmt: skip


def block_after(words: str, desk: Path) -> list[str]:
    """The lines of the block of code that follows some words, with the folders of this machine."""
    text = PAGE[PAGE.index(words) :]
    (block, *_) = re.findall(r"\n\n((?: {4}.*\n|\n)+)", text)
    for theirs, ours in {"/srv": desk, "/var/cache/faceclr": desk / "cache", "/opt/faceclr/bin": PROGRAMS}.items():
        block = block.replace(theirs, str(ours))
    return [line.removeprefix("    ") for line in block.rstrip().splitlines()]


def by_cron(command: str, variables: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a line as cron would: with the variables of the crontab and no others."""
    small = [f"FACECLR_PRETRAIN_{name}={value}" for name, value in SMALL.items()] if " pretrain " in command else []
    small.append("OMP_NUM_THREADS=1")
    return subprocess.run(
        ["env", "-i", *variables, *small, "/bin/sh", "-c", command],
        cwd="/proc",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    write_people(tmp_path / "photos", people=6, photos=4, seed=2, reporter=Silent())
    return tmp_path


def test_the_crontab_runs_and_leaves_nothing_to_mail(desk: Path) -> None:
    lines = block_after("A crontab:", desk)
    variables = [line for line in lines if re.match(r"[A-Z_]+=", line)]
    nightly, training = (line.split(maxsplit=5)[5] for line in lines if re.match(r"\d", line))
    assert "%" not in nightly + training  # which cron would convert to new lines
    assert (by_cron(nightly, variables).returncode, len(read_store(desk / "faces.h5").paths)) == (0, 24)
    split = f"faceclr split {desk}/faces -o {desk}/splits --train 0.5 --val 0.25 --test 0.25 --quiet"
    assert by_cron(split, variables).returncode == 0
    # The next nights: a photograph was deleted, and the finished run is not started again.
    (desk / "photos" / "person-01" / "01.jpg").unlink()
    for command in (training, nightly, training):
        done = by_cron(command, variables)
        assert (done.returncode, done.stdout) == (0, ""), command
    assert len(read_store(desk / "faces.h5").paths) == 23
    assert len((desk / "run" / "history.csv").read_text().splitlines()) == 1 + SMALL["EPOCHS"]


def test_the_service_runs(desk: Path) -> None:
    service = block_after("`/etc/systemd/system/faces.service`", desk)
    (variable,) = (line.removeprefix("Environment=") for line in service if line.startswith("Environment="))
    for line in service:
        if line.startswith("ExecStart="):
            assert by_cron(line.removeprefix("ExecStart="), [variable]).returncode == 0
    assert len(read_store(desk / "faces.h5").paths) == 24


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong(desk: Path) -> None:
    paths = []
    for name in ("faces.service", "faces.timer"):
        paths.append(desk / name)
        text = "\n".join(block_after(f"`/etc/systemd/system/{name}`", desk))
        paths[-1].write_text(text.replace("User=faceclr", "User=root"))
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "/faces." in line or line.startswith("faces.")]
    assert (done.returncode, said) == (0, [])
