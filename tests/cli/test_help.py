"""Help is complete and quick: nothing heavy is imported before a command's body runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from typing import Any, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from faceclr_cli import __version__
from faceclr_cli.commands.app import app
from faceclr_cli.commands.console import Console
from faceclr_cli.commands.options import command, command_class

COMMANDS = [
    "demo", "prepare", "split", "pretrain", "train-triplet", "train-center", "embed", "linear-eval", "verify", "tsne",
    "pack", "clean", "distill", "benchmark", "identify", "cluster", "review", "calibrate", "import", "export", "info",
    "forget", "doctor",
]  # fmt: skip
MODULES = {"import": "import_encoder"}
HEAVY = [
    "torch",
    "torchvision",
    "timm",
    "cv2",
    "h5py",
    "sklearn",
    "matplotlib",
    "umap",
    "numpy",
    "scipy",
    "onnx",
    "onnxruntime",
]


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
    assert "..." not in overview.partition("Options:")[2], "a summary is too long to be shown whole"
    for name in COMMANDS:
        assert f" {name} " in overview
        text = CliRunner().invoke(app, [name, "--help"]).stdout
        assert f"Example: faceclr {name}" in text


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"faceclr {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "said", "help"),
    [
        ("identfy", "No such command 'identfy'; did you mean identify?", "faceclr"),
        ("version", "No such command 'version'; did you mean --version?", "faceclr"),
        ("help", "No such command 'help'; did you mean --help?", "faceclr"),
        ("xyzzy", "No such command 'xyzzy'.", "faceclr"),
        ("--json verify", "--json must follow the command: faceclr COMMAND ... --json", "faceclr"),
        ("embed --modle run", "No such option '--modle'; did you mean --model?", "faceclr embed"),
        ("embed --xyzzy", "No such option: --xyzzy", "faceclr embed"),
        ("embed --model", "Option '--model' requires an argument.", "faceclr embed"),
        ("embed faces more", "Got unexpected extra argument(s) (more)", "faceclr embed"),
        (
            "embed --device gpu",
            "Invalid value for '--device': 'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps', 'openvino', 'coreml'.",
            "faceclr embed",
        ),
        ("prepare", "Missing argument 'PHOTOS'.", "faceclr prepare"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_what_may_be(typed: str, said: str, help: str) -> None:
    command = [sys.executable, "-m", "faceclr_cli", *typed.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {said}\nTry: {help} --help\n"


def test_usage_tells_what_must_be_given_from_what_may_be() -> None:
    usages = {name: CliRunner().invoke(app, [name, "--help"], prog_name="faceclr").stdout for name in COMMANDS}
    assert usages["prepare"].startswith("Usage: faceclr prepare [OPTIONS] PHOTOS\n")
    assert usages["embed"].startswith("Usage: faceclr embed [OPTIONS] [FACES]\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_options_stand_in_panels_that_can_be_taken_in(name: str) -> None:
    panels: dict[str, int] = {}
    heading = ""
    for line in CliRunner().invoke(app, [name, "--help"]).stdout.splitlines():
        heading = line if re.fullmatch(r"[A-Z].*:", line) else heading
        panels[heading] = panels.get(heading, 0) + line.startswith("  -")
    assert panels["Common options:"] == 5
    assert max(panels.values()) <= 10, panels


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_is_a_line_that_it_understands(name: str) -> None:
    module = import_module(f"faceclr_cli.commands.{MODULES.get(name, name.replace('-', '_'))}")
    understood = list[Any]()

    def body(config: Any, console: Console) -> None:
        understood.append(config)

    body.__annotations__["config"] = get_type_hints(module.run)["config"]
    alone = typer.Typer()
    alone.command(cls=command_class(body))(command("example", body))
    words = shlex.split(module.EXAMPLE)
    done = CliRunner().invoke(alone, words[2:])
    assert words[:2] == ["faceclr", name]
    assert (done.exit_code, len(understood)) == (0, 1), done.output
