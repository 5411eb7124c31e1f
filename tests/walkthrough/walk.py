"""Types the commands in README.md and the pages of docs/ from the first to the last line, and compares the output.

    python tests/walkthrough/walk.py

It needs faceclr in the environment, and no file but the pages: people are drawn, networks are tiny. Every line of a
block of code that is a command is run as bash would run it. README.md and the guide are typed in one folder, in the
order in which a reader meets them; each recipe and each tutorial in a copy of it. Text after a line with a dollar is
what the command must print, figures aside.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("faceclr", "find", "torchrun", "python", "pip", "cd", "producer", "if", "set", "source", "for", "sqlite3")
"""The beginnings of lines in a block that are to be typed; blocks may also show files."""

GUIDE = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "getting-started",
            "preparing",
            "splitting",
            "cleaning",
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

ENCODER_PAGES = ("docs/comparing-encoders.md", "docs/import.md", "docs/backbones.md")
"""The pages that name runs and encoders of others, which are added to the folder after the guide."""

LEFT_OUT = {
    r"^pip install|pytest$": "comes before the walk",
    r"^pip uninstall": "would change the environment of the walk",
    r"--landmarks points.csv": "there is no other detector; tests/core/preparing has its points",
    r"^faceclr demo$": "CI runs it by itself",
    r" --int8 ": "an encoder of a minute's training may lose too much; tests/core/evaluation/quantization has another",
    r"^sqlite3 ": "is not on every machine; tests read the ledger",
    r"hf-hub:": "downloads a model",
    r"^python benchmarks/": "takes hours, or pictures that are not here; tests/benchmarks starts each script",
    r"--init ms1mv3_arcface_r50.pth": "there are no such weights; tests/core/training has some of each known form",
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
    r"^for seed in 0 1 2;": "for seed in 0;",
    r"^faceclr train-center faces/ --backbone": "faceclr train-center faces/ --epochs 1 --backbone",
    r"--init imagenet": "--init run",
    # Drawn people do not tell what pixels a network takes, and without faces there is no threshold.
    r"(^faceclr import w600k_mbf.onnx) --faces celeba-splits/test": r"\1 --color rgb --scale 127.5",
    r"--model mbf$": "--model mbf --threshold 0.4",
    r" --backbone (convnext_small|resnet34|resnet18|mobilenetv3_large_100)": "",
    r"/shared/": "",
}
"""Commands that need a machine, a download or an hour that are not available, and their replacements."""

_SMALL, _SHOWN = "test_resnet", "resnet18"
FAILS_WITHOUT_GPUS = r"--gpus \d+"
NUMBER = re.compile(r"(?<![A-Za-z_-])[-+]?[<>]?\d[\d,.:]*(e[-+]?\d+)?%?")
PROGRESS = re.compile(r"^[\w ]+: [\d/]+ \w+, .*\n", re.MULTILINE)
"""The lines that a log of a slow machine contains in between."""


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
    """Returns what is typed for a line of a page; None if it is omitted."""
    if any(re.search(pattern, command) for pattern in LEFT_OUT):
        return None
    for pattern, instead in TYPED_INSTEAD.items():
        command = re.sub(pattern, instead, command)
    return command


def bare(text: str) -> str:
    """A text without figures, lines of progress, and what aligns and wraps it."""
    return " ".join(NUMBER.sub("#", re.sub(r"[─━]+", "-", PROGRESS.sub("", text))).split())


def agrees(printed: str, shown: str) -> bool:
    """Returns True if a command printed what the page shows; three dots stand for any text."""
    pattern = re.escape(f" {bare(shown)} ").replace(re.escape(" ... "), r" (?:.* )?")
    return re.fullmatch(pattern, f" {bare(printed.replace(_SMALL, _SHOWN))} ") is not None


def walk(steps: list[Step], desk: Path) -> list[str]:
    """Types the lines in a folder. Returns the failures."""
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
    process = subprocess.Popen(
        ["bash", "-c", f"set -o pipefail\n{command}"],
        cwd=desk,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    output = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error.
        while chunk := os.read(terminal, 65536):
            output += chunk
    os.close(terminal)
    return process.wait(), output.decode(errors="replace").replace("\r\n", "\n")


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

    def walk_copy(number: int) -> list[str]:
        copy = Path(tempfile.mkdtemp(dir=desk.parent)) / desk.name
        return walk(apart[number], _without_results(apart[number], desk, copy))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [text for wrong in pool.map(walk_copy, range(len(apart))) for text in wrong]


def main() -> int:
    """Walks through the pages."""
    # The tests' own folders are not on the path of a script that is started elsewhere.
    sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]
    from desk import set_up
    from encoders_desk import set_up_encoders

    wrong: list[str] = []
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
        set_up_encoders(desk)
        wrong += _walk_apart([steps(page) for page in ENCODER_PAGES], desk)
    for text in wrong:
        print(f"failed: {text.partition(chr(10))[0]}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
