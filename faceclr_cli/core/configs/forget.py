"""Options of `faceclr forget`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, option


@dataclass(frozen=True, kw_only=True)
class ForgetConfig:
    """Permanently remove a person from stores, prepared faces and other artifacts."""

    paths: tuple[Path, ...] = argument(
        help="Stores, prepared faces, splits, groups, classifiers, encoders and tsne pages", metavar="PATH..."
    )
    identity: str = option(short="-i", metavar="NAME", help="Person to remove")
    dry_run: bool = option(False, help="Show what would be removed without removing it")

    def __post_init__(self) -> None:
        if not self.identity:
            raise ValueError("--identity is empty; give the name of the person")
