"""Options of `faceclr demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Run the whole pipeline on drawn people, without a download or real faces."""

    folder: Path = argument(Path("faceclr-demo"), help="Output folder", metavar="DIR")
    seed: int = option(0, minimum=0, help="Random seed of the drawn people")

    def __post_init__(self) -> None:
        check_limits(self)
