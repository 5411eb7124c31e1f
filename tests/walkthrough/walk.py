"""Types what README.md and the pages of docs/ show, from first to last line, and compares what is printed.

    python tests/walkthrough/walk.py

It needs faceclr in the environment, and no file but the pages: people are drawn, networks are tiny. Every line of a
block of code that is a command is run as bash would run it. README.md and the guide are typed in one folder, in the
order in which a reader meets them; each recipe and each tutorial in a copy of it. Text after a line with a dollar is
what the command must print, figures aside.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("faceclr", "find", "torchrun", "python", "pip", "cd", "producer", "if", "set", "source", "for", "sqlite3")
"""What a line of a block begins with if it is to be typed; blocks may also show files."""

GUIDE = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "getting-started",
            "preparing",
            "splitting",
            "training-without-labels",
            "training-with-labels",
            "embeddings",
            "identification",
            "verification",
        )
    ),
)
"""The pages that are typed one after the other in one folder."""

TUTORIALS = tuple(
    f"docs/tutorials/{name}.md" for name in ("nightly-job", "comparing-backbones", "sorting-a-collection")
)

LEFT_OUT = {
    r"^pip install|pytest$": "comes before the walk",
    r"^faceclr demo$": "CI runs it by itself",
    r"^sqlite3 ": "is not on every machine; tests read the ledger",
    r"--cluster tcp://": "there is no cluster; tests/distributed has one",
}

TYPED_INSTEAD = {
    r"\bproducer \|": "cat pairs.csv |",
    r"\| consumer\b": "| cat",
    r"\| jq .*": "| cat",
    r"then open-door;": "then echo open;",
    r"--nnodes \d+ --nproc-per-node 8 .* HOST:29500": "--standalone --nproc-per-node 1",
    r"--batch-size 4096": "--batch-size 16",
    r" --epochs \d+": "",
    r"^torchrun": "python -m torch.distributed.run",
    r"--init imagenet": "--init run",
    r" --backbone (convnext_small|resnet34|resnet18|mobilenetv3_large_100)": "",
    r"/shared/": "",
}
"""What takes a machine, a download or an hour that are not here, and what stands in for it."""

_SMALL, _SHOWN = "test_resnet", "resnet18"
FAILS_WITHOUT_GPUS = r"--gpus \d+"
NUMBER = re.compile(r"(?<![A-Za-z_-])[-+]?[<>]?\d[\d,.:]*(e[-+]?\d+)?%?")
PROGRESS = re.compile(r"^[\w ]+: [\d/]+ \w+, .*\n", re.MULTILINE)
"""What a log of a slow machine has in between."""


@dataclass(frozen=True)
class Step:
    """A line of a page that is to be typed, and what the page says that it prints."""

    page: str
    section: str
    number: int
    command: str
    printed: str | None


def steps(page: str) -> list[Step]:
    """All lines of a page that are to be typed."""
    found = []
    for section, number, block in _blocks((ROOT / page).read_text(encoding="utf-8")):
        shows_output = any(line.startswith("$ ") for line in block)
        for place, line in enumerate(block):
            command = line.removeprefix("$ ") if line.startswith("$ ") else None if shows_output else line
            if command is None or (place and block[place - 1].endswith("\\")):
                continue
            end = place
            while command.endswith("\\"):
                end += 1
                command = f"{command[:-1].rstrip()} {block[end].strip()}"
            if command.split(" ")[0].split("=")[0] not in PROGRAMS:
                continue
            printed = None
            if shows_output:
                rest = block[end + 1 :]
                stop = next((at for at, each in enumerate(rest) if each.startswith("$ ")), len(rest))
                printed = "\n".join(rest[:stop]) if rest[:stop] else None
            found.append(Step(page, section, number + place, command.split("  #")[0].rstrip(), printed))
    return found


def _blocks(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """The blocks of indented code of a page: the section, the line where it begins, and its lines."""
    section, before = "", ""
    block: list[str] = []
    for number, line in enumerate([*text.split("\n"), "end"], start=1):
        if line.startswith("    ") and (block or not before.strip()):
            block.append(line)
        elif block and not line.strip():
            block.append("")
        elif block:
            start = number - len(block)
            lines = "\n".join(block).rstrip().split("\n")
            indent = min(len(each) - len(each.lstrip()) for each in lines if each)
            yield section, start, [each[indent:] for each in lines]
            block = []
        if line.startswith("## "):
            section = line[3:]
        before = line


def played(command: str) -> str | None:
    """What is typed for a line of a page; None where it is left out."""
    if any(re.search(pattern, command) for pattern in LEFT_OUT):
        return None
    for pattern, instead in TYPED_INSTEAD.items():
        command = re.sub(pattern, instead.replace("\\", "\\\\"), command)
    return command


def bare(text: str) -> str:
    """A text without figures, lines of progress, and what aligns and wraps it."""
    return " ".join(NUMBER.sub("#", re.sub(r"[─━]+", "-", PROGRESS.sub("", text))).split())


def agrees(printed: str, shown: str) -> bool:
    """Whether a command printed what the page shows; three dots stand for anything."""
    pattern = re.escape(f" {bare(shown)} ").replace(re.escape(" ... "), r" (?:.* )?")
    return re.fullmatch(pattern, f" {bare(printed.replace(_SMALL, _SHOWN))} ") is not None


def walk(steps: list[Step], desk: Path) -> list[str]:
    """Types the lines in a folder. Returns what went wrong."""
    wrong = []
    variables = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "FACECLR_CACHE": str(desk / ".cache")}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    for step in steps:
        command = played(step.command)
        if command is None:
            continue
        known = len(wrong)
        began, used = time.perf_counter(), _cpu_seconds()
        code, output = _type(command, desk, variables)
        expected = 2 if re.search(FAILS_WITHOUT_GPUS, command) and not _has_gpus() else 0
        took = f"{time.perf_counter() - began:5.1f} s {_cpu_seconds() - used:5.1f} s CPU"
        print(f"{step.page}:{step.number} {took}  {command}", flush=True)
        if code != expected:
            wrong.append(f"{step.page}:{step.number}: {command}\nended with {code}, not {expected}:\n{output}")
        elif step.printed is not None and not agrees(output, step.printed):
            wrong.append(
                f"{step.page}:{step.number}: {command}\nprinted:\n{output}\nand the page shows:\n{step.printed}"
            )
        if len(wrong) > known:
            print(f"\n{wrong[-1]}\n", flush=True)
    return wrong


def _type(command: str, desk: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Runs a command on a terminal, as pages show what a terminal shows. Returns its exit code and what it printed."""
    terminal, end = os.openpty()
    pid = os.fork()
    if pid == 0:
        _become(command, desk, variables, end)
    os.close(end)
    output = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error.
        while chunk := os.read(terminal, 65536):
            output += chunk
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), output.decode(errors="replace").replace("\r\n", "\n")


def _become(command: str, desk: Path, variables: dict[str, str], terminal: int) -> NoReturn:
    """Turns this process, a copy of the walk, into the command."""
    os.setsid()
    for number in (1, 2):
        os.dup2(terminal, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(desk)
    if not command.startswith("faceclr ") or re.search(r"[|&;<>()$`*?~#]", command):
        os.execvpe("bash", ["bash", "-c", f"set -o pipefail\n{command}"], variables)
    # A copy of the walk has imported PyTorch already, which takes longer than most commands.
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = shlex.split(command)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    code: object = 70
    try:
        runpy.run_module("faceclr_cli", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code or 0
    finally:
        # What Python does when a process ends, such as waiting for workers that hold a lock.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code if isinstance(code, int) else 1)


def _import_what_is_slow() -> None:
    for name in ("cv2", "h5py", "lightning_fabric", "sklearn.linear_model", "timm", "torch", "torchvision"):
        importlib.import_module(name)


def _cpu_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _without_results(steps: list[Step], desk: Path, copy: Path) -> Path:
    """A copy of a desk without what these lines write."""
    shutil.copytree(desk, copy)
    for name in re.findall(r" -o (\S+)", " ".join(step.command for step in steps)):
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return copy


def _has_gpus() -> bool:
    return shutil.which("nvidia-smi") is not None


def _walk_apart(apart: list[list[Step]], desk: Path) -> list[str]:
    """Walks each list of lines in a copy of the desk, several at a time."""
    workers, pids = os.cpu_count() or 1, []
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            wrong = []
            for number in range(worker, len(apart), workers):
                copy = desk.with_name(f"{desk.name}-{number}")
                wrong += walk(apart[number], _without_results(apart[number], desk, copy))
            desk.with_name(f"wrong-{worker}").write_text(json.dumps(wrong))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return [text for worker in range(workers) for text in json.loads(desk.with_name(f"wrong-{worker}").read_text())]


def main() -> int:
    """Walks through the pages."""
    # The tests' own folder is not on the path of a script that is started elsewhere.
    sys.path.insert(0, str(Path(__file__).parent))
    from desk import set_up

    wrong: list[str] = []
    _import_what_is_slow()
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder) / "desk"
        desk.mkdir()
        set_up(desk)
        for page in GUIDE:
            wrong += walk(steps(page), desk)
        if not (desk / "faces").exists():
            shutil.copytree(desk / "celeba-faces", desk / "faces")
        apart = [list(some) for _, some in groupby(steps("docs/recipes.md"), key=lambda step: step.section)]
        apart += [steps(page) for page in TUTORIALS]
        wrong += _walk_apart(apart, desk)
    for text in wrong:
        print(f"failed: {text.partition(chr(10))[0]}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
