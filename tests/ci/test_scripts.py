"""The scripts of CI are valid, and the pages and targets that stand for them agree with them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / ".ci" / name for name in ("run", "nightly")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_accepts_a_script(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_make_check_checks_what_ci_checks() -> None:
    target = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ncheck:")[1].split("\n\n")[0]
    checks = re.findall(r"^\t(.+)$", target, re.MULTILINE)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").split("step 'linters and types'")[1].split("step ")[0]
    assert len(checks) > 3
    assert all(check in ci for check in checks)
