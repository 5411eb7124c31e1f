"""The schemas of what `--json` prints."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from docs.json_page import schemas

FOUND = schemas()
REGISTRY: Registry[Any] = Registry().with_resources(
    (f"{name}.json", Resource.from_contents(schema)) for name, schema in FOUND.items()
)
VALIDATORS = {name: Draft202012Validator(schema, registry=REGISTRY) for name, schema in FOUND.items()}
