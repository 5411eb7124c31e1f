"""Options of `faceclr export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Export an encoder to a single ONNX file, which runs without torch."""

    run: Path = argument(help="A run or encoder folder, or sface", metavar="RUN|sface")
    out: Path | None = option(
        None,
        short="-o",
        metavar="FILE.onnx|FOLDER",
        help="Output file (default: encoder.onnx or timm in the encoder folder; --model RUN finds encoder.onnx)",
    )
    format: Literal["onnx", "timm"] = option(
        "onnx", help="'onnx': one file; 'timm': a folder for timm.create_model, for timm models with --pool mean"
    )
    half: bool = option(
        False, help="Convert weights and activations to float16: half the size, slightly different embeddings"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.format == "timm" and self.half:
            raise ValueError("--half applies only to --format onnx")
        if self.format == "onnx" and self.out is not None and self.out.suffix.lower() != ".onnx":
            raise ValueError(f"--out {self.out}: the file name must end in .onnx")
