"""Writes cli.md beside this file: every command with its options, as `--help` shows them.

python docs/cli.py
"""

from __future__ import annotations

from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from faceclr_cli.commands.app import app

_HEAD = """\
# Commands

What `faceclr COMMAND --help` says; `python docs/cli.py` writes this page. Each option is also a variable of the
environment and a line of the command's table in `faceclr.toml` (`batch-size = 64`); what stands on the command line
wins over the environment, and that over the file. `--batch-size` of pretrain is the variable
`FACECLR_PRETRAIN_BATCH_SIZE`. Options that mean the same in every command that has them also have a variable without
its name, as `FACECLR_EPOCHS`; the variable of the command wins.

Exit codes: 0 done, or the same person · 1 a different person · 2 usage or configuration · 3 data · 4 model or
checkpoint · 70 a defect in faceclr · 75 another run is at work there · 130 interrupted · 141 nobody reads the output ·
143 terminated.
"""


def reference() -> str:
    """The page."""
    group = get_command(app)
    context = group.make_context("faceclr", ["--help"], resilient_parsing=True)
    names = group.list_commands(context)  # type: ignore[attr-defined]
    return _HEAD + "".join(f"\n## faceclr {name}\n\n{_indented(_help(name))}" for name in names)


def _help(name: str) -> str:
    return CliRunner().invoke(app, [name, "--help"], prog_name="faceclr", env={"COLUMNS": "80"}).stdout


def _indented(text: str) -> str:
    return "".join(f"    {line}".rstrip() + "\n" for line in text.strip("\n").splitlines())


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(reference(), encoding="utf-8")
