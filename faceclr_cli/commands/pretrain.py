"""`faceclr pretrain`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.commands.training_summary import train
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.wording import count

EXAMPLE = "faceclr pretrain celeba-splits/train -o run"


def run(config: PretrainConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    if config.show_views is None:
        train(config, console)
        return
    from faceclr_cli.core.training.preview import show_views

    preview = show_views(config, config.show_views, console.reporter)
    content = f"{preview.views} views of each of {count(preview.pictures, 'face')}, by --augment {preview.augment}"
    console.show(preview, format_facts({"picture": str(preview.picture), "content": content}))
