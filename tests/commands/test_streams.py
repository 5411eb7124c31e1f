"""Streams that are closed, full, without a reader, or of another encoding."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FACECLR = f"{sys.executable} -m faceclr_cli"


def bash(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("line", ["--help", "pretrain --help", "--version"])
def test_help_with_a_closed_output_exits_like_other_programs(line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*FACECLR.split(), *line.split()], env={}, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("line", ["--help", "--version", "doctor --help"])
def test_where_nothing_can_be_written_that_is_said_once(line: str) -> None:
    done = bash(f"{FACECLR} {line} > /dev/full")
    assert (done.returncode, done.stderr) == (3, "error: standard output: No space left on device\n")


def test_closed_streams_are_as_good_as_none() -> None:
    """As in the child of a daemon."""
    assert bash(f"{FACECLR} --version >&-").returncode == 0
    assert bash(f"{FACECLR} --version <&- >&- 2>&-").returncode == 0
    assert bash(f"{FACECLR} info nowhere 2>&-").returncode == 3
    done = bash(f"{FACECLR} embed - -o none.h5 <&-")
    assert (done.returncode, done.stdout) == (3, "")
    assert "defect" not in done.stderr


def test_a_file_never_takes_the_place_of_a_closed_stream() -> None:
    """The output of image decoders to descriptor 2 is discarded, which would replace such a file."""
    script = """
import os
from faceclr_cli.commands import streams
streams.set_up()
opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
raise SystemExit(min(opened) <= 2)
"""
    for closed in ("2>&-", "<&- 2>&-", "<&- >&- 2>&-"):
        assert bash(f"{sys.executable} -c '{script}' {closed}").returncode == 0


_SHOW = """
from faceclr_cli.commands import streams
from faceclr_cli.commands.console import format_facts, table
streams.set_up()
print(table(["store", "top-1"], [["bj\\u00f6rk\\udcff.h5", "98.2 ± 1.4%"]]).strip())
print(format_facts({"cut": "a…b"}))
"""


@pytest.mark.parametrize(
    ("encoding", "row", "rule", "cut"),
    [
        ("utf-8", "björk\\udcff.h5  98.2 ± 1.4%", "─", "a…b"),
        ("latin-1", "björk\\udcff.h5  98.2 ± 1.4%", "-", "a~b"),
        ("ascii", "bj\\xf6rk\\udcff.h5  98.2 +- 1.4%", "-", "a~b"),
    ],
)
def test_signs_that_an_encoding_lacks_become_simpler_ones(encoding: str, row: str, rule: str, cut: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SHOW], env={"PYTHONIOENCODING": encoding}, capture_output=True, check=True
    )
    heading, *rest = done.stdout.decode(encoding).splitlines()
    assert heading == "store".ljust(len(row) - len("top-1")) + "top-1"
    assert rest == [rule * len(row), row, f"cut  {cut}"]
