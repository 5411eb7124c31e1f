"""Command lines as in scripts and crontabs: in a real shell, with pipes, and with a minimal environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent

pytestmark = pytest.mark.slow

PROGRAMS = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = tmp_path_factory.mktemp("desk")
    write_people(desk / "people", people=3, photos=5, seed=5, reporter=Silent())
    (desk / "people" / "notes of the day.txt").write_text("not a picture")
    return desk


def bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as cron would: no terminal, no home, and a minimal environment."""
    return subprocess.run(
        ["bash", "--norc", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env={"PATH": PROGRAMS, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_from_find_to_rows_of_json(desk: Path) -> None:
    done = bash(
        """
        find people -name '*.jpg' -print0 | faceclr prepare --null - -o faces --quiet
        faceclr embed faces -o - --quiet | tee rows.jsonl | wc -l
        """,
        desk,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "15", "")
    rows = [json.loads(line) for line in (desk / "rows.jsonl").read_text().splitlines()]
    assert {len(row["embedding"]) for row in rows} == {128}


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq here")
def test_jq_reads_what_every_step_prints(desk: Path) -> None:
    (desk / "one.csv").write_text("people/person-01/01.jpg,people/person-01/01.jpg\n")
    done = bash(
        """
        find people -name '*.jpg' -print0 | faceclr prepare --null - -o faces-jq --json --quiet | jq '.faces'
        faceclr embed faces-jq -o - --quiet | jq '.embedding | length' | sort -u
        faceclr verify --pairs - --json --quiet < one.csv | jq '.same'
        """,
        desk,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["15", "128", "true"]


def test_verify_decides_an_if(desk: Path) -> None:
    done = bash(
        """
        cd people/person-01
        if faceclr verify 01.jpg 01.jpg --quiet; then echo same; else echo other $?; fi
        if faceclr verify 01.jpg ../person-02/01.jpg --threshold 0.999 --quiet; then echo same; else echo other $?; fi
        if faceclr verify 01.jpg missing.jpg --quiet 2>/dev/null; then echo same; else echo error $?; fi
        """,
        desk,
    )
    assert (done.returncode, done.stdout.split("\n")[:3]) == (0, ["same", "other 1", "error 3"])
    assert done.stderr == ""


@pytest.mark.parametrize(
    "line", ["embed people -o - --quiet", "verify --pairs pairs.csv --root people --json", "cluster people --json"]
)
def test_a_reader_that_has_seen_enough_ends_it_quietly(line: str, desk: Path) -> None:
    (desk / "pairs.csv").write_text("person-01/01.jpg,person-01/02.jpg\n" * 3000)
    # 141: ended by SIGPIPE, like any program that writes to a closed pipe.
    done = bash(f"(faceclr {line} || [ $? = 141 ]) | head -1 | wc -l", desk)
    assert (done.returncode, done.stdout.strip()) == (0, "1")
    assert "rror" not in done.stderr and "Traceback" not in done.stderr


def test_a_job_of_cron_needs_neither_home_nor_a_writable_folder(desk: Path) -> None:
    done = bash(f"cd /proc; faceclr embed {desk}/people -o {desk}/cron.h5 && faceclr info {desk}/cron.h5", desk)
    assert done.returncode == 0, done.stderr
    assert "15" in done.stdout
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) <= 5


@pytest.mark.nightly
def test_what_a_job_prints_as_data_is_data_alone(desk: Path) -> None:
    """For every command that prints one document."""
    lines = [
        "prepare people -o again",
        "embed again -o again.h5",
        "info again.h5",
        "linear-eval again.h5",
        "tsne again.h5 -o map.png",
        "split again -o splits --train 0.4 --val 0.3 --test 0.3",
        "verify people/person-01/01.jpg people/person-01/02.jpg --threshold 0",
        "forget --identity person-03 again.h5",
    ]
    for line in lines:
        done = bash(f"faceclr {line} --json", desk)
        assert done.returncode == 0, (line, done.stderr)
        assert isinstance(json.loads(done.stdout), dict), line
