"""Options of `faceclr export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write an encoder as one ONNX file, which runs without torch."""

    run: Path = argument(help="A run or encoder folder", metavar="RUN")
    out: Path | None = option(
        None,
        short="-o",
        metavar="FILE.onnx",
        help="The file (default: encoder.onnx in the encoder's folder, where --model RUN finds it)",
    )
    half: bool = option(
        False, help="Weights and network in 16 bits: half the size, and embeddings that differ a little"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.out is not None and self.out.suffix.lower() != ".onnx":
            raise ValueError(f"--out {self.out}: the file's name must end in .onnx")
