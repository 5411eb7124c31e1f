"""Every message that docs/troubleshooting.md explains is one that faceclr prints, word for word."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

import faceclr_cli
from faceclr_cli.commands.app import main
from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.events import Silent
from faceclr_cli.core.preparing.prepare import prepare
from tests.docs.pages import coded, read_page

PAGE = read_page("troubleshooting.md")
MESSAGES = [
    message
    for line in PAGE.splitlines()
    if re.fullmatch(r"- `[^`]+`(, `[^`]+`)*", line)
    for message in coded(line)
]  # fmt: skip
_GAP = "\0"
_CAPITALS = r"(?:--)?[A-Z]+(?: x [A-Z]+)?"
_LEAST_LETTERS = 10
"""Minimum number of letters in the literal parts of a message."""


@cache
def written() -> frozenset[str]:
    """Returns all texts in the source except docstrings, line by line, with a gap for each computed value."""
    texts = set[str]()
    for path in Path(faceclr_cli.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in comments:
                texts.update(node.value.splitlines())
            elif isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else _GAP for part in node.values)
                texts.update("".join(parts).splitlines())
    return frozenset(texts)


@cache
def patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [
        (text, re.compile(f"({_CAPITALS}|.*?)".join(map(re.escape, text.split(_GAP)))))
        for text in written()
        if _GAP in text
    ]


def is_written(text: str, least: int = _LEAST_LETTERS) -> bool:
    """Returns True if a text of the source matches, with its gaps filled by capitals or other texts of the source."""
    if text in written():
        return True
    for own, pattern in patterns():
        found = pattern.fullmatch(text) if len(re.findall("[a-z]", own)) >= least else None
        if found and all(_fills(part) for part in found.groups()):
            return True
    return False


def _fills(part: str) -> bool:
    # "N pairs" is what `count` of core/wording.py writes.
    if re.fullmatch(f"{_CAPITALS}|[A-Z]+ [A-Z]+|N [a-z]+|", part):
        return True
    return is_written(part, least=3) or (" and " in part and all(map(_fills, part.split(" and "))))


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_is_in_the_source(message: str) -> None:
    # Reasons for bad pictures are stated without the name of the picture, which precedes them.
    assert is_written(message) or is_written(message.removeprefix("PATH: "))


def test_what_is_not_in_the_source_is_found() -> None:
    assert is_written("--gpus N: torch found N; omit the option to use the CPU")
    assert not is_written("--gpus N: torch found N; omit it to use the CPU")
    assert not is_written("--gpus two: torch found none; omit the option to use the CPU")
    assert not is_written("PATH: WHY")


def test_there_are_many_and_each_once() -> None:
    assert len(set(MESSAGES)) == len(MESSAGES) >= 45


def test_links_lead_to_headings() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for name in ("troubleshooting.md", "artifacts.md"):
        for target, place in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", read_page(name)):
            lines = (docs / (target or name)).read_text(encoding="utf-8").splitlines()
            headings = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()) for line in lines if line.startswith("#")]
            assert not place or place in [heading.replace(" ", "-") for heading in headings], f"{name}: {place}"


@pytest.fixture(scope="module", autouse=True)
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with many defects."""
    desk = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        write_people(Path("photos"), people=2, photos=2, seed=0, reporter=Silent())
        prepare(PrepareConfig(source=Path("photos"), out=Path("faces"), workers=1), Silent())
        embed(EmbedConfig(faces=Path("faces"), model="pixels", out=Path("faces.h5")), Silent())
        shutil.copytree("faces", "others")
        about = json.loads(Path("others/faceclr.json").read_text())
        about["fingerprint"]["size"] = 96
        Path("others/faceclr.json").write_text(json.dumps(about))
        for folder in ("empty", "notes", "mixed"):
            Path(folder).mkdir()
        for name in ("notes/1.jpg", "notes/2.jpg", "mixed/1.jpg", "mixed/2.jpg"):
            Path(name).write_text("not found")
        shutil.copy("photos/person-01/01.jpg", "mixed/3.jpg")
        cv2.imwrite("gray.png", np.full((200, 200, 3), 128, np.uint8))
        Path("pairs.csv").write_text("a,b,same\nfaces/a.jpg,faces/b.jpg,1\nfaces/a.jpg,faces/c.jpg,0\n")
        Path("unlabeled.csv").write_text("person-01/01.jpg,person-01/02.jpg\n")
        Path("pairs.txt").write_text("2\nperson-01 1 2\n")
        Path("wrong.toml").write_text("[prepare]\nsise = 112\n")
        yield desk


PHOTOS = "photos/person-01/01.jpg photos/person-01/02.jpg"


@pytest.mark.parametrize(
    ("line", "exit_code", "words"),
    [
        ("split photos", 3, "not a folder of prepared faces"),
        ("split faces -o splits", 3, "are not enough for 3 parts"),
        ("prepare empty", 3, "no pictures in this folder"),
        ("prepare gray.png", 3, "no face found"),
        ("prepare notes --workers 1", 3, "none of the 2 files produced a face (2 not a picture)"),
        ("prepare mixed --workers 1", 3, "2 of 3 files produced no face"),
        ("prepare photos -o faces --size 96", 2, "made with size 112, not 96"),
        ("prepare photos -o notes", 2, "which prepare did not write"),
        ("prepare photos --config wrong.toml", 2, "did you mean size?"),
        ("embed others", 3, "size is 96 and 112"),
        ("embed faces -o faces.h5", 3, "holds embeddings of another encoder (pixels"),
        ("embed faces -m pixels --device cuda", 2, "runs only on the CPU"),
        (f"verify {PHOTOS} --model nowhere", 4, "no such folder"),
        (f"verify {PHOTOS} --model notes", 4, "holds no encoder"),
        (f"verify {PHOTOS} --model pixels", 2, "this encoder has no calibrated threshold"),
        (f"verify {PHOTOS} --far 1e-9", 2, "no threshold for a FAR of 1e-09"),
        ("verify --embeddings faces.h5 --pairs pairs.csv", 3, "contains none of the 2 pairs"),
        ("verify --embeddings faces.h5 --pairs unlabeled.csv", 3, "a pair has no label; every pair needs"),
        ("verify --embeddings faces.h5 --pairs pairs.txt", 3, "announces 4 pairs, but the file contains 1"),
    ],
)
def test_typical_ones_are_printed(
    line: str, exit_code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = error_of(line, exit_code, monkeypatch, capsys)
    assert words in printed
    assert explained(printed), f"not on the page: {printed}"


def test_a_second_run_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with exclusive(Path("faces")):
        printed = error_of("prepare photos -o faces", 75, monkeypatch, capsys)
    assert explained(printed)


def test_nothing_to_work_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert explained(error_of("embed", 2, monkeypatch, capsys))


def error_of(line: str, exit_code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The message of the error that a command line ends with."""
    monkeypatch.setattr(sys, "argv", ["faceclr", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == exit_code, said
    (message,) = re.findall(r"^error: (?:Invalid value for '--config': )?(.*)$", said, re.MULTILINE)
    return str(message)


def explained(printed: str) -> bool:
    """Returns True if a message is on the page, where capitals stand for any text."""
    capitals = re.compile(r"\b[A-Z]+\b")
    return any(re.fullmatch(".+".join(map(re.escape, capitals.split(message))), printed) for message in MESSAGES)
