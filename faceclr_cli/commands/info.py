"""`faceclr info`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.core.configs.info import InfoConfig

EXAMPLE = "faceclr info runs/pretrain-1"

_SPELLINGS = {"normalisation": "normalization"}
"""Artifacts keep the keys of earlier releases."""


def run(config: InfoConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.upkeep.info import info

    result = info(config, console.reporter)
    rows: dict[str, object] = {}
    for name, value in result.about.items():
        # The encoder of a run has rows of its own.
        rows |= value if name == "encoder" and isinstance(value, dict) else {name: value}
    texts = {name.replace("_", " "): _text(value) for name, value in rows.items() if value not in (None, [], {})}
    # Nested values may be hundreds of columns long. Paths are not wrapped, so that they can be copied.
    nested = {name.replace("_", " ") for name, value in rows.items() if isinstance(value, dict | list)}
    console.show(result, format_facts({"kind": result.kind, **texts}, wrapped=nested))


def _text(value: object) -> str:
    if isinstance(value, dict):
        known = {name: part for name, part in value.items() if part not in (None, [], {})}
        return ", ".join(
            f"{_SPELLINGS.get(name, name)} {f'({_text(part)})' if isinstance(part, dict) else _text(part)}"
            for name, part in known.items()
        )
    if isinstance(value, list):
        return ", ".join(f"({_text(part)})" if isinstance(part, dict) else _text(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
