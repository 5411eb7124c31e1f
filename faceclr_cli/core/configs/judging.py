"""Options of the commands that draw the line between one person and two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import check_limits, option

BUILT_IN = "sface"

THRESHOLD = "Threshold"


@dataclass(frozen=True, kw_only=True)
class JudgingConfig:
    """Who embeds, and from which similarity on two faces are one person."""

    model: str = option(
        BUILT_IN,
        short="-m",
        metavar="sface|RUN|FILE.onnx",
        help="The built-in encoder, a run or encoder folder, or .onnx",
    )
    threshold: float | None = option(
        None,
        minimum=-1.0,
        maximum=1.0,
        panel=THRESHOLD,
        help="Least cosine similarity of the same person (default: the encoder's own)",
    )
    far: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        metavar="RATE",
        panel=THRESHOLD,
        help="The false accept rate that the threshold is for, one that was measured (default: 0.001 or the nearest)",
    )
    calibration: Path | None = option(
        None,
        metavar="FILE",
        panel=THRESHOLD,
        help="Thresholds that faceclr calibrate -o wrote, instead of the encoder's own",
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.far == 0:
            raise ValueError("--far 0: no threshold accepts nobody at all; give a rate such as 0.001")
        if self.threshold is not None and (self.far is not None or self.calibration is not None):
            name = "--far" if self.far is not None else "--calibration"
            raise ValueError(f"{name}: --threshold decides; leave it out")
