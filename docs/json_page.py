"""Writes json.md beside this file: what every command prints with `--json`, from the schemas in schemas/.

python docs/json_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.main import get_command

from faceclr_cli.commands.app import app

SCHEMAS = Path(__file__).with_name("schemas")
PARTS = "parts"

_HEAD = """\
# JSON

What each command prints with `--json`; `python docs/json_page.py` writes this page from the schemas in
[schemas/](schemas/) (JSON Schema, draft 2020-12), against which tests validate every command.

- **Standard output** has the documents and nothing else: one document, or one a line, as soon as it is known, where
  results come one after the other. Every document is on one line, in ASCII; no number is NaN or infinite.
- **Standard error** has progress and notices, as [JSON lines](#standard-error); an error is a line of text that begins
  with `error: `. With `--quiet` it has errors only; `--quiet` without `--json` leaves standard output empty, except for
  the rows of `embed -o -`.
- **The exit code** says how it ended, as without `--json`. Where more files or pairs are bad than `--max-bad` allows,
  and where `doctor` finds what does not work, it is not 0, and all is printed nevertheless. After any other error there
  is no document, or the lines until then.
- **Every field is always there**, unless its description says when it is absent; there are no others. What nobody
  measured is null. An object whose keys are not known beforehand is written with `NAME` for a key.
- Bytes of file names that are not UTF-8 are lone surrogates, as Python's `os.fsdecode` makes them of bytes.

"""
_FOOT = """
## Standard error

{events}
## Shared parts

{parts}"""
_WORDS = {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false", "object": "object"}

Schema = Mapping[str, Any]


def schemas() -> dict[str, Schema]:
    """All schemas by the names of their files, `parts` among them."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(SCHEMAS.glob("*.json"))}


def commands() -> list[str]:
    """The names of all commands, in the order of the help."""
    group = get_command(app)
    context = group.make_context("faceclr", ["--help"], resilient_parsing=True)
    names: list[str] = group.list_commands(context)  # type: ignore[attr-defined]
    return names


def command_of(schema: Schema) -> str:
    """The command that prints a document: the second word of its title."""
    return str(schema["title"].split()[1])


def page() -> str:
    """The page."""
    found = schemas()
    contents = " · ".join(f"[{name}](#faceclr-{name})" for name in commands())
    sections = [_HEAD + contents + "\n"]
    for command in commands():
        documents = [_document(name, found) for name in sorted(found) if command_of(found[name]) == command]
        sections.append(f"\n## faceclr {command}\n\n" + "\n".join(documents))
    events = found["events"]
    lines = [f"{events['description']}\n"]
    lines += [f"**{each['title']}**: {_introduced(each, found)}\n\n{_table(each)}" for each in events["oneOf"]]
    parts = [
        f"### {name.capitalize()}\n\n{part['description']}\n\n{_table(part)}"
        for name, part in found[PARTS]["$defs"].items()
    ]
    return "".join(sections) + _FOOT.format(events="\n".join(lines), parts="\n".join(parts))


def _document(name: str, found: Mapping[str, Schema]) -> str:
    schema = found[name]
    text = f"`{schema['title']}` ([schema](schemas/{name}.json))\n\n{_introduced(schema, found)}\n"
    return text if _only_refers(schema) else f"{text}\n{_table(schema)}"


def _introduced(schema: Schema, found: Mapping[str, Schema]) -> str:
    """What it is, and whose fields it has besides its own."""
    text = str(schema["description"])
    if "$ref" in schema:
        text += f" It has the fields of {_linked(schema['$ref'], found)}"
        text += "." if _only_refers(schema) else ", and:"
    return text


def _only_refers(schema: Schema) -> bool:
    """Whether it adds no field to those that it refers to; that it narrows them needs no table."""
    return "$ref" in schema and "required" not in schema


def _table(schema: Schema) -> str:
    rows = [f"| `{name}` | {kind} | {text} |\n" for name, kind, text in _fields(schema, "")]
    return "| field | type | meaning |\n|---|---|---|\n" + "".join(rows)


def _fields(schema: Schema, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Name, type and meaning of each field, those within fields included."""
    for name, field in schema["properties"].items():
        yield prefix + name, _kind(field), field["description"]
        inner, path = field.get("anyOf", [field])[0], prefix + name
        while "items" in inner:
            inner, path = inner["items"], f"{path}[]"
        if isinstance(values := inner.get("additionalProperties"), Mapping):
            inner, path = values, f"{path}.NAME"
        if "properties" in inner:
            yield from _fields(inner, f"{path}.")


def _kind(field: Schema) -> str:
    """`number, 0 to 1, or null`."""
    if "anyOf" in field:
        return " or ".join(_kind(each) for each in field["anyOf"])
    if "$ref" in field:
        return _linked(field["$ref"], {})
    if "const" in field:
        return _value(field["const"])
    if "enum" in field:
        *most, last = map(_value, field["enum"])
        return f"{', '.join(most)} or {last}" if most else last
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(_simple(kind, field) for kind in kinds)


def _simple(kind: str, field: Schema) -> str:
    if kind == "array":
        return f"list of {_several(field['items'])}"
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"object of {_several(field['additionalProperties'])}"
    word = _WORDS.get(kind, kind)
    low, high = field.get("minimum"), field.get("maximum")
    if kind not in ("number", "integer") or low is None:
        return word
    return f"{word} from {low}" if high is None else f"{word} {low} to {high}"


def _several(field: Schema) -> str:
    word, _, limits = _kind(field).partition(" ")
    return f"{word}s {limits}".strip()


def _value(value: object) -> str:
    return f"`{value}`" if isinstance(value, str) else json.dumps(value)


def _linked(reference: str, found: Mapping[str, Schema]) -> str:
    """A link to the shared part, or to the command, that a reference names."""
    file, _, part = reference.partition("#/$defs/")
    if part:
        return f"[{part}](#{part})"
    command = command_of(found[file.removesuffix(".json")])
    return f"[faceclr {command}](#faceclr-{command})"


if __name__ == "__main__":
    Path(__file__).with_name("json.md").write_text(page(), encoding="utf-8")
