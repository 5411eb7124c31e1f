"""`faceclr pack`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.wording import count

EXAMPLE = "faceclr pack celeba-faces -o celeba.rec"


def run(config: PackConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.datasets.pack import pack

    result = pack(config, console.reporter)
    rows = {"packed": f"{count(result.faces, 'face')} of {count(result.people, 'person', 'people')}"}
    console.show(result, format_facts(rows | {"files": ", ".join(map(str, result.files))}))
