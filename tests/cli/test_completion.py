"""Completion in real shells."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "completions"

_BASH = """
source {scripts}/faceclr.bash
COMP_WORDS=({words} '{last}'); COMP_CWORD={count}
_faceclr_completion faceclr
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
_FISH = "source {scripts}/faceclr.fish; complete -C '{words} {last}'"
_ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=({scripts} \\$fpath); autoload -Uz compinit; compinit -u -D; print RE''ADY"
zpty -r shell out '*READY*'
for line whole in {lines}; do
  zpty -w -n shell $'\\C-u'$line$'\\t'
  zpty -r shell out "*$whole*"
  print -r -- $whole
done
"""
needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")


def _shell(*command: str, folder: Path) -> list[str]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def bash(words: str, last: str, folder: Path) -> list[str]:
    """Returns the completions of bash for the last word of a line."""
    text = _BASH.format(scripts=SCRIPTS, words=words, last=last, count=len(words.split()))
    return _shell("bash", "--norc", "-euo", "pipefail", "-c", text, folder=folder)


def fish(words: str, last: str, folder: Path) -> list[str]:
    """Returns the completions of fish for the last word of a line, without descriptions."""
    text = _FISH.format(scripts=SCRIPTS, words=words, last=last)
    return [line.split("\t")[0] for line in _shell("fish", "--no-config", "-c", text, folder=folder)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with runs, an encoder, an exported encoder, a store and other files."""
    for name in ("runs/simclr/encoder", "my run/encoder", "exported"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "encoder.json").touch()
    (tmp_path / "runs" / "not-finished").mkdir()
    for name in ("small.onnx", "faces.h5", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_scripts_are_those_of_this_version() -> None:
    spec = importlib.util.spec_from_file_location("generate", SCRIPTS / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for shell, name in generate.FILES.items():
        assert (SCRIPTS / name).read_text() == generate.script(shell), "run python completions/generate.py"


def test_pip_installs_them_where_shells_look() -> None:
    project = tomllib.loads((SCRIPTS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    installed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {SCRIPTS.parent / path for path in installed} == {
        path for path in SCRIPTS.iterdir() if path.is_file() and path.suffix != ".py"
    }


def test_bash_offers_commands_options_and_choices(folder: Path) -> None:
    assert bash("faceclr", "ver", folder) == ["verify"]
    assert bash("faceclr train-center", "--center-w", folder) == ["--center-weight"]
    assert bash("faceclr train-center --head", "a", folder) == ["arcface", "adaface"]
    assert bash("faceclr pretrain --resume", "", folder) == ["auto"]


def test_a_model_may_be_the_built_in_one_a_run_an_encoder_or_a_graph(folder: Path) -> None:
    # A name with a space is offered as it must be typed.
    runs = ["exported", "my\\ run", "runs/simclr"]
    assert bash("faceclr verify --model", "", folder) == ["sface", *runs, "small.onnx"]
    assert bash("faceclr embed photos --model", "", folder) == ["sface", "pixels", *runs, "small.onnx"]
    assert bash("faceclr embed photos --model", "ru", folder) == ["runs/simclr"]
    assert bash("faceclr embed photos --model", "runs/", folder) == ["runs/simclr"]


def test_a_store_is_a_file_of_that_kind(folder: Path) -> None:
    assert bash("faceclr verify --embeddings", "", folder) == ["faces.h5"]


def test_where_files_are_meant_the_shell_offers_its_own(folder: Path) -> None:
    assert bash("faceclr verify", "", folder) in ([], [""])


@needs_fish
def test_fish_offers_commands_options_choices_and_models(folder: Path) -> None:
    assert fish("faceclr", "ver", folder) == ["verify"]
    assert set(fish("faceclr verify", "--", folder)) >= {"--model", "--far", "--threshold", "--json"}
    assert all(word.startswith("--") for word in fish("faceclr verify", "--", folder))
    assert fish("faceclr train-center --head", "a", folder) == ["adaface", "arcface"]
    assert fish("faceclr verify --model", "", folder) == ["exported", "my run", "runs/simclr", "sface", "small.onnx"]


@needs_zsh
def test_zsh_completes_the_first_time_it_is_asked_and_each_time_after(folder: Path) -> None:
    whole = {
        "faceclr veri": "faceclr verify",
        "faceclr train-center --center-w": "faceclr train-center --center-weight",
        "faceclr train-center --head ad": "faceclr train-center --head adaface",
        "faceclr embed photos --model sf": "faceclr embed photos --model sface",
        "faceclr embed photos --model ru": "faceclr embed photos --model runs/simclr",
    }
    text = _ZSH.format(scripts=SCRIPTS, lines=" ".join(map(shlex.quote, chain(*whole.items()))))
    assert _shell("zsh", "-f", "-c", text, folder=folder) == list(whole.values())


def test_a_shell_does_not_wait_for_torch(folder: Path) -> None:
    environment = {**os.environ, "COMP_WORDS": "faceclr embed --model s", "COMP_CWORD": "3"}
    environment["_FACECLR_COMPLETE"] = "complete_bash"

    command = [sys.executable, "-X", "importtime", "-m", "faceclr_cli"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sface", "small.onnx"]
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint({"torch", "cv2", "h5py", "sklearn", "scipy", "matplotlib", "numpy", "pydantic"})
