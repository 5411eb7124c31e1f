"""Help is complete and quick: nothing heavy is imported before a command's body runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from faceclr_cli import __version__
from faceclr_cli.commands.app import app

COMMANDS = [
    "demo", "prepare", "split", "pretrain", "train-triplet", "train-center", "embed", "linear-eval", "verify", "tsne",
    "identify", "cluster", "calibrate", "export", "info", "forget", "doctor",
]  # fmt: skip
HEAVY = ["torch", "torchvision", "timm", "cv2", "h5py", "sklearn", "matplotlib", "umap", "numpy", "scipy"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "sys.argv = ['faceclr', *sys.argv[1:]]\n"
        "from faceclr_cli.commands.app import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"sys.exit(' '.join(m for m in {HEAVY} if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"imported: {done.stderr}"


def test_help_names_every_command_and_each_has_an_example() -> None:
    overview = CliRunner().invoke(app, ["--help"]).stdout
    for name in COMMANDS:
        assert f" {name} " in overview
        text = CliRunner().invoke(app, [name, "--help"]).stdout
        assert f"Example: faceclr {name}" in text


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"faceclr {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [("identfy", "No such command 'identfy'; did you mean identify?"), ("xyzzy", "No such command 'xyzzy'.")],
)
def test_a_misspelt_command_is_answered_with_the_one_that_is_meant(typed: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "faceclr_cli", typed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {said}\nTry: faceclr --help\n"
