"""Options of `faceclr pack`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, option


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """Pack faces into a record file, tar shards or a Parquet file."""

    faces: Path = argument(help="Prepared faces, or a container of crops", metavar="FACES")
    out: Path = option(
        short="-o",
        metavar="FILE",
        help="Output: FILE.rec (MXNet), FILE-%06d.tar (WebDataset) or FILE.parquet (Hugging Face)",
    )
