"""Options of `faceclr demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Run the whole pipeline on drawn people: no download, nobody's face."""

    folder: Path = argument(Path("faceclr-demo"), help="Where everything goes", metavar="DIR")
    seed: int = option(0, minimum=0, help="Draws other people")

    def __post_init__(self) -> None:
        check_limits(self)
