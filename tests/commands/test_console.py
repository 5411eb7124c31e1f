"""Messages, exit codes, and the choice of streams."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from faceclr_cli.commands import console
from faceclr_cli.commands.console import Console, format_facts, table, wrap_sentence
from faceclr_cli.commands.options import command
from faceclr_cli.core import errors
from faceclr_cli.core.configs.demo import DemoConfig
from faceclr_cli.core.events import Notice


@dataclass(frozen=True)
class Answer:
    number: int

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number}


def invoke(body: Any, *arguments: str) -> Any:
    def run(config: DemoConfig, console: Console) -> int | None:
        answer: int | None = body(console)
        return answer

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command("example", run))
    return CliRunner().invoke(app, list(arguments))


def raising(error: BaseException) -> Any:
    def body(console: Console) -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.DataError("x"), 3),
        (errors.UnreadableImageError("x"), 3),
        (errors.NoFaceError("x"), 3),
        (errors.FingerprintError("x"), 3),
        (errors.TooManyBadFilesError("x", Answer(42)), 3),
        (errors.ModelError("x"), 4),
        (errors.LockedError("x"), 75),
        (errors.InterruptedRunError("x"), 130),
        (errors.TerminatedRunError("x"), 143),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device", "faces.h5"), 3),
        (ZeroDivisionError("x"), 70),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(error: BaseException, exit_code: int) -> None:
    result = invoke(raising(error))
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_debug_adds_the_traceback() -> None:
    result = invoke(raising(errors.DataError("gone")), "--debug")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert result.stderr.rstrip().endswith("error: gone")


def test_a_long_message_is_not_broken_into_lines() -> None:
    path = "folder/" * 40 + "face.jpg"
    assert path in invoke(raising(errors.DataError(f"{path}: empty file"))).stderr


def test_sigterm_ends_with_143() -> None:
    def body(console: Console) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert invoke(body).exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_library_that_tries_again_after_an_error_does_not_swallow_sigterm() -> None:
    tries = []

    def body(console: Console) -> None:
        for number in range(2):  # The exporter of PyTorch does that.
            with contextlib.suppress(Exception):
                tries.append(number)
                os.kill(os.getpid(), signal.SIGTERM)

    assert invoke(body).exit_code == 143
    assert tries == [0]


def test_the_exit_code_of_the_body_is_the_exit_code_of_the_process() -> None:
    assert invoke(lambda console: 1).exit_code == 1
    assert invoke(lambda console: None).exit_code == 0


def show(console: Console) -> None:
    console.reporter.report(Notice(text="three pictures were empty", level="warning"))
    console.show(Answer(42), format_facts({"number": "42"}), "a line with [brackets]")


def test_tables_go_to_stdout_and_notices_to_stderr() -> None:
    result = invoke(show)
    assert "42" in result.stdout
    assert "[brackets]" in result.stdout
    assert "three pictures" not in result.stdout
    assert "warning: three pictures" in result.stderr


def test_json_is_one_document_and_nothing_else() -> None:
    result = invoke(show, "--json")
    assert json.loads(result.stdout) == {"number": 42}
    assert json.loads(result.stderr)["event"] == "notice"


def test_quiet_leaves_errors_and_asked_for_json() -> None:
    assert invoke(show, "--quiet").output == ""
    assert json.loads(invoke(show, "--quiet", "--json").output) == {"number": 42}
    assert invoke(raising(errors.DataError("gone")), "--quiet").stderr == "error: gone\n"


def test_names_that_look_like_markup_survive(tmp_path: Path) -> None:
    assert "[red]name[/red]" in invoke(raising(errors.DataError("[red]name[/red]: empty"))).stderr


def test_too_many_bad_files_still_give_their_numbers_as_json() -> None:
    result = invoke(raising(errors.TooManyBadFilesError("9 of 10 failed", Answer(42))), "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {"number": 42}


def test_on_a_narrow_terminal_a_table_cuts_paths_in_the_middle_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["runs/a-very-long-name-of-a-run/test.h5", "99.2%"], ["b.h5", "1.0%"]]
    assert "runs/a-very-long-name-of-a-run/test.h5  99.2%" in table(["store", "top-1"], rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "32")
    lines = table(["store", "top-1"], rows).splitlines()
    assert max(map(len, lines)) == 32
    assert lines[3] == "runs/a-v…of-a-run/test.h5  99.2%"
    assert lines[4].endswith(" 1.0%")


def test_columns_that_find_no_room_follow_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    shown = table(["embeddings", "top-1", "top-3", "Jaccard"], [["a-folder/run.h5", "54.2%", "100.0%", "0.373"]])
    assert [line for line in shown.splitlines() if line] == [
        "embeddings    top-1   top-3",
        "───────────────────────────",
        "a-f…r/run.h5  54.2%  100.0%",
        "embeddings    Jaccard",
        "─────────────────────",
        "a-f…r/run.h5    0.373",
    ]


def test_sentences_break_between_words_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "FAR 1e-05 needs 100,000 impostor pairs; FAR 1e-06 needs 1,000,000 impostor pairs"
    assert wrap_sentence(text) == text
    monkeypatch.setattr(console.sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert wrap_sentence(text).splitlines() == [text[:55], text[56:]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "lines"), [(io.StringIO, "number,twice\n21,42\n"), (Terminal, "said\ntwice 21\n")])
def test_rows_may_have_other_columns_on_a_terminal(
    stream: type[io.StringIO], lines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubled(Answer):
        def to_json(self) -> dict[str, Any]:
            return {"number": self.number, "twice": 2 * self.number, "said": f"twice {self.number}"}

    monkeypatch.setattr("sys.stdout", stream())
    with Console().rows(("number", "twice"), on_terminal=("said",)) as (write, _):
        write(Doubled(21))
    assert console.sys.stdout.getvalue() == lines


def test_between_tables_there_is_one_blank_line_and_none_around() -> None:
    def body(console: Console) -> None:
        console.show(Answer(42), table(("a", "b"), [("c", "1")]), table(("d", "e"), [("f", "2")]))

    lines = invoke(body).stdout.split("\n")
    assert [line.strip() == "" for line in lines] == [False] * 3 + [True] + [False] * 3 + [True]


_OF_SCHEDULERS = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "SLURM_PROCID": "1"}


@pytest.mark.parametrize("arguments", [(), ("--json",)])
@pytest.mark.parametrize(("rank", "by_torchrun", "speaks"), [("1", False, True), ("0", True, True), ("1", True, False)])
def test_the_first_process_of_torchrun_speaks_for_all_and_a_scheduler_silences_nothing(
    rank: str, by_torchrun: bool, speaks: bool, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "7"} if by_torchrun else {}
    for name, value in (_OF_SCHEDULERS | {"RANK": rank} | torchrun).items():
        monkeypatch.setenv(name, value)

    def body(console: Console) -> None:
        console.note("nearly there")
        console.show(Answer(42), "the answer is 42")

    result = invoke(body, *arguments)
    assert ("42" in result.stdout) is speaks
    assert ("nearly there" in result.stderr) is speaks


def test_an_error_of_a_silent_process_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (_OF_SCHEDULERS | {"TORCHELASTIC_RUN_ID": "7"}).items():
        monkeypatch.setenv(name, value)

    def body(console: Console) -> None:
        raise errors.DataError("no such face")

    result = invoke(body)
    assert result.exit_code == 3 and "no such face" in result.stderr
