"""The scripts of CI are valid, and the pages and targets that describe them agree with them."""

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


def test_nightly_finds_the_versions_of_pyenv(tmp_path: Path) -> None:
    """The shims of pyenv are on PATH also for versions that are installed but not selected, and fail then."""
    function = re.search(r"^find_python\(\) \{.*?^\}", SCRIPTS[1].read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert function is not None
    shims, versions = tmp_path / "shims", tmp_path / "pyenv" / "versions" / "3.77.1" / "bin"
    for path, code in ((shims / "python3.77", 127), (shims / "python3.78", 127), (versions / "python", 0)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nexit {code}\n")
        path.chmod(0o755)
    environment = {"PATH": f"{shims}:/usr/bin:/bin", "PYENV_ROOT": str(tmp_path / "pyenv")}
    script = f"{function[0]}\nfind_python 3.77\nfind_python 3.78 || echo absent"
    done = subprocess.run(["bash", "-uc", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(versions / "python"), "absent"]


def test_make_check_checks_what_ci_checks() -> None:
    target = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ncheck:")[1].split("\n\n")[0]
    checks = re.findall(r"^\t(.+)$", target, re.MULTILINE)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").split("step 'linters and types'")[1].split("step ")[0]
    assert len(checks) > 3
    assert all(check in ci for check in checks)
