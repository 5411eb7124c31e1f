"""`faceclr info`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.commands.progress import wrap_text
from faceclr_cli.core.configs.info import InfoConfig

EXAMPLE = "faceclr info runs/pretrain-1"


def run(config: InfoConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.upkeep.info import info

    result = info(config, console.reporter)
    rows = {name.replace("_", " "): value for name, value in result.about.items() if value not in (None, [], {})}
    margin = max(map(len, rows)) + 2
    # Nested values are wrapped, as they may be hundreds of columns long. Paths are not, so that they can be copied.
    texts = {name: _text(value) for name, value in rows.items()}
    texts |= {
        name: wrap_text(texts[name], 80, margin) for name, value in rows.items() if isinstance(value, dict | list)
    }
    console.show(result, format_facts({"kind": result.kind, **texts}))


def _text(value: object) -> str:
    if isinstance(value, dict):
        known = {name: part for name, part in value.items() if part is not None}
        if any(isinstance(part, dict) for part in known.values()):
            return "; ".join(f"{name}: {_text(part)}" for name, part in known.items())
        return ", ".join(f"{name} {_text(part)}" for name, part in known.items())
    if isinstance(value, list):
        return ", ".join(f"({_text(part)})" if isinstance(part, dict) else _text(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
