"""The schemas of the commands' output are complete, and their page is up to date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from docs.json_page import PARTS, SCHEMAS, page, schemas

FOUND = schemas()
OPEN = [FOUND[PARTS]["$defs"][name] for name in ("encoder", "epoch")]
"""Schemas that allow additional fields, which the schemas that refer to them define."""


def test_the_page_is_what_the_schemas_say() -> None:
    assert (SCHEMAS.parent / "json.md").read_text(encoding="utf-8") == page(), "run python docs/json_page.py"


@pytest.mark.parametrize("name", sorted(FOUND))
def test_schemas_are_whole(name: str) -> None:
    """Each field has a description that explains null, and objects do not allow other fields."""
    Draft202012Validator.check_schema(FOUND[name])
    texts = []
    for schema in subschemas(FOUND[name]):
        if "properties" in schema and schema not in OPEN:
            is_closed = False in (schema.get("additionalProperties"), schema.get("unevaluatedProperties"))
            # What only narrows the fields of another document is closed as that document is.
            assert is_closed if "required" in schema else "$ref" in schema, schema
        for field, about in schema.get("properties", {}).items():
            assert about.get("description"), (name, field)
            texts.append(about["description"])
            if "null" in json.dumps([about[word] for word in ("type", "enum", "anyOf") if word in about]):
                assert "null" in about["description"], (name, field)
    assert all(len(text) < 200 and not text.endswith(".") for text in texts)


@pytest.mark.parametrize("name", sorted(FOUND.keys() - {PARTS}))
def test_schemas_say_whether_there_are_many(name: str) -> None:
    assert any(words in FOUND[name]["description"] for words in ("One document", "The last line"))


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """The objects within a schema, itself among them."""
    if isinstance(schema, dict):
        yield schema
    inside = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for each in inside:
        yield from subschemas(each)
