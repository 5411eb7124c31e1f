"""The walk finds all command lines, and detects wrong statements of a page. CI runs the walk itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.walkthrough.walk import (
    ENCODER_PAGES,
    GUIDE,
    LEFT_OUT,
    TUTORIALS,
    TYPED_INSTEAD,
    Step,
    agrees,
    played,
    steps,
    walk,
)

PAGES = (*GUIDE, "docs/recipes.md", *TUTORIALS, *ENCODER_PAGES)
SHOWN = """\
similarity   0.618
meaning      accepts 1 in 1,000 pairs of different
             people
"""


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_typed(page: str) -> None:
    lines = (Path(__file__).parents[2] / page).read_text(encoding="utf-8").splitlines()
    shown = [line for line in lines if re.match(r" {4,}(\$ )?faceclr ", line)]
    assert len([step for step in steps(page) if step.command.startswith("faceclr ")]) == len(shown) >= 3


def test_the_pages_have_many_commands() -> None:
    """A page in a notation that the walk does not recognize would make the walk shorter without a failure."""
    commands = {page: sum(step.command.startswith("faceclr ") for step in steps(page)) for page in PAGES}
    assert commands["docs/recipes.md"] > 20
    assert sum(commands.values()) > 80


def test_nothing_is_replaced_that_no_page_has() -> None:
    commands = [step.command for page in PAGES for step in steps(page)]
    for pattern in (*LEFT_OUT, *TYPED_INSTEAD):
        assert any(re.search(pattern, command) for command in commands), pattern


def test_lines_that_go_on_are_one_command() -> None:
    (command,) = {step.command for step in steps("docs/recipes.md") if step.command.startswith("torchrun")}
    assert "\\" not in command and "-m faceclr_cli pretrain" in command
    assert "HOST" not in (played(command) or "HOST")


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        (SHOWN, True),
        ("similarity   -1.0\nmeaning      accepts 1 in 20 pairs of different people\n", True),
        ("training: 6528/7680 pictures, 25/s, 0:45 left\n" + SHOWN, True),
        (SHOWN + "a line more\n", False),
        (SHOWN.replace("different", "other"), False),
        (SHOWN.replace("0.618", "high"), False),
        ("", False),
    ],
)
def test_figures_and_alignment_aside(printed: str, same: bool) -> None:
    assert agrees(printed, SHOWN) == same


@pytest.mark.parametrize(
    "shown", ["...\nlast 1", "first 1\n...", "first 1\n...\nlast 2", "first 1\nin between\nlast 2"]
)
def test_three_dots_stand_for_anything(shown: str) -> None:
    assert agrees("first 7\nin between\nlast 9", shown)
    assert not agrees("in between\nlast", shown)


def test_what_goes_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    wrong = walk(
        [
            Step("README.md", "", 1, "echo good day", "good day"),
            Step("README.md", "", 2, "echo good day", "good night"),
            Step("README.md", "", 3, "false | cat", None),
            Step("README.md", "", 4, "pip install .", None),
        ],
        tmp_path,
    )
    assert [text.split(": ")[0] for text in wrong] == ["README.md:2", "README.md:3"]
