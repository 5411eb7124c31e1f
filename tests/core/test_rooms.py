"""Names in the core are unique: a file, a class or a function can be found by its name alone."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import faceclr_cli.core

ROOT = Path(faceclr_cli.core.__file__).parent
MODULES = [
    path
    for path in sorted(ROOT.rglob("*.py"))
    # The files of configs/ are named as the commands that they configure.
    if path.name != "__init__.py" and "configs" not in path.relative_to(ROOT).parts
]


def places_of(name_of: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: places for name, places in name_of.items() if len(places) > 1}


def test_no_two_modules_share_a_file_name() -> None:
    found = defaultdict(list)
    for path in MODULES:
        found[path.name].append(str(path.relative_to(ROOT)))
    assert places_of(found) == {}


@pytest.mark.parametrize("kind", [ast.ClassDef, ast.FunctionDef])
def test_no_two_public_definitions_share_a_name(kind: type[ast.ClassDef] | type[ast.FunctionDef]) -> None:
    found = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, kind) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert places_of(found) == {}


def test_modules_are_there() -> None:
    assert len(MODULES) > 100
