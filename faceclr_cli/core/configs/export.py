"""Options of `faceclr export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Export an encoder to a single ONNX file, which runs without torch."""

    run: Path = argument(help="A run or encoder folder, or sface", metavar="RUN|sface")
    out: Path | None = option(
        None,
        short="-o",
        metavar="FILE.onnx",
        help="Output file (default: encoder.onnx in the encoder folder, where --model RUN finds it, or sface.onnx)",
    )
    half: bool = option(
        False, help="Convert weights and activations to float16: half the size, slightly different embeddings"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.out is not None and self.out.suffix.lower() != ".onnx":
            raise ValueError(f"--out {self.out}: the file name must end in .onnx")
