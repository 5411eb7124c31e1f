"""Options shared by the commands that apply a similarity threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import check_limits, option

BUILT_IN = "sface"

THRESHOLD = "Threshold"


@dataclass(frozen=True, kw_only=True)
class ThresholdConfig:
    """The encoder, and the threshold at which two faces count as the same person."""

    model: str = option(
        BUILT_IN,
        short="-m",
        metavar="sface|RUN|FILE.onnx",
        help="Encoder: built-in, a run or encoder folder, or .onnx",
    )
    threshold: float | None = option(
        None,
        minimum=-1.0,
        maximum=1.0,
        panel=THRESHOLD,
        help="Minimum cosine similarity of the same person (default: from the encoder's calibration)",
    )
    far: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        metavar="RATE",
        panel=THRESHOLD,
        help="Use the threshold calibrated for this false accept rate (default: the nearest to 0.001)",
    )
    calibration: Path | None = option(
        None,
        metavar="FILE",
        panel=THRESHOLD,
        help="Calibration file from faceclr calibrate -o, instead of the encoder's own calibration",
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.far == 0:
            raise ValueError("--far 0: must be above 0; give a rate such as 0.001")
        if self.threshold is not None and (self.far is not None or self.calibration is not None):
            name = "--far" if self.far is not None else "--calibration"
            raise ValueError(f"{name} cannot be combined with --threshold; omit one of them")
