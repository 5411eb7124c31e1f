"""The tables of a page in docs/, and checks of documents against them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TYPES = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    dict: "object",
    list: "list",
    type(None): "null",
}


def read_page(name: str) -> str:
    return (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")


def tables(page: str) -> dict[str, list[dict[str, str]]]:
    """The rows of all tables below each heading, by the heading of their column."""
    found: dict[str, list[dict[str, str]]] = {}
    heading, columns = "", list[str]()
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and not columns:
            columns = cells
        elif cells and not set(cells[0]) <= {"-"}:
            found.setdefault(heading, []).append(dict(zip(columns, cells, strict=True)))
        elif not cells:
            columns = []
    return found


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _found(content: object, path: list[str]) -> list[object]:
    """The values at a path such as `parts.*.mean` or `points[].far`."""
    if not path:
        return [content]
    name, rest = path[0].removesuffix("[]"), path[1:]
    if not isinstance(content, dict):
        return []
    values = list(content.values()) if name == "*" else [content[name]] if name in content else []
    if path[0].endswith("[]"):
        values = [item for value in values for item in value]
    return [found for value in values for found in _found(value, rest)]


def _paths(content: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Returns all paths in a document."""
    if isinstance(content, dict) and content:
        for name, value in content.items():
            yield from _paths(value, (*path, name))
    elif isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        for item in content:
            yield from _paths(item, (*path[:-1], f"{path[-1]}[]"))
    else:
        yield path


def require_listed(content: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    """Asserts that a document has exactly these fields, which may be paths, each with the type in the page."""
    for name, said in fields.items():
        values = _found(content, name.split("."))
        assert values, f"{name}: not there"
        for value in values:
            word = TYPES[type(value)]
            fits = word in said and not (word == "number" and "whole" in said)
            assert fits or (type(value) is int and "number" in said), f"{name}: {value!r} is no {said}"
    known = [name.split(".") for name in fields]
    for path in _paths(content):
        covered = any(
            len(one) <= len(path) and all(a in ("*", b, b.removesuffix("[]")) for a, b in zip(one, path, strict=False))
            for one in known
        )
        assert covered, f"{'.'.join(path)}: not on the page"
