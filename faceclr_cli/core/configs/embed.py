"""Options of `faceclr embed`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Write the embeddings of many faces to an HDF5 store."""

    faces: Path | None = argument(
        None, help="Prepared faces, a part of a split, or photographs (aligned on the fly)", metavar="FACES"
    )
    model: str = option(
        "sface", short="-m", metavar="sface|pixels|RUN", help="A built-in encoder, or a run or encoder folder"
    )
    out: Path | None = option(
        None, short="-o", metavar="FILE", help="The store (default: FACES-MODEL.h5 in the working directory)"
    )
    batch_size: int = option(64, minimum=1, help="Faces per forward pass")
    device: Literal["auto", "cpu", "cuda"] = option("auto", help="'auto': the GPU if there is one")
    max_bad: float = option(
        0.5, minimum=0.0, maximum=1.0, metavar="SHARE", help="Share of files that may fail before the exit code is 3"
    )

    def __post_init__(self) -> None:
        check_limits(self)
