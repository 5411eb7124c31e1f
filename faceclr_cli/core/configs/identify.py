"""Options of `faceclr identify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option
from faceclr_cli.core.configs.prepare import STANDARD_INPUT


@dataclass(frozen=True, kw_only=True)
class IdentifyConfig:
    """Say who of a gallery's people is in photographs, or that it is nobody."""

    photos: Path | None = argument(
        None,
        help="Photographs: a file, a folder, a .zip or .tar, or - for a list of paths on standard input",
        metavar="PHOTOS",
    )
    gallery: Path | None = option(
        None, short="-g", metavar="FACES.h5|DIR", help="People with names: a store, prepared faces, or photographs"
    )
    model: str = option(
        "sface", short="-m", metavar="sface|RUN|FILE.onnx", help="A built-in encoder, a run or encoder folder, or .onnx"
    )
    threshold: float | None = option(
        None, minimum=-1.0, maximum=1.0, help="Least cosine similarity of the same person (default: the encoder's own)"
    )
    far: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        metavar="RATE",
        help="The false accept rate that the threshold is for, one that was measured (default: 0.001 or the nearest)",
    )
    calibration: Path | None = option(
        None, metavar="FILE", help="Thresholds that faceclr calibrate -o wrote, instead of the encoder's own"
    )
    face: Literal["largest", "center", "best", "all", "only"] = option("all", help="Which, of several")
    matches: int = option(3, minimum=1, metavar="N", help="How many of the most similar people --json lists")
    null: bool = option(False, help="Paths on standard input end with NUL, as of find -print0")
    max_bad: float = option(
        0.5, minimum=0.0, maximum=1.0, metavar="SHARE", help="Share of files that may fail before the exit code is 3"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.photos is None or self.gallery is None:
            raise ValueError("give photographs and the people they may show: faceclr identify a.jpg --gallery faces.h5")
        if self.null and self.photos != STANDARD_INPUT:
            raise ValueError("--null is for a list of paths on standard input: give - as PHOTOS")
        if self.threshold is not None and (self.far is not None or self.calibration is not None):
            name = "--far" if self.far is not None else "--calibration"
            raise ValueError(f"{name}: --threshold decides; leave it out")
