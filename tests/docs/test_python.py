"""The examples of docs/python.md and of docstrings work, and the names of `faceclr_cli.core` exist."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
import torch

import faceclr_cli.core as core
from tests.docs.pages import coded, read_page, tables

_ROOT = Path(core.__file__).parent
_HEAVY = ["torch", "torchvision", "timm", "cv2", "h5py", "sklearn", "matplotlib", "umap", "numpy", "scipy"]


def _module_of(path: Path) -> str:
    return ".".join(path.relative_to(_ROOT.parents[1]).with_suffix("").parts).removesuffix(".__init__")


_WITH_EXAMPLES = [_module_of(path) for path in sorted(_ROOT.rglob("*.py")) if ">>> " in path.read_text("utf-8")]


@pytest.mark.parametrize("name", _WITH_EXAMPLES)
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert done.attempted > 0, "its examples are in no docstring that doctest finds"
    assert done.failed == 0


def test_the_page_runs_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    page = _ROOT.parents[1] / "docs" / "python.md"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # For networks as small as these, more cost more than they bring.
    try:
        done = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8")
    finally:
        torch.set_num_threads(threads)
    assert done.attempted > 40
    assert done.failed == 0


def test_every_function_is_called_in_an_example() -> None:
    """On the page or in a docstring; export, which takes an extra, is shown."""
    examples = [line for line in read_page("python.md").splitlines() if line.lstrip().startswith((">>> ", "... "))]
    for name in core.__all__:
        if isinstance(value := getattr(core, name), FunctionType):
            shown = ">>> " in (value.__doc__ or "") or any(f"{name}(" in line for line in examples)
            assert shown or name in ("export", "export_int8", "import_encoder"), name


def test_the_script_of_the_page_has_configs_that_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", read_page("python.md"), re.DOTALL)
    seen = []

    def note(config: Any, reporter: core.Reporter) -> Any:
        seen.append(type(config).__name__)
        return SimpleNamespace(encoder="run/encoder")

    for name in ("prepare", "split", "pretrain"):
        monkeypatch.setattr(core, name, note)
    exec(compile(script, "script", "exec"), {"__name__": "__main__"})
    assert seen == ["PrepareConfig", "SplitConfig", "PretrainConfig"]


def test_the_page_lists_every_name_and_every_error() -> None:
    page = tables(read_page("python.md"))
    listed = [name for row in page["What is stable"] for name in coded(row["names"])]
    assert sorted(listed) == sorted(core.__all__)
    errors = {coded(row["error"])[0]: int(row["exit code"]) for row in page["Errors"]}
    codes = {name: getattr(core, name).exit_code for name in core.__all__ if name.endswith("Error")}
    assert errors == codes


def test_every_name_is_there_and_is_what_type_checkers_are_told() -> None:
    tree = ast.parse((_ROOT / "__init__.pyi").read_text("utf-8"))
    imported = {}
    for line in tree.body:
        if not isinstance(line, ast.ImportFrom) or line.level == 0:
            continue
        for name in line.names:
            imported[name.asname or name.name] = f"faceclr_cli.core.{line.module}", name.name
    assert sorted(imported) == sorted(core.__all__)
    assert len(set(core.__all__)) == len(core.__all__)
    for name, (module, own_name) in imported.items():
        assert getattr(core, name) is getattr(importlib.import_module(module), own_name), name
    assert set(core.__all__) <= set(dir(core))


def test_a_name_that_is_not_there_is_an_error_as_of_any_module() -> None:
    with pytest.raises(ImportError, match="cannot import name 'verfiy'"):
        from faceclr_cli.core import verfiy  # type: ignore[attr-defined]  # noqa: F401


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    script = (
        "import sys, faceclr_cli.core as core\n"
        f"heavy = {_HEAVY}\n"
        "dir(core), core.VerifyConfig, core.DataError, core.Silent\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "import faceclr_cli.core.evaluation.verification.verify as module\n"
        "from faceclr_cli.core import verify\n"
        "print(verify is module.verify, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True False"]


def test_type_checkers_are_told_that_there_are_types() -> None:
    assert files("faceclr_cli").joinpath("py.typed").is_file()
