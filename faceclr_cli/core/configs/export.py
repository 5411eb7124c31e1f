"""Options of `faceclr export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

INT8 = "8-bit numbers"


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

    int8: bool = option(
        False,
        panel=INT8,
        help="Convert weights and activations to 8 bits: a quarter of the size, slightly different embeddings and "
        "thresholds, which are measured on --faces",
    )
    faces: Path | None = option(
        None,
        metavar="DIR",
        panel=INT8,
        help="Photographs or prepared faces of labeled people, used to choose the ranges of the 8-bit numbers and to "
        "measure speed, TAR at FAR and thresholds",
    )
    seed: int = option(
        0, minimum=0, panel=INT8, help="Random seed for choosing people and faces, and for the bootstrap"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.format == "timm" and (self.half or self.int8):
            raise ValueError(f"{'--half' if self.half else '--int8'} applies only to --format onnx")
        if self.half and self.int8:
            raise ValueError("give either --half or --int8")
        if self.int8 and self.faces is None:
            raise ValueError("--int8: give --faces DIR, a folder of labeled people for quantization and its report")
        if self.faces is not None and not self.int8:
            raise ValueError("--faces applies only to --int8")
        if self.format == "onnx" and self.out is not None and self.out.suffix.lower() != ".onnx":
            raise ValueError(f"--out {self.out}: the file name must end in .onnx")
